//! Pooling over space, from the definitions.

use super::Execute;
use super::conv::seen;
use super::store::{Store, at, indices};
use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad,
    MaxPoolTangent, Window,
};

/// The positions of an image of `extents` that output (p, q) sees, each with its number in the
/// window.
fn window_of(window: Window, extents: [usize; 4], p: usize, q: usize) -> Vec<(u8, usize, usize)> {
    let mut positions = Vec::new();
    for i in 0..window.kernel[0] {
        for j in 0..window.kernel[1] {
            let row = seen(window, 0, p, i, extents[1]);
            let column = seen(window, 1, q, j, extents[2]);
            if let (Some(row), Some(column)) = (row, column) {
                positions.push(((i * window.kernel[1] + j) as u8, row, column));
            }
        }
    }
    positions
}

/// The largest in each window, the first of equal ones.
impl Execute for MaxPool {
    fn execute(&self, s: &mut Store) {
        let (image, result) = (s.image(self.x), s.image(self.y));
        let x = s.real(self.x);
        let (mut y, mut positions) = (Vec::new(), Vec::new());
        for [b, p, q, c] in indices(result) {
            let mut best: Option<(f64, u8)> = None;
            for (position, row, column) in window_of(self.window, image, p, q) {
                let value = x[at(image, [b, row, column, c])];
                if best.is_none_or(|(largest, _)| value > largest) {
                    best = Some((value, position));
                }
            }
            let (value, position) = best.unwrap();
            y.push(value);
            positions.push(position);
        }
        s.set_real(self.y, y);
        if let Some(id) = self.position {
            s.set_bytes(id, positions);
        }
    }
}

/// The element of the image to which a stored position of output (p, q) points.
fn pointed(window: Window, image: [usize; 4], [b, p, q, c]: [usize; 4], position: u8) -> usize {
    let (i, j) = (position as usize / window.kernel[1], position as usize % window.kernel[1]);
    let row = seen(window, 0, p, i, image[1]).unwrap();
    let column = seen(window, 1, q, j, image[2]).unwrap();
    at(image, [b, row, column, c])
}

/// Every `dy` is added where its maximum was.
impl Execute for MaxPoolGrad {
    fn execute(&self, s: &mut Store) {
        let (image, result) = (s.image(self.dx), s.image(self.dy));
        let mut dx = vec![0.0; s.len(self.dx)];
        for index in indices(result) {
            let position = s.bytes(self.position)[at(result, index)];
            dx[pointed(self.window, image, index, position)] += s.real(self.dy)[at(result, index)];
        }
        s.set_real(self.dx, dx);
    }
}

/// Every `dy` is the tangent where its maximum was.
impl Execute for MaxPoolTangent {
    fn execute(&self, s: &mut Store) {
        let (image, result) = (s.image(self.dx), s.image(self.dy));
        let dy = indices(result)
            .map(|index| {
                let position = s.bytes(self.position)[at(result, index)];
                s.real(self.dx)[pointed(self.window, image, index, position)]
            })
            .collect();
        s.set_real(self.dy, dy);
    }
}

/// `Σ over the window / (kernel height · kernel width)`.
impl Execute for AvgPool {
    fn execute(&self, s: &mut Store) {
        let (image, result) = (s.image(self.x), s.image(self.y));
        let area = (self.window.kernel[0] * self.window.kernel[1]) as f64;
        let x = s.real(self.x);
        let y = indices(result)
            .map(|[b, p, q, c]| {
                let seen = window_of(self.window, image, p, q);
                let sum: f64 =
                    seen.iter().map(|&(_, row, col)| x[at(image, [b, row, col, c])]).sum();
                sum / area
            })
            .collect();
        s.set_real(self.y, y);
    }
}

/// Every `dy / (kernel height · kernel width)` is added to the whole window.
impl Execute for AvgPoolGrad {
    fn execute(&self, s: &mut Store) {
        let (image, result) = (s.image(self.dx), s.image(self.dy));
        let area = (self.window.kernel[0] * self.window.kernel[1]) as f64;
        let mut dx = vec![0.0; s.len(self.dx)];
        for [b, p, q, c] in indices(result) {
            for (_, row, column) in window_of(self.window, image, p, q) {
                dx[at(image, [b, row, column, c])] +=
                    s.real(self.dy)[at(result, [b, p, q, c])] / area;
            }
        }
        s.set_real(self.dx, dx);
    }
}

/// Whether bin `i` of `grid` covers position `k` of `n`: `⌊i·n/grid⌋ ≤ k < ⌈(i+1)·n/grid⌉`.
fn covers(i: usize, grid: usize, n: usize, k: usize) -> bool {
    i * n / grid <= k && k * grid < (i + 1) * n
}

/// The positions of one bin of the grid.
fn bin(image: [usize; 4], grid: [usize; 4], p: usize, q: usize) -> Vec<(usize, usize)> {
    let rows = (0..image[1]).filter(|&row| covers(p, grid[1], image[1], row));
    rows.flat_map(|row| {
        let columns = (0..image[2]).filter(move |&k| covers(q, grid[2], image[2], k));
        columns.map(move |column| (row, column))
    })
    .collect()
}

/// The mean over each bin.
impl Execute for AdaptiveAvgPool {
    fn execute(&self, s: &mut Store) {
        let (image, grid) = (s.image(self.x), s.image(self.y));
        let x = s.real(self.x);
        let y = indices(grid)
            .map(|[b, p, q, c]| {
                let bin = bin(image, grid, p, q);
                let sum: f64 = bin.iter().map(|&(row, col)| x[at(image, [b, row, col, c])]).sum();
                sum / bin.len() as f64
            })
            .collect();
        s.set_real(self.y, y);
    }
}

/// Every `dy / (size of the bin)` is added to the whole bin.
impl Execute for AdaptiveAvgPoolGrad {
    fn execute(&self, s: &mut Store) {
        let (image, grid) = (s.image(self.dx), s.image(self.dy));
        let mut dx = vec![0.0; s.len(self.dx)];
        for [b, p, q, c] in indices(grid) {
            let bin = bin(image, grid, p, q);
            for &(row, column) in &bin {
                let share = s.real(self.dy)[at(grid, [b, p, q, c])] / bin.len() as f64;
                dx[at(image, [b, row, column, c])] += share;
            }
        }
        s.set_real(self.dx, dx);
    }
}
