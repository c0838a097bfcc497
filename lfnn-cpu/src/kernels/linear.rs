//! Linear maps in groups: rows of the result in chunks, each chunk on one thread.

use lfnn_core::program::{TensorId, Tensors};
use rayon::prelude::*;

use super::elementwise::relu_in_place;
use super::reduce::{channel_sums, channel_sums_len};
use crate::memory::{Input, Output};
use crate::product::{self, Gather, PANEL_ROWS, RowPair, RowPairs, StridedRows};
use crate::work::{Kernel, ScratchSize, Workspace, kernel};

#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    groups: usize,
    /// Features of a group.
    input: usize,
    /// Outputs of a group.
    output: usize,
}

impl Geometry {
    fn new(tensors: &Tensors, x: TensorId, weight: TensorId, groups: usize) -> Self {
        let (x, weight) = (&tensors[x].shape, &tensors[weight].shape);
        Self { batch: x[0], groups, input: weight[1], output: weight[0] / groups }
    }

    /// The geometry of the product by the transpose.
    fn transposed(self) -> Self {
        Self { input: self.output, output: self.input, ..self }
    }

    /// Numbers of a group's packed weights.
    fn packed_len(&self) -> usize {
        product::packed_len(self.input, self.output)
    }

    /// Rows of the result in a chunk: a megaflop or so, and whole blocks of the product.
    fn chunk_rows(&self) -> usize {
        let work = (self.groups * self.input * self.output).max(1);
        (1usize << 20).div_ceil(work).next_multiple_of(16)
    }
}

/// `y = x B + b` per group, or the ReLU of it, with B packed: x has `input` features a group, y has `output`.
fn product(
    g: &Geometry,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
    y: &mut [f32],
) {
    let (input, output) = (g.groups * g.input, g.groups * g.output);
    let rows = g.chunk_rows();
    let packed_len = g.packed_len();
    y.par_chunks_mut(rows * output).zip(x.par_chunks(rows * input)).for_each(|(y, x)| {
        for (group, packed) in packed.chunks_exact(packed_len).enumerate() {
            let rows = StridedRows {
                data: &x[group * g.input..],
                stride: input,
                depth: g.input,
                distance: output,
                first: group * g.output,
            };
            let job = Gather {
                rows: y.len() / output,
                segments: &[0],
                depth: g.input,
                packed,
                packed_depth: g.input,
                columns: g.output,
                bias: bias.map(|bias| &bias[group * g.output..][..g.output]),
            };
            product::gather_product(&rows, job, y);
        }
        if relu {
            relu_in_place(y);
        }
    });
}

kernel! {
    Linear { x: Input<f32>, weight: Input<f32>, bias: Option<Input<f32>> }
    with |op, bind, relu: Option<TensorId>| {
        y: Output<f32> = bind.write(relu.unwrap_or(op.y)),
        /// Whether what is written is the ReLU of the result.
        relu: bool = relu.is_some(),
        geometry: Geometry = Geometry::new(bind.tensors(), op.x, op.weight, op.groups),
    }
}

impl Kernel for Linear {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::shared(self.geometry.groups * self.geometry.packed_len())
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let Self { x, weight, bias, y, relu, geometry: g } = self;
        let (x, weight, y) = (x.get(), weight.get(), y.get());
        let bias = bias.as_ref().map(Input::get);
        if y.is_empty() {
            return;
        }
        if g.input == 0 {
            for y in y.chunks_exact_mut(g.groups * g.output) {
                match bias {
                    Some(bias) => y.copy_from_slice(bias),
                    None => y.fill(0.0),
                }
            }
            if *relu {
                relu_in_place(y);
            }
            return;
        }
        let packed_len = g.packed_len();
        let packed = &mut work.shared[..g.groups * packed_len];
        for (weight, packed) in
            weight.chunks_exact(g.output * g.input).zip(packed.chunks_exact_mut(packed_len))
        {
            product::pack(weight, |k| k, g.input, g.input, g.output, packed);
        }
        product(g, x, packed, bias, *relu, y);
    }
}

kernel! {
    LinearInputGrad { dy: Input<f32>, weight: Input<f32>, dx: Output<f32> }
    with |op, bind| {
        /// Of the product, whose input is dy.
        geometry: Geometry =
            Geometry::new(bind.tensors(), op.dx, op.weight, op.groups).transposed(),
    }
}

impl Kernel for LinearInputGrad {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::shared(self.geometry.groups * self.geometry.packed_len())
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let Self { dy, weight, dx, geometry: g } = self;
        let (dy, weight, dx) = (dy.get(), weight.get(), dx.get());
        if dx.is_empty() || g.input == 0 {
            return dx.fill(0.0);
        }
        let packed_len = g.packed_len();
        let packed = &mut work.shared[..g.groups * packed_len];
        for (weight, packed) in
            weight.chunks_exact(g.output * g.input).zip(packed.chunks_exact_mut(packed_len))
        {
            product::pack(weight, |k| k * g.output, 1, g.input, g.output, packed);
        }
        product(g, dy, packed, None, false, dx);
    }
}

kernel! {
    LinearWeightGrad {
        x: Input<f32>,
        dy: Input<f32>,
        dweight: Output<f32>,
        dbias: Option<Output<f32>>,
    }
    with |op, bind| {
        geometry: Geometry = Geometry::new(bind.tensors(), op.x, op.dweight, op.groups),
        sums: Sums = Sums::new(&geometry),
    }
}

/// How the rows of dy and of x are read.
enum Sums {
    /// Directly: pairs of where they begin.
    Direct(Vec<RowPair>),
    /// From copies in panels of so many columns of x, so that what a block of the product reads is contiguous;
    /// pairs of where a panel's rows begin.
    Panels(usize, Vec<RowPair>),
}

impl Sums {
    fn new(g: &Geometry) -> Self {
        if g.groups == 1 && g.input.min(g.output) >= 32 && g.batch >= 64 {
            let width = product::panel_columns(g.input);
            let pair = |row| [(row * PANEL_ROWS) as u32, (row * width) as u32];
            Self::Panels(width, (0..g.batch.min(STRETCH)).map(pair).collect())
        } else {
            let (inputs, outputs) = (g.groups * g.input, g.groups * g.output);
            let pair = |row| [(row * outputs) as u32, (row * inputs) as u32];
            Self::Direct((0..g.batch).map(pair).collect())
        }
    }
}

/// Rows of a batch whose panels stay in the first level of the cache.
const STRETCH: usize = 256;

impl Kernel for LinearWeightGrad {
    fn scratch_size(&self) -> ScratchSize {
        let g = &self.geometry;
        let outputs = g.groups * g.output;
        let bias = match self.dbias {
            Some(_) => channel_sums_len(g.batch * outputs, outputs),
            None => 0,
        };
        let (panels, pairs) = match &self.sums {
            Sums::Direct(pairs) => (0, pairs),
            Sums::Panels(width, pairs) => {
                let columns =
                    g.input.next_multiple_of(*width) + g.output.next_multiple_of(PANEL_ROWS);
                (pairs.len() * columns, pairs)
            }
        };
        ScratchSize::shared(bias.max(panels)).with_table(pairs)
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let Self { x, dy, dweight, dbias, geometry: g, sums } = self;
        let (x, dy, dweight) = (x.get(), dy.get(), dweight.get());
        match sums {
            Sums::Direct(pairs) => direct(g, RowPairs::new(pairs), x, dy, dweight),
            Sums::Panels(width, pairs) => by_panels(g, *width, pairs, x, dy, work.shared, dweight),
        }
        if let Some(dbias) = dbias {
            channel_sums(dy, dbias.get(), work.shared);
        }
    }
}

/// The weight gradient, reading rows directly.
fn direct(g: &Geometry, pairs: RowPairs<'_>, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    // Filters in a chunk, within a group.
    let work_each = (g.batch * g.input).max(1);
    let filters = (1usize << 19).div_ceil(work_each).next_multiple_of(8).min(g.output.max(1));
    let dweight = dweight.par_chunks_mut((g.output * g.input).max(1)).enumerate();
    dweight.for_each(|(group, dweight)| {
        let chunks = dweight.par_chunks_mut(filters * g.input).enumerate();
        chunks.for_each(|(chunk, dweight)| {
            let first = group * g.output + chunk * filters;
            let columns = [dweight.len() / g.input, g.input];
            let (x, dy) = (&x[group * g.input..], &dy[first..]);
            product::transposed_product(pairs, dy, x, columns, true, dweight, g.input);
        });
    });
}

/// The weight gradient from panels, a stretch of the batch at a time.
fn by_panels(
    g: &Geometry,
    width: usize,
    pairs: &[RowPair],
    x: &[f32],
    dy: &[f32],
    scratch: &mut [f32],
    dweight: &mut [f32],
) {
    let rows = pairs.len();
    let inputs = rows * g.input.next_multiple_of(width);
    let gradients = rows * g.output.next_multiple_of(PANEL_ROWS);
    let (inputs, rest) = scratch.split_at_mut(inputs);
    let gradients = &mut rest[..gradients];
    let stretches = x.chunks(rows * g.input).zip(dy.chunks(rows * g.output)).enumerate();
    for (stretch, (x, dy)) in stretches {
        let copy = |x: &[f32], columns: usize, width: usize, to: &mut [f32]| {
            to.par_chunks_exact_mut(rows * width).enumerate().for_each(|(panel, to)| {
                product::copy_panel(x, columns, panel * width, width, to);
            });
        };
        rayon::join(
            || copy(x, g.input, width, inputs),
            || copy(dy, g.output, PANEL_ROWS, gradients),
        );
        let (inputs, pairs) = (&*inputs, RowPairs::new(&pairs[..x.len() / g.input]));
        let panels = dweight.par_chunks_mut(PANEL_ROWS * g.input);
        panels.zip(gradients.par_chunks_exact(rows * PANEL_ROWS)).for_each(|(dweight, dy)| {
            let filters = dweight.len() / g.input;
            for (panel, x) in inputs.chunks_exact(rows * width).enumerate() {
                let columns = width.min(g.input - panel * width);
                let (size, to) = ([filters, columns], &mut dweight[panel * width..]);
                product::transposed_product(pairs, dy, x, size, stretch == 0, to, g.input);
            }
        });
    }
}
