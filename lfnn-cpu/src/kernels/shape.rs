//! Moving elements: axes exchanged, and tensors side by side.

use lfnn_core::program::SwapAxes as Swap;
use rayon::prelude::*;

use crate::memory::{Input, Output};
use crate::work::{Kernel, ScratchSize, Workspace, chunk_len, for_chunks, items_per_chunk, kernel};

/// Writes the transpose of a matrix with rows of `columns` numbers.
fn transpose(x: &[f32], columns: usize, y: &mut [f32]) {
    const BLOCK: usize = 16;
    let rows = x.len() / columns;
    for first in (0..rows).step_by(BLOCK) {
        let end = (first + BLOCK).min(rows);
        for c in 0..columns {
            for (r, y) in (first..end).zip(&mut y[c * rows + first..]) {
                *y = x[r * columns + c];
            }
        }
    }
}

/// Writes the transpose of a matrix with rows of `columns` runs.
fn transpose_runs(x: &[f32], columns: usize, run: usize, y: &mut [f32]) {
    let rows = x.len() / (columns * run);
    for (c, y) in y.chunks_exact_mut(rows * run).enumerate() {
        for (y, x) in y.chunks_exact_mut(run).zip(x.chunks_exact(columns * run)) {
            y.copy_from_slice(&x[c * run..][..run]);
        }
    }
}

kernel! {
    SwapAxes { x: Input<f32>, y: Output<f32> }
    with |op, bind| { op: Swap = op.clone() }
}

impl Kernel for SwapAxes {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Swap { columns, run, .. } = self.op;
        let len = self.op.matrix();
        if len == 0 {
            return;
        }
        for_chunks(chunk_len(len), self.x.get(), self.y.get(), |x, y| {
            for (y, x) in y.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
                match run {
                    1 => transpose(x, columns, y),
                    _ => transpose_runs(x, columns, run, y),
                }
            }
        });
    }
}

kernel! {
    Concat { inputs: Vec<Input<f32>>, y: Output<f32> }
    with |op, bind| { columns: usize = bind.tensors().channels(op.y) }
}

impl Kernel for Concat {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::default().with_table(&self.inputs)
    }

    fn run(&mut self, _: &mut Workspace<'_>) {
        let (columns, y) = (self.columns, self.y.get());
        if y.is_empty() {
            return;
        }
        let (rows, chunk) = (y.len() / columns, items_per_chunk(columns));
        let mut start = 0;
        for x in &self.inputs {
            let width = x.get().len() / rows;
            if width > 0 {
                let x = x.get().par_chunks(chunk * width);
                y.par_chunks_mut(chunk * columns).zip(x).for_each(|(y, x)| {
                    for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(width)) {
                        y[start..start + width].copy_from_slice(x);
                    }
                });
            }
            start += width;
        }
    }
}

kernel! {
    Split { x: Input<f32>, outputs: Vec<Output<f32>> }
    with |op, bind| { columns: usize = bind.tensors().channels(op.x) }
}

impl Kernel for Split {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::default().with_table(&self.outputs)
    }

    fn run(&mut self, _: &mut Workspace<'_>) {
        let (columns, x) = (self.columns, self.x.get());
        if x.is_empty() {
            return;
        }
        let (rows, chunk) = (x.len() / columns, items_per_chunk(columns));
        let mut start = 0;
        for y in &mut self.outputs {
            let width = y.len() / rows;
            if width > 0 {
                let x = x.par_chunks(chunk * columns);
                y.get().par_chunks_mut(chunk * width).zip(x).for_each(|(y, x)| {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(columns)) {
                        y.copy_from_slice(&x[start..start + width]);
                    }
                });
            }
            start += width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_of_more_than_one_block_is_exact() {
        let (rows, columns) = (37, 5);
        let x: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        transpose(&x, columns, &mut y);
        assert_eq!(y[1], 5.0);
        assert_eq!(y[rows], 1.0);
        transpose(&y, rows, &mut z);
        assert_eq!(x, z);
    }
}
