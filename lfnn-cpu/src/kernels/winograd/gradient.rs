//! The weight gradient.
//!
//! Tiles of x and of dy are transformed, a chunk of the batch at a time, into panels of a few channels, so that what a
//! block of the product reads is contiguous. Each of the 36 matrices of the gradient is one chunk of work, to which the
//! chunks of the batch are added in order, so its bytes do not depend on the threads.

use lfnn_core::program::Conv2dWeightGrad;
use rayon::prelude::*;

use super::transform::{self, FREQUENCIES, TileBlock, TileGrid, distance, grid};
use crate::kernels::reduce::{channel_sums, channel_sums_len};
use crate::kernels::windows::Geometry;
use crate::memory::{BufferResolver, Input, Output};
use crate::product::{self, PANEL_ROWS, RowPair, RowPairs};
use crate::work::{Kernel, ScratchSize, Workspace};

/// Tiles in a chunk of the batch: panels of each side stay in the second-level cache.
const CHUNK: usize = 128;

pub(crate) struct WeightGrad {
    x: Input<f32>,
    dy: Input<f32>,
    dweight: Output<f32>,
    dbias: Option<Output<f32>>,
    geometry: Geometry,
    /// Of x, and of dy.
    tile_grids: [TileGrid; 2],
    /// Channels of x in a panel.
    inputs: usize,
    /// Rows of a panel of dy, paired with those of a panel of x.
    pairs: Vec<RowPair>,
}

impl WeightGrad {
    pub(crate) fn new(op: &Conv2dWeightGrad, g: &Geometry, bind: &mut BufferResolver<'_>) -> Self {
        let grid = grid(g.result);
        let source = TileGrid::inputs(grid, g.window.padding, g.image, g.input);
        let gradient = TileGrid::results(grid, g.result, g.output);
        let chunk = CHUNK.min(g.batch * source.tiles);
        let inputs = product::panel_columns(g.input);
        Self {
            x: bind.read(op.x),
            dy: bind.read(op.dy),
            dweight: bind.write(op.dweight),
            dbias: op.dbias.map(|dbias| bind.write(dbias)),
            geometry: *g,
            tile_grids: [source, gradient],
            inputs,
            pairs: (0..chunk).map(|t| [(t * PANEL_ROWS) as u32, (t * inputs) as u32]).collect(),
        }
    }

    /// Numbers of a panel's matrices, of x and of dy.
    fn panels(&self) -> [usize; 2] {
        [self.inputs, PANEL_ROWS].map(|width| FREQUENCIES * distance(self.pairs.len(), width))
    }

    /// Numbers of the sums, of the transformed x and dy, of zeros, and for the bias.
    fn parts(&self) -> [usize; 5] {
        let g = &self.geometry;
        let [x, dy] = self.panels();
        let rows = g.batch * g.windows();
        let bias = match self.dbias {
            Some(_) => channel_sums_len(rows * g.output, g.output),
            None => 0,
        };
        [
            FREQUENCIES * g.output * g.input,
            g.input.div_ceil(self.inputs) * x,
            g.output.div_ceil(PANEL_ROWS) * dy,
            g.input.max(g.output),
            bias,
        ]
    }
}

impl Kernel for WeightGrad {
    fn scratch_size(&self) -> ScratchSize {
        let tile_grids: usize = self.tile_grids.iter().map(TileGrid::bytes).sum();
        ScratchSize {
            shared: self.parts().iter().sum(),
            per_thread: 0,
            tables: tile_grids + size_of_val(&*self.pairs),
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (parts, panels) = (self.parts(), self.panels());
        let Self { x, dy, dweight, dbias, geometry: g, tile_grids, inputs: width, pairs } = self;
        let (x, dy, [source, gradient], width) = (x.get(), dy.get(), &*tile_grids, *width);
        let (sums, rest) = work.shared.split_at_mut(parts[0]);
        let (inputs, rest) = rest.split_at_mut(parts[1]);
        let (gradients, rest) = rest.split_at_mut(parts[2]);
        let (zeros, rest) = rest.split_at_mut(parts[3]);
        zeros.fill(0.0);
        let zeros = &*zeros;
        let between = panels.map(|panel| panel / FREQUENCIES);
        let tiles = g.batch * source.tiles;
        for first in (0..tiles).step_by(pairs.len()) {
            let count = pairs.len().min(tiles - first);
            let block = |panel: usize, width: usize, channels: usize, distance: usize| {
                let from = panel * width;
                let channels = [from, width.min(channels - from)];
                TileBlock { tiles: [first, count], channels, stride: width, distance }
            };
            let of_x = || {
                inputs.par_chunks_exact_mut(panels[0]).enumerate().for_each(|(panel, to)| {
                    let block = block(panel, width, g.input, between[0]);
                    transform::inputs(source, x, block, zeros, to);
                });
            };
            let of_dy = || {
                gradients.par_chunks_exact_mut(panels[1]).enumerate().for_each(|(panel, to)| {
                    let block = block(panel, PANEL_ROWS, g.output, between[1]);
                    transform::gradients(gradient, dy, block, zeros, to);
                });
            };
            rayon::join(of_x, of_dy);
            let (inputs, gradients, pairs) =
                (&*inputs, &*gradients, RowPairs::new(&pairs[..count]));
            let matrices = sums.par_chunks_exact_mut(g.output * g.input).enumerate();
            matrices.for_each(|(f, sums)| {
                for (panel, x) in inputs.chunks_exact(panels[0]).enumerate() {
                    let x = &x[f * between[0]..][..between[0]];
                    let column = panel * width;
                    let columns = width.min(g.input - column);
                    for (panel, dy) in gradients.chunks_exact(panels[1]).enumerate() {
                        let dy = &dy[f * between[1]..][..between[1]];
                        let row = panel * PANEL_ROWS;
                        let size = [PANEL_ROWS.min(g.output - row), columns];
                        let to = &mut sums[row * g.input + column..];
                        product::transposed_product(pairs, dy, x, size, first == 0, to, g.input);
                    }
                }
            });
        }
        let sums = &*sums;
        dweight.get().par_chunks_mut(9 * g.input).enumerate().for_each(|(filter, dweight)| {
            transform::weight_gradients(&sums[filter * g.input..], g.output * g.input, dweight);
        });
        if let Some(dbias) = dbias {
            channel_sums(dy, dbias.get(), rest);
        }
    }
}
