//! Moving elements: channels-first vectors, and tensors side by side.

use lfnn_core::program::{Concat, Flatten, Split, TensorId, Unflatten};
use rayon::prelude::*;

use crate::memory::{BufferResolver, In, Out};
use crate::work::{GRAIN, Kernel, ScratchSize, Workspace, piece_rows};

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

/// A transposition of every example.
pub(crate) struct Transpose {
    x: In<f32>,
    y: Out<f32>,
    /// Numbers of an example.
    len: usize,
    /// Numbers in a row of it.
    columns: usize,
}

impl Transpose {
    pub(crate) fn flatten(op: &Flatten, bind: &mut BufferResolver<'_>) -> Self {
        let channels = bind.tensors().channels(op.x);
        Self::new(op.x, op.y, channels, bind)
    }

    pub(crate) fn unflatten(op: &Unflatten, bind: &mut BufferResolver<'_>) -> Self {
        let image = &bind.tensor(op.y).shape;
        Self::new(op.x, op.y, image[1] * image[2], bind)
    }

    fn new(x: TensorId, y: TensorId, columns: usize, bind: &mut BufferResolver<'_>) -> Self {
        let tensor = bind.tensor(x);
        let len = tensor.len().checked_div(tensor.shape[0]).unwrap_or(0);
        Self { x: bind.read(x), y: bind.write(y), len, columns }
    }
}

impl Kernel for Transpose {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (len, columns) = (self.len, self.columns);
        if len == 0 {
            return;
        }
        let piece = (GRAIN / len).max(1) * len;
        let x = self.x.get().par_chunks(piece);
        self.y.get().par_chunks_mut(piece).zip(x).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
                transpose(x, columns, y);
            }
        });
    }
}

/// Joins tensors.
pub(crate) struct Join {
    inputs: Vec<(In<f32>, usize)>,
    y: Out<f32>,
    columns: usize,
}

impl Join {
    pub(crate) fn new(op: &Concat, bind: &mut BufferResolver<'_>) -> Self {
        let tensors = bind.tensors();
        Self {
            inputs: op.inputs.iter().map(|&id| (bind.read(id), tensors.channels(id))).collect(),
            y: bind.write(op.y),
            columns: tensors.channels(op.y),
        }
    }
}

impl Kernel for Join {
    fn scratch_size(&self) -> ScratchSize {
        let tables = self.inputs.len() * size_of::<(In<f32>, usize)>();
        ScratchSize { tables, ..ScratchSize::default() }
    }

    fn run(&mut self, _: &mut Workspace<'_>) {
        if self.columns == 0 {
            return;
        }
        let (rows, columns) = (piece_rows(self.columns), self.columns);
        let mut start = 0;
        for (x, width) in self.inputs.iter().filter(|(_, width)| *width > 0) {
            let x = x.get().par_chunks(rows * width);
            self.y.get().par_chunks_mut(rows * columns).zip(x).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(*width)) {
                    y[start..start + width].copy_from_slice(x);
                }
            });
            start += width;
        }
    }
}

/// Takes a tensor apart.
pub(crate) struct Part {
    x: In<f32>,
    outputs: Vec<(Out<f32>, usize)>,
    columns: usize,
}

impl Part {
    pub(crate) fn new(op: &Split, bind: &mut BufferResolver<'_>) -> Self {
        let tensors = bind.tensors();
        Self {
            x: bind.read(op.x),
            outputs: op.outputs.iter().map(|&id| (bind.write(id), tensors.channels(id))).collect(),
            columns: tensors.channels(op.x),
        }
    }
}

impl Kernel for Part {
    fn scratch_size(&self) -> ScratchSize {
        let tables = self.outputs.len() * size_of::<(Out<f32>, usize)>();
        ScratchSize { tables, ..ScratchSize::default() }
    }

    fn run(&mut self, _: &mut Workspace<'_>) {
        if self.columns == 0 {
            return;
        }
        let (rows, columns) = (piece_rows(self.columns), self.columns);
        let mut start = 0;
        for (y, width) in self.outputs.iter_mut().filter(|(_, width)| *width > 0) {
            let width = *width;
            let x = self.x.get().par_chunks(rows * columns);
            y.get().par_chunks_mut(rows * width).zip(x).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(columns)) {
                    y.copy_from_slice(&x[start..start + width]);
                }
            });
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
