//! Biases: a number per column added to every row, and sums over rows.
//!
//! Long sums are cut into pieces of rows, whose sums are added in double precision and in order.

use lfnn_core::program::{AddBias, BiasGrad};
use rayon::prelude::*;

use crate::memory::{BufferResolver, In, Out};
use crate::simd::vectorized;
use crate::work::{Kernel, ScratchSize, Workspace, piece, piece_rows};

vectorized! {
    /// Adds each row of `x` to `sums`.
    pub(crate) fn sum_rows(x: &[f32], sums: &mut [f32]) {
        for row in x.chunks_exact(sums.len().max(1)) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }

    fn add_bias(x: &[f32], bias: &[f32], y: &mut [f32]) {
        let columns = bias.len().max(1);
        for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
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

/// Rows in a piece of a reduction: short enough for single precision.
pub(crate) fn reduction_rows(columns: usize) -> usize {
    piece_rows(columns).min(1024)
}

/// Reduces pieces of `step` rows: `f(first row, rows, result)` for each, with results of `width`
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

/// `sums[c] = Σ_rows x[row][c]`.
pub(crate) fn column_sums(x: &[f32], sums: &mut [f32], scratch: &mut [f32]) {
    let columns = sums.len().max(1);
    let step = reduction_rows(columns);
    let parts = reduce_rows(x.len() / columns, step, columns, scratch, |first, rows, part| {
        sum_rows(&x[first * columns..][..rows * columns], part);
    });
    for (c, sum) in sums.iter_mut().enumerate() {
        *sum = parts.clone().map(|part| f64::from(part[c])).sum::<f64>() as f32;
    }
}

pub(crate) struct SumRows {
    dy: In<f32>,
    dbias: Out<f32>,
    needs: ScratchSize,
}

impl SumRows {
    pub(crate) fn new(op: &BiasGrad, bind: &mut BufferResolver<'_>) -> Self {
        let (rows, columns) = (bind.tensors().rows(op.dy), bind.tensors().channels(op.dy));
        let shared = reduction_len(rows, reduction_rows(columns), columns);
        Self {
            dy: bind.read(op.dy),
            dbias: bind.write(op.dbias),
            needs: ScratchSize { shared, ..ScratchSize::default() },
        }
    }
}

impl Kernel for SumRows {
    fn scratch_size(&self) -> ScratchSize {
        self.needs
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        column_sums(self.dy.get(), self.dbias.get(), work.shared);
    }
}

pub(crate) struct Bias {
    x: In<f32>,
    bias: In<f32>,
    y: Out<f32>,
}

impl Bias {
    pub(crate) fn new(op: &AddBias, bind: &mut BufferResolver<'_>) -> Self {
        Self { x: bind.read(op.x), bias: bind.read(op.bias), y: bind.write(op.y) }
    }
}

impl Kernel for Bias {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, bias, y) = (self.x.get(), self.bias.get(), self.y.get());
        let piece = piece(bias.len());
        y.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(y, x)| add_bias(x, bias, y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_columns_do_not_lose_a_row() {
        let rows = 5000;
        let x: Vec<f32> = (0..rows * 3).map(|i| (i % 3) as f32 + 1.0).collect();
        let mut sums = [0.0; 3];
        let mut scratch = vec![7.0; reduction_len(rows, reduction_rows(3), 3)];
        column_sums(&x, &mut sums, &mut scratch);
        assert_eq!(sums, [5000.0, 10_000.0, 15_000.0]);
    }
}
