//! Two-dimensional convolutions, each rule as its own sum over the window.

use super::Execute;
use super::store::{Store, at, indices};
use lfnn_core::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Window};

/// The position on `axis` of the image that tap `tap` of output `out` sees; none in the padding.
pub(super) fn seen(window: Window, axis: usize, out: usize, tap: usize, n: usize) -> Option<usize> {
    (out * window.stride[axis] + tap).checked_sub(window.padding[axis]).filter(|&i| i < n)
}

/// The output on `axis` that sees position `i` of the image through tap `tap`; none if there is not.
fn seer(window: Window, axis: usize, i: usize, tap: usize, outputs: usize) -> Option<usize> {
    let start = (i + window.padding[axis]).checked_sub(tap)?;
    let stride = window.stride[axis];
    Some(start / stride).filter(|&out| start.is_multiple_of(stride) && out < outputs)
}

/// `y[b, p, q, o] = bias[o] + Σ_{i, j, c} x[b, p·s + i − pad, q·s + j − pad, c] W[o, i, j, c]`.
impl Execute for Conv2d {
    fn execute(&self, s: &mut Store) {
        let (image, kernel, result) = (s.image(self.x), s.image(self.weight), s.image(self.y));
        let [out, kernel_height, kernel_width, input] = kernel;
        let (x, weight) = (s.real(self.x), s.real(self.weight));
        let mut y = vec![0.0; s.len(self.y)];
        for [b, p, q, o] in indices(result) {
            let group = o / (out / self.groups);
            let mut sum = self.bias.map_or(0.0, |bias| s.real(bias)[o]);
            for i in 0..kernel_height {
                for j in 0..kernel_width {
                    let row = seen(self.window, 0, p, i, image[1]);
                    let column = seen(self.window, 1, q, j, image[2]);
                    let (Some(row), Some(column)) = (row, column) else { continue };
                    for c in 0..input {
                        sum += x[at(image, [b, row, column, group * input + c])]
                            * weight[at(kernel, [o, i, j, c])];
                    }
                }
            }
            y[at(result, [b, p, q, o])] = sum;
        }
        s.set_real(self.y, y);
    }
}

/// `dx[b, r, t, c] = Σ dy[b, p, q, o] W[o, i, j, c]` over all o of c's group and all (p, q), (i, j)
/// by which an output sees (r, t).
impl Execute for Conv2dInputGrad {
    fn execute(&self, s: &mut Store) {
        let (image, kernel, result) = (s.image(self.dx), s.image(self.weight), s.image(self.dy));
        let [out, kernel_height, kernel_width, input] = kernel;
        let per_group = out / self.groups;
        let (dy, weight) = (s.real(self.dy), s.real(self.weight));
        let mut dx = vec![0.0; s.len(self.dx)];
        for [b, r, t, channel] in indices(image) {
            let (group, c) = (channel / input, channel % input);
            let mut sum = 0.0;
            for i in 0..kernel_height {
                for j in 0..kernel_width {
                    let p = seer(self.window, 0, r, i, result[1]);
                    let q = seer(self.window, 1, t, j, result[2]);
                    let (Some(p), Some(q)) = (p, q) else { continue };
                    for o in group * per_group..(group + 1) * per_group {
                        sum += dy[at(result, [b, p, q, o])] * weight[at(kernel, [o, i, j, c])];
                    }
                }
            }
            dx[at(image, [b, r, t, channel])] = sum;
        }
        s.set_real(self.dx, dx);
    }
}

/// `dW[o, i, j, c] = Σ_{b, p, q} dy[b, p, q, o] x[b, p·s + i − pad, q·s + j − pad, c]` and
/// `db[o] = Σ_{b, p, q} dy[b, p, q, o]`.
impl Execute for Conv2dWeightGrad {
    fn execute(&self, s: &mut Store) {
        let (image, kernel, result) = (s.image(self.x), s.image(self.dweight), s.image(self.dy));
        let [out, _, _, input] = kernel;
        let (x, dy) = (s.real(self.x), s.real(self.dy));
        let mut dweight = vec![0.0; s.len(self.dweight)];
        for [o, i, j, c] in indices(kernel) {
            let channel = o / (out / self.groups) * input + c;
            let mut sum = 0.0;
            for b in 0..result[0] {
                for p in 0..result[1] {
                    let Some(row) = seen(self.window, 0, p, i, image[1]) else { continue };
                    for q in 0..result[2] {
                        let Some(column) = seen(self.window, 1, q, j, image[2]) else { continue };
                        sum +=
                            dy[at(result, [b, p, q, o])] * x[at(image, [b, row, column, channel])];
                    }
                }
            }
            dweight[at(kernel, [o, i, j, c])] = sum;
        }
        let mut dbias = vec![0.0; out];
        for index in indices(result) {
            dbias[index[3]] += dy[at(result, index)];
        }
        s.set_real(self.dweight, dweight);
        if let Some(id) = self.dbias {
            s.set_real(id, dbias);
        }
    }
}
