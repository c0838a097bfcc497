//! Convolutions of 3 × 3 with fewer multiplications: Winograd's F(4×4, 3×3), and F(3×3, 4×4) for the weight
//! gradient (Lavin & Gray 2015, arXiv 1509.09308).
//!
//! A tile of 4 × 4 results sees 6 × 6 pixels. Pixels and weights are transformed, so that 36 products of matrices
//! (tiles × input channels by input channels × output channels), one for each number of a transformed tile, take the place
//! of 144 multiplications each. Rounding errors are some two times those of the direct form.

mod gradient;
mod transform;
mod weights;

pub(crate) use gradient::WeightGrad;

use lfnn_core::program::{Conv2d, Conv2dInputGrad, TensorId};
use rayon::prelude::*;

use self::transform::{FREQUENCIES, TileBlock, TileGrid, distance, grid};
use self::weights::Weights;
use super::elementwise::relu_in_place;
use super::windows::Geometry;
use crate::memory::{BufferResolver, Input, Output};
use crate::product::{self, Gather, StridedRows};
use crate::work::{Kernel, ScratchSize, Workspace};

/// Whether the transforms cost less than they save.
pub(crate) fn is_profitable(g: &Geometry) -> bool {
    let fits = g.window.kernel == [3, 3]
        && g.window.stride == [1, 1]
        && g.window.padding.iter().all(|&padding| padding <= 2)
        && g.groups == 1;
    let [rows, columns] = grid(g.result);
    // Against the products alone it would be 9 and 36; with few channels the transforms weigh as much.
    fits && g.input.min(g.output) >= 16 && g.batch > 0 && 9 * g.windows() >= 50 * rows * columns
}

/// Images in a chunk of work, whose transformed tiles stay in the second-level cache and fill blocks of the product.
fn images(tiles: usize, channels: usize, batch: usize) -> usize {
    const NUMBERS: usize = 1 << 18;
    const BLOCK: usize = 24;
    let most = (NUMBERS / (FREQUENCIES * channels * tiles.max(1))).clamp(1, batch.max(1));
    let waste = |n: &usize| (n * tiles).next_multiple_of(BLOCK) * most / n;
    (1..=most).rev().min_by_key(waste).unwrap_or(1)
}

/// A convolution of x by weights, or of dy by weights turned around.
pub(crate) struct Convolution {
    x: Input<f32>,
    weight: Input<f32>,
    bias: Option<Input<f32>>,
    y: Output<f32>,
    /// Whether what is written is the ReLU of the result.
    relu: bool,
    weights: Weights,
    /// Of the source, and of the result.
    tile_grids: [TileGrid; 2],
    batch: usize,
    images: usize,
}

impl Convolution {
    /// With the ReLU of its result, if there is one.
    pub(crate) fn forward(
        op: &Conv2d,
        relu: Option<TensorId>,
        g: &Geometry,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        let grid = grid(g.result);
        let source = TileGrid::inputs(grid, g.window.padding, g.image, g.input);
        let result = TileGrid::results(grid, g.result, g.output);
        Self {
            x: bind.read(op.x),
            weight: bind.read(op.weight),
            bias: op.bias.map(|bias| bind.read(bias)),
            y: bind.write(relu.unwrap_or(op.y)),
            relu: relu.is_some(),
            weights: Weights { input: g.input, output: g.output, turned: false },
            images: images(result.tiles, g.input + g.output, g.batch),
            tile_grids: [source, result],
            batch: g.batch,
        }
    }

    pub(crate) fn input_grad(
        op: &Conv2dInputGrad,
        g: &Geometry,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        let grid = grid(g.image);
        let padding = g.window.padding.map(|padding| 2 - padding);
        let source = TileGrid::inputs(grid, padding, g.result, g.output);
        let result = TileGrid::results(grid, g.image, g.input);
        Self {
            x: bind.read(op.dy),
            weight: bind.read(op.weight),
            bias: None,
            y: bind.write(op.dx),
            relu: false,
            weights: Weights { input: g.output, output: g.input, turned: true },
            images: images(result.tiles, g.input + g.output, g.batch),
            tile_grids: [source, result],
            batch: g.batch,
        }
    }

    /// Numbers from one matrix of transformed pixels to the next, and from one of products.
    fn distances(&self) -> [usize; 2] {
        let tiles = self.images * self.tile_grids[1].tiles;
        [distance(tiles, self.weights.input), distance(tiles, self.weights.output)]
    }
}

impl Kernel for Convolution {
    fn scratch_size(&self) -> ScratchSize {
        let Weights { input, output, .. } = self.weights;
        let tiles = input + output + FREQUENCIES * self.distances().iter().sum::<usize>();
        ScratchSize {
            shared: self.weights.len(),
            per_thread: tiles.max(self.weights.scratch()),
            tables: self.tile_grids.iter().map(TileGrid::bytes).sum(),
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let between = self.distances();
        let Self { x, weight, bias, y, relu, weights, tile_grids: [source, result], batch, images } =
            self;
        let (x, weight, bias) = (x.get(), weight.get(), bias.as_ref().map(Input::get));
        let (packed, buffers) = (&mut work.shared[..weights.len()], work.buffers);
        weights.transform(weight, buffers, packed);
        let Weights { input, output, .. } = *weights;
        let (packed, y, relu) = (&*packed, y.get(), *relu);
        let (x_len, y_len) = (x.len() / *batch, y.len() / *batch);
        let chunks = y.par_chunks_mut(*images * y_len).zip(x.par_chunks(*images * x_len));
        chunks.for_each(|(y, x)| {
            buffers.with(|buffer| {
                let tiles = y.len() / y_len * result.tiles;
                let block = |channels: usize, distance: usize| TileBlock {
                    tiles: [0, tiles],
                    channels: [0, channels],
                    stride: channels,
                    distance,
                };
                let (zeros, buffer) = buffer.split_at_mut(input);
                let (sink, buffer) = buffer.split_at_mut(output);
                let (from, to) = buffer.split_at_mut(FREQUENCIES * between[0]);
                zeros.fill(0.0);
                transform::inputs(source, x, block(input, between[0]), zeros, from);
                for f in 0..FREQUENCIES {
                    let to = &mut to[f * between[1]..];
                    for panel in weights.panels(packed, f) {
                        let rows = StridedRows {
                            data: &from[f * between[0]..],
                            stride: input,
                            depth: input,
                            distance: output,
                            first: panel.first,
                        };
                        let job = Gather {
                            rows: tiles,
                            segments: &[0],
                            depth: input,
                            packed: panel.packed,
                            packed_depth: input,
                            columns: panel.columns,
                            bias: None,
                        };
                        product::gather_product(&rows, job, to);
                    }
                }
                transform::results(result, to, block(output, between[1]), bias, sink, y);
                if relu {
                    relu_in_place(y);
                }
            });
        });
    }
}
