//! The weight gradient.
//!
//! Tiles of x and of dy are transformed, a stretch of the batch at a time; each of the 16 matrices of the gradient
//! sums products over all tiles in their order, so no partial sums have to be added up.

use lfnn_core::program::Conv2dWeightGrad;
use rayon::prelude::*;

use super::transform::{self, FREQUENCIES, Lattice};
use super::{distance, grid};
use crate::kernels::columns::{column_sums, reduction_len, reduction_rows};
use crate::kernels::conv::Geometry;
use crate::memory::{Binder, In, Out};
use crate::product::{self, Pair};
use crate::work::{Kernel, Needs, Workspace};

/// Tiles that one thread transforms at a time.
const PIECE: usize = 16;

pub(crate) struct WeightGrad {
    x: In<f32>,
    dy: In<f32>,
    dweight: Out<f32>,
    dbias: Option<Out<f32>>,
    geometry: Geometry,
    /// Of x, and of dy.
    lattices: [Lattice; 2],
    /// Rows of the transformed dy beside those of the transformed x.
    pairs: Vec<Pair>,
}

impl WeightGrad {
    pub(crate) fn new(op: &Conv2dWeightGrad, g: &Geometry, bind: &mut Binder<'_>) -> Self {
        const NUMBERS: usize = 1 << 20;
        let grid = grid(g.result);
        let source = Lattice::new(grid, 4, g.window.padding, g.image, g.input);
        let gradient = Lattice::new(grid, 2, [0, 0], g.result, g.output);
        let tiles = g.batch * source.tiles;
        let stretch = (NUMBERS / (FREQUENCIES * (g.input + g.output)))
            .next_multiple_of(PIECE)
            .min(tiles.next_multiple_of(PIECE));
        let place = |tile: usize, channels: usize| {
            let piece = tile / PIECE * FREQUENCIES * distance(PIECE, channels);
            (piece + tile % PIECE * channels) as u32
        };
        Self {
            x: bind.read(op.x),
            dy: bind.read(op.dy),
            dweight: bind.write(op.dweight),
            dbias: op.dbias.map(|dbias| bind.write(dbias)),
            geometry: *g,
            lattices: [source, gradient],
            pairs: (0..stretch).map(|tile| [place(tile, g.output), place(tile, g.input)]).collect(),
        }
    }

    /// Numbers of the sums, of the transformed x and dy, of zeros, and for the bias.
    fn parts(&self) -> [usize; 5] {
        let g = &self.geometry;
        let pieces = self.pairs.len() / PIECE;
        let transformed = |channels| pieces * FREQUENCIES * distance(PIECE, channels);
        let rows = g.batch * g.windows();
        let bias = match self.dbias {
            Some(_) => reduction_len(rows, reduction_rows(g.output), g.output),
            None => 0,
        };
        let sums = FREQUENCIES * g.output * g.input;
        [sums, transformed(g.input), transformed(g.output), g.input.max(g.output), bias]
    }
}

impl Kernel for WeightGrad {
    fn needs(&self) -> Needs {
        let lattices: usize = self.lattices.iter().map(Lattice::bytes).sum();
        Needs {
            shared: self.parts().iter().sum(),
            each: 0,
            tables: lattices + size_of_val(&*self.pairs),
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        // Filters in a piece of a product.
        const FILTERS: usize = 48;
        let parts = self.parts();
        let Self { x, dy, dweight, dbias, geometry: g, lattices: [source, gradient], pairs } = self;
        let (x, dy) = (x.get(), dy.get());
        let (sums, rest) = work.shared.split_at_mut(parts[0]);
        let (inputs, rest) = rest.split_at_mut(parts[1]);
        let (gradients, rest) = rest.split_at_mut(parts[2]);
        let (zeros, rest) = rest.split_at_mut(parts[3]);
        zeros.fill(0.0);
        let zeros = &*zeros;
        let between = [distance(PIECE, g.input), distance(PIECE, g.output)];
        let tiles = g.batch * source.tiles;
        for first in (0..tiles).step_by(pairs.len()) {
            let count = pairs.len().min(tiles - first);
            let pieces = inputs
                .par_chunks_mut(FREQUENCIES * between[0])
                .zip(gradients.par_chunks_mut(FREQUENCIES * between[1]))
                .take(count.div_ceil(PIECE))
                .enumerate();
            pieces.for_each(|(piece, (inputs, gradients))| {
                let first = first + piece * PIECE;
                let count = PIECE.min(tiles - first);
                transform::inputs(source, x, first, count, zeros, inputs, between[0]);
                transform::gradients(gradient, dy, first, count, zeros, gradients, between[1]);
            });
            let (inputs, gradients) = (&*inputs, &*gradients);
            let matrices = sums.par_chunks_exact_mut(g.output * g.input).enumerate();
            matrices.for_each(|(f, sums)| {
                let (x, dy) = (&inputs[f * between[0]..], &gradients[f * between[1]..]);
                let pieces = sums.par_chunks_mut(FILTERS * g.input).enumerate();
                pieces.for_each(|(piece, sums)| {
                    let columns = [sums.len() / g.input, g.input];
                    let dy = &dy[piece * FILTERS..];
                    let (pairs, new) = (&pairs[..count], first == 0);
                    product::transposed_product(pairs, dy, x, columns, new, sums, g.input);
                });
            });
        }
        let sums = &*sums;
        dweight.get().par_chunks_mut(9 * g.input).enumerate().for_each(|(filter, dweight)| {
            transform::weight_gradients(&sums[filter * g.input..], g.output * g.input, dweight);
        });
        if let Some(dbias) = dbias {
            column_sums(dy, dbias.get(), rest);
        }
    }
}
