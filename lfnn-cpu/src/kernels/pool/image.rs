//! The rules of pooling for one image: over windows, and over the bins of adaptive grids.

use std::ops::Range;

use lfnn_core::program::{TensorId, Tensors, Window, adaptive_bin};

use crate::simd::vectorized;

/// The sides of a pooling.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    /// Of the large side: height and width.
    image: [usize; 2],
    /// Of the pooled side: height and width.
    pooled: [usize; 2],
    channels: usize,
}

impl Geometry {
    pub(super) fn new(tensors: &Tensors, image: TensorId, pooled: TensorId) -> Self {
        let (image, pooled) = (&tensors[image].shape, &tensors[pooled].shape);
        Self { image: [image[1], image[2]], pooled: [pooled[1], pooled[2]], channels: image[3] }
    }

    pub(super) fn image_len(&self) -> usize {
        self.image[0] * self.image[1] * self.channels
    }

    pub(super) fn pooled_len(&self) -> usize {
        self.pooled[0] * self.pooled[1] * self.channels
    }

    /// The part of a window inside the image, and where the window begins (which may be
    /// before it).
    fn covered(&self, window: &Window, at: usize, axis: usize) -> (Range<usize>, usize) {
        let start = at * window.stride[axis];
        let first = start.max(window.padding[axis]) - window.padding[axis];
        let end = (start + window.kernel[axis]).saturating_sub(window.padding[axis]);
        (first..end.min(self.image[axis]), start)
    }

    /// The maxima of `N` channels from `c` on in one window, and where they are. Positions are words
    /// while they are compared: as wide as what they depend on, so that whole vectors are chosen from.
    #[inline(always)]
    fn maxima<const N: usize>(
        &self,
        window: &Window,
        pooled: usize,
        x: &[f32],
        c: usize,
        y: &mut [f32],
        positions: &mut [u8],
    ) {
        let (rows, top) = self.covered(window, pooled / self.pooled[1], 0);
        let (columns, left) = self.covered(window, pooled % self.pooled[1], 1);
        let position = |row: usize, column: usize| {
            let ky = row + window.padding[0] - top;
            (ky * window.kernel[1] + column + window.padding[1] - left) as u32
        };
        let mut best = [f32::NEG_INFINITY; N];
        let mut at = [position(rows.start, columns.start); N];
        let mut first = true;
        for row in rows {
            for column in columns.clone() {
                let x = &x[(row * self.image[1] + column) * self.channels + c..][..N];
                let here = position(row, column);
                for i in 0..N {
                    let larger = first | (x[i] > best[i]);
                    best[i] = if larger { x[i] } else { best[i] };
                    at[i] = if larger { here } else { at[i] };
                }
                first = false;
            }
        }
        y[..N].copy_from_slice(&best);
        for (position, at) in positions[..N].iter_mut().zip(at) {
            *position = at as u8;
        }
    }

    /// Calls `f(pixel, position in the window, channels' offset of the pooled pixel)` for every pixel of
    /// every window.
    #[inline(always)]
    fn visit(&self, window: &Window, mut f: impl FnMut(usize, u8, usize)) {
        for py in 0..self.pooled[0] {
            let (rows, top) = self.covered(window, py, 0);
            for px in 0..self.pooled[1] {
                let (columns, left) = self.covered(window, px, 1);
                let pooled = (py * self.pooled[1] + px) * self.channels;
                for y in rows.clone() {
                    let ky = y + window.padding[0] - top;
                    for x in columns.clone() {
                        let kx = x + window.padding[1] - left;
                        let position = (ky * window.kernel[1] + kx) as u8;
                        f((y * self.image[1] + x) * self.channels, position, pooled);
                    }
                }
            }
        }
    }
}

vectorized! {
    pub(super) fn maximum(g: &Geometry, window: &Window, x: &[f32], y: &mut [f32], positions: &mut [u8]) {
        let n = g.channels;
        for pooled in 0..g.pooled[0] * g.pooled[1] {
            let y = &mut y[pooled * n..][..n];
            let positions = &mut positions[pooled * n..][..n];
            let mut c = 0;
            while c + 16 <= n {
                g.maxima::<16>(window, pooled, x, c, &mut y[c..], &mut positions[c..]);
                c += 16;
            }
            if c + 8 <= n {
                g.maxima::<8>(window, pooled, x, c, &mut y[c..], &mut positions[c..]);
                c += 8;
            }
            while c < n {
                g.maxima::<1>(window, pooled, x, c, &mut y[c..], &mut positions[c..]);
                c += 1;
            }
        }
    }

    pub(super) fn maximum_only(g: &Geometry, window: &Window, x: &[f32], y: &mut [f32]) {
        let n = g.channels;
        let mut current = usize::MAX;
        g.visit(window, |pixel, _, pooled| {
            let x = &x[pixel..][..n];
            let y = &mut y[pooled..][..n];
            if pooled != current {
                current = pooled;
                y.copy_from_slice(x);
                return;
            }
            for c in 0..n {
                y[c] = if x[c] > y[c] { x[c] } else { y[c] };
            }
        });
    }

    pub(super) fn maximum_grad(g: &Geometry, window: &Window, dy: &[f32], positions: &[u8], dx: &mut [f32]) {
        let n = g.channels;
        // Windows that cover every pixel once.
        let apart = window.stride == window.kernel
            && window.padding == [0, 0]
            && (0..2).all(|axis| g.pooled[axis] * window.kernel[axis] == g.image[axis]);
        if !apart {
            dx.fill(0.0);
        }
        g.visit(window, |pixel, position, pooled| {
            let dx = &mut dx[pixel..][..n];
            let dy = &dy[pooled..][..n];
            let positions = &positions[pooled..][..n];
            if apart {
                for c in 0..n {
                    dx[c] = if positions[c] == position { dy[c] } else { 0.0 };
                }
            } else {
                for c in 0..n {
                    dx[c] += if positions[c] == position { dy[c] } else { 0.0 };
                }
            }
        });
    }

    pub(super) fn maximum_tangent(g: &Geometry, window: &Window, dx: &[f32], positions: &[u8], dy: &mut [f32]) {
        let n = g.channels;
        g.visit(window, |pixel, position, pooled| {
            let dx = &dx[pixel..][..n];
            let dy = &mut dy[pooled..][..n];
            let positions = &positions[pooled..][..n];
            for c in 0..n {
                dy[c] = if positions[c] == position { dx[c] } else { dy[c] };
            }
        });
    }

    pub(super) fn average(g: &Geometry, window: &Window, x: &[f32], y: &mut [f32]) {
        let n = g.channels;
        y.fill(0.0);
        g.visit(window, |pixel, _, pooled| {
            for (y, x) in y[pooled..][..n].iter_mut().zip(&x[pixel..][..n]) {
                *y += x;
            }
        });
        let share = 1.0 / (window.kernel[0] * window.kernel[1]) as f32;
        for y in y.iter_mut() {
            *y *= share;
        }
    }

    pub(super) fn average_grad(g: &Geometry, window: &Window, dy: &[f32], dx: &mut [f32]) {
        let n = g.channels;
        let share = 1.0 / (window.kernel[0] * window.kernel[1]) as f32;
        dx.fill(0.0);
        g.visit(window, |pixel, _, pooled| {
            for (dx, dy) in dx[pixel..][..n].iter_mut().zip(&dy[pooled..][..n]) {
                *dx += dy * share;
            }
        });
    }

    pub(super) fn adaptive(g: &Geometry, x: &[f32], y: &mut [f32]) {
        let n = g.channels;
        for (i, y) in y.chunks_exact_mut(n).enumerate() {
            let (rows, columns) = bin(g, i);
            let share = 1.0 / (rows.len() * columns.len()) as f32;
            y.fill(0.0);
            for row in rows {
                for column in columns.clone() {
                    let x = &x[(row * g.image[1] + column) * n..][..n];
                    for (y, x) in y.iter_mut().zip(x) {
                        *y += x;
                    }
                }
            }
            for y in y.iter_mut() {
                *y *= share;
            }
        }
    }

    pub(super) fn adaptive_grad(g: &Geometry, dy: &[f32], dx: &mut [f32]) {
        let n = g.channels;
        // Bins that do not overlap cover every pixel once.
        let apart = (0..2).all(|axis| g.image[axis].is_multiple_of(g.pooled[axis]));
        if !apart {
            dx.fill(0.0);
        }
        for (i, dy) in dy.chunks_exact(n).enumerate() {
            let (rows, columns) = bin(g, i);
            let share = 1.0 / (rows.len() * columns.len()) as f32;
            for row in rows {
                let start = (row * g.image[1] + columns.start) * n;
                let dx = &mut dx[start..start + columns.len() * n];
                for dx in dx.chunks_exact_mut(n) {
                    if apart {
                        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy * share);
                    } else {
                        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * share);
                    }
                }
            }
        }
    }
}

/// Rows and columns of a bin of the grid.
fn bin(g: &Geometry, i: usize) -> (Range<usize>, Range<usize>) {
    (
        adaptive_bin(i / g.pooled[1], g.pooled[0], g.image[0]),
        adaptive_bin(i % g.pooled[1], g.pooled[1], g.image[1]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: Geometry = Geometry { image: [3, 3], pooled: [2, 2], channels: 1 };

    #[test]
    fn the_first_of_equal_maxima_is_taken_and_padding_does_not_count() {
        let window = Window { kernel: [2, 2], stride: [2, 2], padding: [1, 1] };
        let x = [-1.0, -2.0, -3.0, -4.0, 5.0, 5.0, 7.0, 5.0, 5.0];
        let (mut y, mut positions) = ([0.0; 4], [9; 4]);
        maximum(&G, &window, &x, &mut y, &mut positions);
        assert_eq!(y, [-1.0, -2.0, 7.0, 5.0]);
        assert_eq!(positions, [3, 2, 3, 0]);
        let mut dx = [9.0; 9];
        maximum_grad(&G, &window, &[1.0, 2.0, 3.0, 4.0], &positions, &mut dx);
        assert_eq!(dx, [1.0, 2.0, 0.0, 0.0, 4.0, 0.0, 3.0, 0.0, 0.0]);
        maximum_tangent(&G, &window, &x, &positions, &mut y);
        assert_eq!(y, [-1.0, -2.0, 7.0, 5.0]);
    }

    #[test]
    fn an_average_counts_padding_as_zeros() {
        let window = Window { kernel: [2, 2], stride: [2, 2], padding: [1, 1] };
        let x = [4.0, 8.0, 12.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0];
        let mut y = [9.0; 4];
        average(&G, &window, &x, &mut y);
        assert_eq!(y, [1.0, 5.0, 2.0, 4.0]);
    }

    #[test]
    fn gradients_of_windows_and_bins_that_cover_every_pixel_once_are_exact() {
        let g = Geometry { image: [2, 4], pooled: [1, 2], channels: 1 };
        let mut dx = [9.0; 8];
        maximum_grad(&g, &Window::square(2, 2, 0), &[1.0, 2.0], &[3, 0], &mut dx);
        assert_eq!(dx, [0.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        adaptive_grad(&g, &[4.0, 8.0], &mut dx);
        assert_eq!(dx, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
        // A window moved by its padding leaves the last pixel out.
        let g = Geometry { image: [1, 3], pooled: [1, 1], channels: 1 };
        let window = Window { kernel: [1, 3], stride: [1, 3], padding: [0, 1] };
        maximum_grad(&g, &window, &[1.0], &[1], &mut dx[..3]);
        assert_eq!(dx[..3], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn bins_overlap_where_the_grid_does_not_divide() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let mut y = [9.0; 4];
        adaptive(&G, &x, &mut y);
        assert_eq!(y, [3.0, 4.0, 6.0, 7.0]);
        let mut dx = [9.0; 9];
        adaptive_grad(&G, &[4.0, 8.0, 12.0, 16.0], &mut dx);
        assert_eq!(dx, [1.0, 3.0, 2.0, 4.0, 10.0, 6.0, 3.0, 7.0, 4.0]);
    }
}
