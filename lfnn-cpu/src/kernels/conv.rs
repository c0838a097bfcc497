//! Convolution over channels-last images, without ever laying out a batch as a matrix: see [`windows`](super::windows).

use lfnn_core::program::{Conv2d, TensorId, Tensors};
use rayon::prelude::*;

use super::elementwise::relu_in_place;
use super::windows::{Geometry, Table, Target, Windows, columns_len};
use super::winograd;
use crate::memory::{BufferResolver, Input, Output};
use crate::product::{self, Gather, StridedRows};
use crate::work::{Compile, Kernel, ScratchSize, Workspace, kernel};

/// Bytes of the tables with which a convolution's kernels find its windows, at most.
pub(super) fn table_bytes(g: &Geometry) -> usize {
    if winograd::is_profitable(g) {
        return 0;
    }
    // Two numbers for each window and tap, of a few small images or of one.
    let windows = g.windows().max(g.pixels()).max(128);
    windows.saturating_mul(g.taps()).saturating_mul(2 * size_of::<u32>())
}

kernel! {
    Forward of Conv2d { x: Input<f32>, weight: Input<f32>, bias: Option<Input<f32>> }
    with |op, bind, relu: Option<TensorId>| {
        y: Output<f32> = bind.write(relu.unwrap_or(op.y)),
        /// Whether what is written is the ReLU of the result.
        relu: bool = relu.is_some(),
        geometry: Geometry = Geometry::new(bind.tensors(), op.x, op.y, op.window, op.groups),
        table: Table = Table::new(&geometry),
        taps: Vec<usize> = (0..geometry.taps()).collect(),
    }
}

/// A convolution, or the ReLU of it, in the form that is faster here.
pub(crate) fn forward(
    op: &Conv2d,
    relu: Option<TensorId>,
    bind: &mut BufferResolver<'_>,
) -> Box<dyn Kernel> {
    let g = Geometry::new(bind.tensors(), op.x, op.y, op.window, op.groups);
    if winograd::is_profitable(&g) {
        Box::new(winograd::Convolution::forward(op, relu, &g, bind))
    } else {
        Box::new(Forward::new(op, relu, bind))
    }
}

impl Compile for Conv2d {
    fn kernel(&self, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
        forward(self, None, bind)
    }

    fn table_bytes(&self, tensors: &Tensors) -> usize {
        table_bytes(&Geometry::new(tensors, self.x, self.y, self.window, self.groups))
    }
}

impl Kernel for Forward {
    fn scratch_size(&self) -> ScratchSize {
        let g = &self.geometry;
        ScratchSize {
            shared: g.groups * product::packed_len(g.depth(), g.output),
            per_thread: if g.direct() { g.input } else { columns_len(g) },
            tables: self.table.bytes() + size_of_val(&*self.taps),
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let relu = self.relu;
        let Self { x, weight, bias, y, geometry: g, table, taps, .. } = self;
        let (x, weight, bias) = (x.get(), weight.get(), bias.as_ref().map(Input::get));
        let packed_len = product::packed_len(g.depth(), g.output);
        if x.is_empty() || packed_len == 0 || g.windows() == 0 {
            return y.get().fill(0.0);
        }
        let packed = &mut work.shared[..g.groups * packed_len];
        for (weight, packed) in
            weight.chunks_exact(g.output * g.depth()).zip(packed.chunks_exact_mut(packed_len))
        {
            product::pack(weight, |k| k, g.depth(), g.depth(), g.output, packed);
        }
        let packed = &*packed;
        let images = g.images_per_chunk();
        let image_len = g.pixels() * g.channels();
        let x = x.par_chunks(images * image_len);
        let y = y.get().par_chunks_mut(images * g.windows() * g.outputs());
        let buffers = work.buffers;
        y.zip(x).for_each(|(y, x)| {
            buffers.with(|slot| {
                for (group, packed) in packed.chunks_exact(packed_len).enumerate() {
                    let bias = bias.map(|bias| &bias[group * g.output..][..g.output]);
                    group_product(g, table, taps, group, x, packed, bias, slot, y);
                }
            });
            if relu {
                relu_in_place(y);
            }
        });
    }
}

/// One group's outputs for some images.
#[allow(clippy::too_many_arguments, reason = "a part of `run`")]
fn group_product(
    g: &Geometry,
    table: &Table,
    taps: &[usize],
    group: usize,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    slot: &mut [f32],
    y: &mut [f32],
) {
    let (depth, outputs) = (g.depth(), g.outputs());
    let job = Gather {
        rows: y.len() / outputs,
        segments: taps,
        depth: g.input,
        packed,
        packed_depth: depth,
        columns: g.output,
        bias,
    };
    if g.direct() {
        let zeros = &mut slot[..g.input];
        zeros.fill(0.0);
        let windows = Windows {
            images: &x[group * g.input..],
            image_len: g.pixels() * g.channels(),
            table,
            windows: g.windows(),
            taps: g.taps(),
            entry: taps,
            zeros,
            depth: g.input,
            target: Target::Rows(outputs, group * g.output),
        };
        return product::gather_product(&windows, job, y);
    }
    let tile = g.tile();
    for (index, y) in y.chunks_mut(tile * outputs).enumerate() {
        let rows = y.len() / outputs;
        table.columns(g, x, group, index * tile, rows, slot);
        let first = group * g.output;
        let tile = StridedRows { data: slot, stride: depth, depth, distance: outputs, first };
        let job = Gather { rows, segments: &[0], depth, ..job };
        product::gather_product(&tile, job, y);
    }
}
