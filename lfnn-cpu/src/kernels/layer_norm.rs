//! Layer normalisation: whole runs on one thread.
//!
//! Means are taken of differences from the first number, so that those of equal numbers are exact.

use rayon::prelude::*;

use super::reduce::{LANES, lane_sums};
use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{Kernel, Workspace, items_per_chunk, kernel};

vectorized! {
    /// Normalises runs of `width` numbers, and writes the inverse of the standard deviation of each.
    fn normalize(x: &[f32], width: usize, epsilon: f32, inv_std: &mut [f32], y: &mut [f32]) {
        let runs = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
        for (inv_std, (x, y)) in inv_std.iter_mut().zip(runs) {
            let first = x[0];
            let mean = first + mean(x, x, |x, _| x - first);
            let variance = self::mean(x, x, |x, _| (x - mean) * (x - mean));
            *inv_std = 1.0 / (variance + epsilon).sqrt();
            for (y, x) in y.iter_mut().zip(x) {
                *y = (x - mean) * *inv_std;
            }
        }
    }

    /// The Jacobian of [`normalize`].
    fn normalize_grad(y: &[f32], width: usize, inv_std: &[f32], dy: &[f32], dx: &mut [f32]) {
        let runs = y.chunks_exact(width).zip(dy.chunks_exact(width));
        let runs = runs.zip(dx.chunks_exact_mut(width));
        for (inv_std, ((y, dy), dx)) in inv_std.iter().zip(runs) {
            let centre = mean(dy, dy, |dy, _| dy);
            let along = mean(y, dy, |y, dy| y * dy);
            for (dx, (y, dy)) in dx.iter_mut().zip(y.iter().zip(dy)) {
                *dx = (dy - centre - y * along) * inv_std;
            }
        }
    }
}

/// The mean of `f(a, b)`.
#[inline(always)]
fn mean(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = lane_sums(a, b, f);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0] / a.len() as f32
}

kernel! {
    LayerNorm { x: Input<f32>, y: Output<f32>, inv_std: Output<f32> }
    with |op, bind| { width: usize = op.width, epsilon: f32 = op.epsilon as f32 }
}

impl Kernel for LayerNorm {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (width, epsilon, runs) = (self.width, self.epsilon, items_per_chunk(self.width));
        let chunks = self.x.get().par_chunks(runs * width);
        let chunks = chunks.zip(self.y.get().par_chunks_mut(runs * width));
        chunks.zip(self.inv_std.get().par_chunks_mut(runs)).for_each(|((x, y), inv_std)| {
            normalize(x, width, epsilon, inv_std, y);
        });
    }
}

kernel! {
    LayerNormGrad { y: Input<f32>, inv_std: Input<f32>, dy: Input<f32>, dx: Output<f32> }
    with |op, bind| { width: usize = op.width }
}

impl Kernel for LayerNormGrad {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (width, runs) = (self.width, items_per_chunk(self.width));
        let inputs = self.y.get().par_chunks(runs * width);
        let inputs = inputs.zip(self.dy.get().par_chunks(runs * width));
        let inputs = inputs.zip(self.inv_std.get().par_chunks(runs));
        let chunks = self.dx.get().par_chunks_mut(runs * width).zip(inputs);
        chunks.for_each(|(dx, ((y, dy), inv_std))| {
            normalize_grad(y, width, inv_std, dy, dx);
        });
    }
}
