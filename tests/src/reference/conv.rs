//! Two-dimensional convolutions, each rule as its own sum over the window.

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
pub(super) fn forward(op: &Conv2d, s: &mut Store) {
    let (image, kernel, result) = (s.image(op.x), s.image(op.weight), s.image(op.y));
    let [out, kernel_height, kernel_width, input] = kernel;
    let (x, weight) = (s.real(op.x), s.real(op.weight));
    let mut y = vec![0.0; s.len(op.y)];
    for [b, p, q, o] in indices(result) {
        let group = o / (out / op.groups);
        let mut sum = op.bias.map_or(0.0, |bias| s.real(bias)[o]);
        for i in 0..kernel_height {
            for j in 0..kernel_width {
                let row = seen(op.window, 0, p, i, image[1]);
                let column = seen(op.window, 1, q, j, image[2]);
                let (Some(row), Some(column)) = (row, column) else { continue };
                for c in 0..input {
                    sum += x[at(image, [b, row, column, group * input + c])]
                        * weight[at(kernel, [o, i, j, c])];
                }
            }
        }
        y[at(result, [b, p, q, o])] = sum;
    }
    s.set_real(op.y, y);
}

/// `dx[b, r, t, c] = Σ dy[b, p, q, o] W[o, i, j, c]` over all o of c's group and all (p, q), (i, j)
/// by which an output sees (r, t).
pub(super) fn input_grad(op: &Conv2dInputGrad, s: &mut Store) {
    let (image, kernel, result) = (s.image(op.dx), s.image(op.weight), s.image(op.dy));
    let [out, kernel_height, kernel_width, input] = kernel;
    let per_group = out / op.groups;
    let (dy, weight) = (s.real(op.dy), s.real(op.weight));
    let mut dx = vec![0.0; s.len(op.dx)];
    for [b, r, t, channel] in indices(image) {
        let (group, c) = (channel / input, channel % input);
        let mut sum = 0.0;
        for i in 0..kernel_height {
            for j in 0..kernel_width {
                let p = seer(op.window, 0, r, i, result[1]);
                let q = seer(op.window, 1, t, j, result[2]);
                let (Some(p), Some(q)) = (p, q) else { continue };
                for o in group * per_group..(group + 1) * per_group {
                    sum += dy[at(result, [b, p, q, o])] * weight[at(kernel, [o, i, j, c])];
                }
            }
        }
        dx[at(image, [b, r, t, channel])] = sum;
    }
    s.set_real(op.dx, dx);
}

/// `dW[o, i, j, c] = Σ_{b, p, q} dy[b, p, q, o] x[b, p·s + i − pad, q·s + j − pad, c]` and
/// `db[o] = Σ_{b, p, q} dy[b, p, q, o]`.
pub(super) fn weight_grad(op: &Conv2dWeightGrad, s: &mut Store) {
    let (image, kernel, result) = (s.image(op.x), s.image(op.dweight), s.image(op.dy));
    let [out, _, _, input] = kernel;
    let (x, dy) = (s.real(op.x), s.real(op.dy));
    let mut dweight = vec![0.0; s.len(op.dweight)];
    for [o, i, j, c] in indices(kernel) {
        let channel = o / (out / op.groups) * input + c;
        let mut sum = 0.0;
        for b in 0..result[0] {
            for p in 0..result[1] {
                let Some(row) = seen(op.window, 0, p, i, image[1]) else { continue };
                for q in 0..result[2] {
                    let Some(column) = seen(op.window, 1, q, j, image[2]) else { continue };
                    sum += dy[at(result, [b, p, q, o])] * x[at(image, [b, row, column, channel])];
                }
            }
        }
        dweight[at(kernel, [o, i, j, c])] = sum;
    }
    let mut dbias = vec![0.0; out];
    for index in indices(result) {
        dbias[index[3]] += dy[at(result, index)];
    }
    s.set_real(op.dweight, dweight);
    if let Some(id) = op.dbias {
        s.set_real(id, dbias);
    }
}
