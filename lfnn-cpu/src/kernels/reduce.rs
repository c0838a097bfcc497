//! Reductions over rows to a number per channel, and biases.
//!
//! Long sums are cut into chunks of rows, whose sums are added in double precision and in order.

use std::ops::Range;

use rayon::prelude::*;

use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{Kernel, ScratchSize, Workspace, chunk_len, for_chunks, items_per_chunk, kernel};

vectorized! {
    /// Adds each row of `x` to `sums`.
    pub(crate) fn sum_rows(x: &[f32], sums: &mut [f32]) {
        for row in x.chunks_exact(sums.len().max(1)) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }

    /// Adds the products of the numbers of each row to `sums`.
    fn sum_products(x: &[f32], dy: &[f32], sums: &mut [f32]) {
        let channels = sums.len().max(1);
        for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
            for ((sum, x), dy) in sums.iter_mut().zip(x).zip(dy) {
                *sum += x * dy;
            }
        }
    }

    fn add_bias(x: &[f32], bias: &[f32], y: &mut [f32]) {
        let channels = bias.len().max(1);
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for ((y, x), b) in y.iter_mut().zip(x).zip(bias) {
                *y = x + b;
            }
        }
    }
}

/// Numbers that [`reduce_rows`] needs for results of `width` numbers.
pub(crate) fn reduction_len(rows: usize, step: usize, width: usize) -> usize {
    rows.div_ceil(step) * width
}

/// Rows in a chunk of a reduction: short enough for single precision.
pub(crate) fn reduction_rows(channels: usize) -> usize {
    items_per_chunk(channels).min(1024)
}

/// Reduces chunks of `step` rows: `f(first row, rows, result)` for each, with results of `width`
/// numbers, zeroed before. Gives the results one after the other.
pub(crate) fn reduce_rows<'a>(
    rows: usize,
    step: usize,
    width: usize,
    scratch: &'a mut [f32],
    f: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> std::slice::ChunksExact<'a, f32> {
    let results = &mut scratch[..reduction_len(rows, step, width)];
    results.par_chunks_mut(width.max(1)).enumerate().for_each(|(i, result)| {
        result.fill(0.0);
        let first = i * step;
        f(first, step.min(rows - first), result);
    });
    results.chunks_exact(width.max(1))
}

/// Numbers that [`channel_sums`] needs for `len` numbers.
pub(crate) fn channel_sums_len(len: usize, channels: usize) -> usize {
    reduction_len(len / channels.max(1), reduction_rows(channels), channels)
}

/// `sums[c] = Σ_rows x[row][c]`.
pub(crate) fn channel_sums(x: &[f32], sums: &mut [f32], scratch: &mut [f32]) {
    sum_chunks(x.len(), sums, scratch, |numbers, sums| sum_rows(&x[numbers], sums));
}

/// Sums over the rows of `len` numbers: `f` adds those of a range to the sums of its chunk.
fn sum_chunks(
    len: usize,
    sums: &mut [f32],
    scratch: &mut [f32],
    f: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    let channels = sums.len().max(1);
    let step = reduction_rows(channels);
    let parts = reduce_rows(len / channels, step, channels, scratch, |first, rows, part| {
        f(first * channels..(first + rows) * channels, part);
    });
    for (c, sum) in sums.iter_mut().enumerate() {
        *sum = parts.clone().map(|part| f64::from(part[c])).sum::<f64>() as f32;
    }
}

/// Numbers that [`lane_sums`] adds side by side.
pub(crate) const LANES: usize = 16;

/// `Σ f(a, b)` as [`LANES`] sums, of every such number.
#[inline(always)]
pub(crate) fn lane_sums(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    for (a, b) in a.zip(b) {
        for i in 0..LANES {
            sums[i] += f(a[i], b[i]);
        }
    }
    for (sum, (&a, &b)) in sums.iter_mut().zip(rest) {
        *sum += f(a, b);
    }
    sums
}

kernel! {
    BiasGrad { dy: Input<f32>, dbias: Output<f32> }
}

impl Kernel for BiasGrad {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::shared(channel_sums_len(self.dy.get().len(), self.dbias.len()))
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        channel_sums(self.dy.get(), self.dbias.get(), work.shared);
    }
}

kernel! {
    ScaleGrad { x: Input<f32>, dy: Input<f32>, dscale: Output<f32> }
}

impl Kernel for ScaleGrad {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::shared(channel_sums_len(self.dy.get().len(), self.dscale.len()))
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (x, dy) = (self.x.get(), self.dy.get());
        sum_chunks(x.len(), self.dscale.get(), work.shared, |numbers, sums| {
            sum_products(&x[numbers.clone()], &dy[numbers], sums);
        });
    }
}

kernel! {
    AddBias { x: Input<f32>, bias: Input<f32>, y: Output<f32> }
}

impl Kernel for AddBias {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, bias, y) = (self.x.get(), self.bias.get(), self.y.get());
        for_chunks(chunk_len(bias.len()), x, y, |x, y| add_bias(x, bias, y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_channels_do_not_lose_a_row() {
        let rows = 5000;
        let x: Vec<f32> = (0..rows * 3).map(|i| (i % 3) as f32 + 1.0).collect();
        let mut sums = [0.0; 3];
        let mut scratch = vec![7.0; channel_sums_len(x.len(), 3)];
        channel_sums(&x, &mut sums, &mut scratch);
        assert_eq!(sums, [5000.0, 10_000.0, 15_000.0]);
    }
}
