//! Convolutions of 3 × 3 with fewer multiplications: Winograd's F(2×2, 3×3), and F(3×3, 2×2) for the weight
//! gradient (Lavin & Gray 2015, arXiv 1509.09308).
//!
//! A tile of 2 × 2 results sees 4 × 4 pixels. Pixels and weights are transformed by additions and halvings, so
//! that 16 products of matrices (tiles × input channels by input channels × output channels), one for each
//! number of a transformed tile, take the place of 36 multiplications each. Rounding errors are some two times those
//! of the direct form.

mod gradient;
mod transform;

pub(crate) use gradient::WeightGrad;

use lfnn_core::program::{Activate, Conv2d, Conv2dInputGrad};
use rayon::prelude::*;

use self::transform::{FREQUENCIES, Lattice, Part};
use super::conv::Geometry;
use super::elementwise::relu_in_place;
use super::linear::Slab;
use crate::memory::{Binder, In, Out};
use crate::product::{self, Gather};
use crate::work::{Kernel, Needs, Workspace};

/// Tiles along each axis of the result.
fn grid(result: [usize; 2]) -> [usize; 2] {
    result.map(|extent| extent.div_ceil(2))
}

/// Whether the transforms cost less than they save.
pub(crate) fn pays(g: &Geometry) -> bool {
    let fits = g.window.kernel == [3, 3]
        && g.window.stride == [1, 1]
        && g.window.padding.iter().all(|&padding| padding <= 2)
        && g.groups == 1;
    let [rows, columns] = grid(g.result);
    // Against the products alone it would be 9 and 16; with few channels the transforms weigh as much.
    fits && g.input.min(g.output) >= 16 && g.batch > 0 && 9 * g.windows() >= 22 * rows * columns
}

/// Numbers from one matrix of a transformed tensor to the next: a cache line more than they hold, because
/// lines a power of two apart would drive one another out.
fn distance(rows: usize, columns: usize) -> usize {
    (rows * columns).next_multiple_of(16) + 16
}

/// Images in a piece of work, whose tiles' transforms stay near the processor and fill blocks of the product.
fn images(tiles: usize, channels: usize, batch: usize) -> usize {
    const NUMBERS: usize = 1 << 18;
    const BLOCK: usize = 24;
    let most = (NUMBERS / (FREQUENCIES * channels * tiles.max(1))).clamp(1, batch.max(1));
    let waste = |n: &usize| (n * tiles).next_multiple_of(BLOCK) * most / n;
    (1..=most).rev().min_by_key(waste).unwrap_or(1)
}

/// A convolution of x by weights, or of dy by weights turned around.
pub(crate) struct Convolution {
    x: In<f32>,
    weight: In<f32>,
    bias: Option<In<f32>>,
    y: Out<f32>,
    /// Whether what is written is the ReLU of the result.
    relu: bool,
    /// Of the source, and of the result.
    lattices: [Lattice; 2],
    /// Whether filters are the source's channels, and turned by 180°: the input gradient.
    turned: bool,
    batch: usize,
    images: usize,
}

impl Convolution {
    /// With the ReLU of its result, if there is one.
    pub(crate) fn forward(
        op: &Conv2d,
        relu: Option<&Activate>,
        g: &Geometry,
        bind: &mut Binder<'_>,
    ) -> Self {
        let grid = grid(g.result);
        let source = Lattice::new(grid, 4, g.window.padding, g.image, g.input);
        let result = Lattice::new(grid, 2, [0, 0], g.result, g.output);
        Self {
            x: bind.read(op.x),
            weight: bind.read(op.weight),
            bias: op.bias.map(|bias| bind.read(bias)),
            y: bind.write(relu.map_or(op.y, |relu| relu.y)),
            relu: relu.is_some(),
            images: images(result.tiles, g.input + g.output, g.batch),
            lattices: [source, result],
            turned: false,
            batch: g.batch,
        }
    }

    pub(crate) fn input_grad(op: &Conv2dInputGrad, g: &Geometry, bind: &mut Binder<'_>) -> Self {
        let grid = grid(g.image);
        let padding = g.window.padding.map(|padding| 2 - padding);
        let source = Lattice::new(grid, 4, padding, g.result, g.output);
        let result = Lattice::new(grid, 2, [0, 0], g.image, g.input);
        Self {
            x: bind.read(op.dy),
            weight: bind.read(op.weight),
            bias: None,
            y: bind.write(op.dx),
            relu: false,
            images: images(result.tiles, g.input + g.output, g.batch),
            lattices: [source, result],
            turned: true,
            batch: g.batch,
        }
    }

    /// Channels of the source and of the result.
    fn channels(&self) -> [usize; 2] {
        [self.lattices[0].channels, self.lattices[1].channels]
    }
}

impl Kernel for Convolution {
    fn needs(&self) -> Needs {
        let [input, output] = self.channels();
        let tiles = self.images * self.lattices[1].tiles;
        Needs {
            shared: FREQUENCIES * (input * output + product::packed_len(input, output)),
            each: input + FREQUENCIES * (distance(tiles, input) + distance(tiles, output)),
            tables: self.lattices.iter().map(Lattice::bytes).sum(),
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let [input, output] = self.channels();
        let relu = self.relu;
        let Self { x, weight, bias, y, lattices: [source, result], turned, batch, images, .. } =
            self;
        let (x, weight, bias) = (x.get(), weight.get(), bias.as_ref().map(In::get));
        let (plain, rest) = work.shared.split_at_mut(FREQUENCIES * input * output);
        let packed_len = product::packed_len(input, output);
        let packed = &mut rest[..FREQUENCIES * packed_len];
        transform_weights(weight, *turned, [input, output], plain, packed);
        let (packed, slots) = (&*packed, work.slots);
        let y = y.get();
        let (x_len, y_len) = (x.len() / *batch, y.len() / *batch);
        let pieces = y.par_chunks_mut(*images * y_len).zip(x.par_chunks(*images * x_len));
        pieces.for_each(|(y, x)| {
            slots.with(|slot| {
                let tiles = y.len() / y_len * result.tiles;
                let (zeros, slot) = slot.split_at_mut(input);
                let between = [distance(tiles, input), distance(tiles, output)];
                let (from, to) = slot.split_at_mut(FREQUENCIES * between[0]);
                zeros.fill(0.0);
                let part = Part { tiles: [0, tiles], channels: [0, input], stride: input };
                transform::inputs(source, x, part, zeros, from, between[0]);
                for (f, packed) in packed.chunks_exact(packed_len).enumerate() {
                    let rows = Slab {
                        data: &from[f * between[0]..],
                        stride: input,
                        depth: input,
                        distance: output,
                        first: 0,
                    };
                    let job = Gather {
                        rows: tiles,
                        segments: &[0],
                        depth: input,
                        packed,
                        packed_depth: input,
                        columns: output,
                        bias: None,
                    };
                    product::gather_product(&rows, job, &mut to[f * between[1]..]);
                }
                transform::results(result, to, between[1], bias, y);
                if relu {
                    relu_in_place(y);
                }
            });
        });
    }
}

/// Packed matrices `[input, output]`, one for each frequency, of weights `[filters, 3, 3, channels]`.
fn transform_weights(
    weight: &[f32],
    turned: bool,
    [input, output]: [usize; 2],
    plain: &mut [f32],
    packed: &mut [f32],
) {
    let channels = if turned { output } else { input };
    let matrix = input * output;
    for (filter, weight) in weight.chunks_exact(9 * channels).enumerate() {
        transform::weights(weight, turned, &mut plain[filter * channels..], matrix);
    }
    let plain = plain.par_chunks_exact(matrix);
    packed.par_chunks_exact_mut(packed.len() / FREQUENCIES).zip(plain).for_each(|(to, plain)| {
        if turned {
            product::pack(plain, |k| k * channels, 1, input, output, to);
        } else {
            product::pack(plain, |k| k, channels, input, output, to);
        }
    });
}
