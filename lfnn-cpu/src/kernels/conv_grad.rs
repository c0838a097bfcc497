//! Gradients of a convolution.
//!
//! The input gradient is a convolution of `dy`: each input pixel gathers from the windows that cover
//! it. With a stride, pixels fall into phases (row and column modulo the stride), and those of a phase
//! have the same taps; each phase is a product of its own, and no product with a zero is computed
//! but at the border. The weight gradient is a sum over rows of pixels of transposed products, read
//! directly from the images, which are divided into a fixed number of parts whose sums are added in order.

use lfnn_core::program::{Conv2dInputGrad, Conv2dWeightGrad, Tensors};
use rayon::prelude::*;

use super::conv::table_bytes;
use super::elementwise::add;
use super::reduce::sum_rows;
use super::windows::{Geometry, Table, Target, Windows, columns_len};
use super::winograd;
use crate::memory::{BufferResolver, Input, Output};
use crate::product::{self, Gather, RowPair, RowPairs};
use crate::work::{CHUNK, Compile, Kernel, ScratchSize, Workspace, kernel};

/// Pixels of one phase and the taps that reach them.
struct Phase {
    table: Table,
    /// Offset of each pixel in an image.
    offsets: Vec<u32>,
    taps: Vec<usize>,
    /// For each tap of the kernel, its entry in a row of the table.
    entries: Vec<usize>,
}

impl Phase {
    /// All that have pixels.
    fn all(g: &Geometry) -> Vec<Self> {
        let [rows, columns] = g.window.stride;
        let phases = (0..rows).flat_map(|y| (0..columns).map(move |x| Self::new(g, [y, x])));
        phases.filter(|phase| !phase.offsets.is_empty()).collect()
    }

    fn new(g: &Geometry, phase: [usize; 2]) -> Self {
        let [kernel, stride, padding] = [g.window.kernel, g.window.stride, g.window.padding];
        let reaches = |axis: usize, k: usize| {
            (phase[axis] + padding[axis] + stride[axis] * kernel[axis] - k)
                .is_multiple_of(stride[axis])
        };
        let taps: Vec<usize> = (0..g.taps())
            .filter(|tap| reaches(0, tap / kernel[1]) && reaches(1, tap % kernel[1]))
            .collect();
        let mut entries = vec![0; g.taps()];
        for (entry, &tap) in taps.iter().enumerate() {
            entries[tap] = entry;
        }
        let axis = |axis: usize| (phase[axis]..g.image[axis]).step_by(stride[axis]);
        let pixels: Vec<[usize; 2]> = axis(0).flat_map(|y| axis(1).map(move |x| [y, x])).collect();
        let window = |axis: usize, at: usize, k: usize| {
            let window = (at + padding[axis]).checked_sub(k)? / stride[axis];
            (window < g.result[axis]).then_some(window)
        };
        let entry = |[y, x]: [usize; 2], tap: usize| {
            let y = window(0, y, tap / kernel[1])?;
            let x = window(1, x, tap % kernel[1])?;
            Some((y * g.result[1] + x) * g.outputs())
        };
        let table = Table::from_entries(
            pixels.iter().flat_map(|&pixel| taps.iter().map(move |&tap| entry(pixel, tap))),
        );
        let offsets =
            pixels.iter().map(|&[y, x]| ((y * g.image[1] + x) * g.channels()) as u32).collect();
        Self { table, offsets, taps, entries }
    }

    fn bytes(&self) -> usize {
        let words = self.taps.len() + self.entries.len();
        self.table.bytes() + self.offsets.len() * size_of::<u32>() + words * size_of::<usize>()
    }
}

kernel! {
    InputGrad of Conv2dInputGrad { dy: Input<f32>, weight: Input<f32>, dx: Output<f32> }
    with |op, bind| {
        geometry: Geometry = Geometry::new(bind.tensors(), op.dx, op.dy, op.window, op.groups),
        phases: Vec<Phase> = Phase::all(&geometry),
    }
}

impl Compile for Conv2dInputGrad {
    fn kernel(&self, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
        let g = Geometry::new(bind.tensors(), self.dx, self.dy, self.window, self.groups);
        if winograd::is_profitable(&g) {
            Box::new(winograd::Convolution::input_grad(self, &g, bind))
        } else {
            Box::new(InputGrad::new(self, None, bind))
        }
    }

    fn table_bytes(&self, tensors: &Tensors) -> usize {
        table_bytes(&Geometry::new(tensors, self.dx, self.dy, self.window, self.groups))
    }
}

impl Kernel for InputGrad {
    fn scratch_size(&self) -> ScratchSize {
        let g = &self.geometry;
        ScratchSize {
            shared: g.groups * product::packed_len(g.taps() * g.output, g.input),
            per_thread: g.output,
            tables: self.phases.iter().map(Phase::bytes).sum(),
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let Self { dy, weight, dx, geometry: g, phases } = self;
        let (dy, weight, dx) = (dy.get(), weight.get(), dx.get());
        let depth = g.taps() * g.output;
        let packed_len = product::packed_len(depth, g.input);
        if dx.is_empty() || packed_len == 0 || g.windows() == 0 {
            return dx.fill(0.0);
        }
        let packed = &mut work.shared[..g.groups * packed_len];
        for (weight, packed) in
            weight.chunks_exact(g.output * g.depth()).zip(packed.chunks_exact_mut(packed_len))
        {
            // Row (tap, o) of B is the tap's input channels in filter o.
            let row = |k: usize| k % g.output * g.depth() + k / g.output * g.input;
            product::pack(weight, row, 1, depth, g.input, packed);
        }
        let packed = &*packed;
        let images = g.images_per_chunk();
        let dy_len = g.windows() * g.outputs();
        let dx_len = g.pixels() * g.channels();
        let dy = dy.par_chunks(images * dy_len);
        let buffers = work.buffers;
        dx.par_chunks_mut(images * dx_len).zip(dy).for_each(|(dx, dy)| {
            buffers.with(|slot| {
                let zeros = &mut slot[..g.output];
                zeros.fill(0.0);
                for (group, packed) in packed.chunks_exact(packed_len).enumerate() {
                    for phase in phases.iter() {
                        let rows = Windows {
                            images: &dy[group * g.output..],
                            image_len: dy_len,
                            table: &phase.table,
                            windows: phase.offsets.len(),
                            taps: phase.taps.len(),
                            entry: &phase.entries,
                            zeros,
                            depth: g.output,
                            target: Target::Table {
                                offsets: &phase.offsets,
                                image_len: dx_len,
                                first: group * g.input,
                            },
                        };
                        let job = Gather {
                            rows: dx.len() / dx_len * phase.offsets.len(),
                            segments: &phase.taps,
                            depth: g.output,
                            packed,
                            packed_depth: depth,
                            columns: g.input,
                            bias: None,
                        };
                        product::gather_product(&rows, job, dx);
                    }
                }
            });
        });
    }
}

kernel! {
    WeightGrad of Conv2dWeightGrad {
        x: Input<f32>,
        dy: Input<f32>,
        dweight: Output<f32>,
        dbias: Option<Output<f32>>,
    }
    with |op, bind| {
        geometry: Geometry = Geometry::new(bind.tensors(), op.x, op.dy, op.window, op.groups),
        windows: Windowing = Windowing::new(&geometry),
    }
}

impl Compile for Conv2dWeightGrad {
    fn kernel(&self, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
        let g = Geometry::new(bind.tensors(), self.x, self.dy, self.window, self.groups);
        if winograd::is_profitable(&g) {
            Box::new(winograd::WeightGrad::new(self, &g, bind))
        } else {
            Box::new(WeightGrad::new(self, None, bind))
        }
    }

    fn table_bytes(&self, tensors: &Tensors) -> usize {
        table_bytes(&Geometry::new(tensors, self.x, self.dy, self.window, self.groups))
    }
}

/// How the weight gradient finds windows.
enum Windowing {
    /// Directly from the images.
    Direct(PixelPairs),
    /// By copying a tile of them, whose rows meet those of dy in pairs.
    Columns(Table, Vec<RowPair>),
}

impl Windowing {
    fn new(g: &Geometry) -> Self {
        if g.direct() {
            return Self::Direct(PixelPairs::new(g));
        }
        let (outputs, depth) = (g.outputs(), g.depth());
        let pair = |r| [(r * outputs) as u32, (r * depth) as u32];
        Self::Columns(Table::new(g), (0..g.tile()).map(pair).collect())
    }
}

/// How the weight gradient is divided.
struct Plan {
    /// Images in a part.
    images: usize,
    /// Parts, each with a sum of its own.
    parts: usize,
    /// Output channels in a chunk of a part.
    outputs: usize,
    /// Numbers in a part's sum: weight and bias.
    len: usize,
}

impl Plan {
    fn new(g: &Geometry) -> Self {
        const CHUNKS: usize = 16;
        let weights = g.outputs() * g.depth();
        let wanted = (g.work() * g.batch).div_ceil(1 << 21).clamp(1, CHUNKS);
        // Adding parts costs their length: many for small weights, few for large ones.
        let parts = wanted.min((1usize << 19).div_ceil(weights.max(1)));
        let images = g.batch.div_ceil(parts).max(1);
        let parts = g.batch.div_ceil(images).max(1);
        let outputs = g.outputs().div_ceil(wanted.div_ceil(parts)).next_multiple_of(8);
        Self { images, parts, outputs, len: weights + g.outputs() }
    }
}

impl Kernel for WeightGrad {
    fn scratch_size(&self) -> ScratchSize {
        let g = &self.geometry;
        let plan = Plan::new(&self.geometry);
        ScratchSize {
            shared: plan.parts * plan.len,
            per_thread: if g.direct() { 0 } else { columns_len(g) },
            tables: match &self.windows {
                Windowing::Direct(pairs) => pairs.bytes(),
                Windowing::Columns(table, pairs) => table.bytes() + size_of_val(&**pairs),
            },
        }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let plan = Plan::new(&self.geometry);
        let Self { x, dy, dweight, dbias, geometry: g, windows } = self;
        let windows = &*windows;
        let (x, dy, dweight) = (x.get(), dy.get(), dweight.get());
        let with_bias = dbias.is_some();
        let buffers = work.buffers;
        let sums = &mut work.shared[..plan.parts * plan.len];
        sums.par_chunks_mut(plan.len).enumerate().for_each(|(part, sums)| {
            let first = part * plan.images;
            let images = plan.images.min(g.batch - first);
            let x_len = g.pixels() * g.channels();
            let dy_len = g.windows() * g.outputs();
            let x = &x[first * x_len..][..images * x_len];
            let dy = &dy[first * dy_len..][..images * dy_len];
            let (weights, bias) = sums.split_at_mut(g.outputs() * g.depth());
            weights.par_chunks_mut(plan.outputs * g.depth()).enumerate().for_each(
                |(chunk, weights)| {
                    weights.fill(0.0);
                    let first = chunk * plan.outputs;
                    match windows {
                        Windowing::Direct(pairs) => direct(g, pairs, x, dy, first, weights),
                        Windowing::Columns(table, pairs) => buffers.with(|slot| {
                            by_columns(g, table, pairs, x, dy, first, slot, weights);
                        }),
                    }
                },
            );
            bias.fill(0.0);
            if with_bias {
                sum_rows(dy, bias);
            }
        });
        let sums = &*sums;
        add_parts(sums, plan.len, 0, dweight);
        if let Some(dbias) = dbias {
            add_parts(sums, plan.len, g.outputs() * g.depth(), dbias.get());
        }
    }
}

/// Adds up a stretch of every part, in the order of the parts.
fn add_parts(sums: &[f32], len: usize, from: usize, to: &mut [f32]) {
    to.par_chunks_mut(CHUNK / 4).enumerate().for_each(|(chunk, to)| {
        let at = from + chunk * (CHUNK / 4);
        to.copy_from_slice(&sums[at..][..to.len()]);
        for part in sums.chunks_exact(len).skip(1) {
            add(&part[at..][..to.len()], to);
        }
    });
}

/// The parts of output channels `first..` in one group: (group, first channel, end).
fn by_group(
    g: &Geometry,
    first: usize,
    count: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let (output, end) = (g.output, first + count);
    (first / output..end.div_ceil(output))
        .map(move |group| (group, first.max(group * output), end.min((group + 1) * output)))
}

/// Pairs of output pixels and the input pixels that each tap sees, in chunks that stay in the first level
/// of the cache. A chunk is some rows of an image, or several small images.
struct PixelPairs {
    pairs: Vec<RowPair>,
    /// For each chunk and tap, where its pairs begin and end.
    ranges: Vec<[u32; 2]>,
    /// Pieces of an image; 1 where a chunk is several images.
    chunks: usize,
    /// Images of a chunk.
    images: usize,
}

impl PixelPairs {
    fn new(g: &Geometry) -> Self {
        const PIXELS: usize = 112;
        let [kernel, stride, padding] = [g.window.kernel, g.window.stride, g.window.padding];
        let images = (PIXELS / g.windows().max(1)).clamp(1, g.batch.max(1));
        let rows = if images > 1 { g.result[0] } else { (PIXELS / g.result[1].max(1)).max(1) };
        let chunks = g.result[0].div_ceil(rows.max(1));
        let (mut pairs, mut ranges) = (Vec::new(), Vec::new());
        for chunk in 0..chunks {
            for tap in 0..g.taps() {
                let first = pairs.len() as u32;
                for image in 0..images {
                    for oy in chunk * rows..((chunk + 1) * rows).min(g.result[0]) {
                        for ox in 0..g.result[1] {
                            let y = oy * stride[0] + tap / kernel[1];
                            let x = ox * stride[1] + tap % kernel[1];
                            let (y, x) = (y.wrapping_sub(padding[0]), x.wrapping_sub(padding[1]));
                            if y >= g.image[0] || x >= g.image[1] {
                                continue;
                            }
                            let from = (image * g.result[0] + oy) * g.result[1] + ox;
                            let to = (image * g.image[0] + y) * g.image[1] + x;
                            pairs.push([(from * g.outputs()) as u32, (to * g.channels()) as u32]);
                        }
                    }
                }
                ranges.push([first, pairs.len() as u32]);
            }
        }
        Self { pairs, ranges, chunks, images }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.pairs) + size_of_val(&*self.ranges)
    }

    /// The pairs of a chunk and a tap, of the first `images` images.
    fn of(&self, chunk: usize, tap: usize, taps: usize, images: usize) -> RowPairs<'_> {
        let [start, end] = self.ranges[chunk * taps + tap];
        let pairs = &self.pairs[start as usize..end as usize];
        RowPairs::new(&pairs[..pairs.len() / self.images * images])
    }
}

/// Adds the weight gradient of output channels `first..`, reading the images directly.
fn direct(
    g: &Geometry,
    table: &PixelPairs,
    x: &[f32],
    dy: &[f32],
    first: usize,
    weights: &mut [f32],
) {
    let (depth, taps) = (g.depth(), g.taps());
    let x_len = table.images * g.pixels() * g.channels();
    let dy_len = table.images * g.windows() * g.outputs();
    for (x, dy) in x.chunks(x_len).zip(dy.chunks(dy_len)) {
        let images = dy.len() / (dy_len / table.images);
        for chunk in 0..table.chunks {
            for (group, from, to) in by_group(g, first, weights.len() / depth) {
                let weights = &mut weights[(from - first) * depth..(to - first) * depth];
                let (x, dy) = (&x[group * g.input..], &dy[from..]);
                let columns = [to - from, g.input];
                for tap in 0..taps {
                    let pairs = table.of(chunk, tap, taps, images);
                    let to = &mut weights[tap * g.input..];
                    product::transposed_product(pairs, dy, x, columns, false, to, depth);
                }
            }
        }
    }
}

/// Adds the weight gradient of output channels `first..`, with windows copied into rows.
#[allow(clippy::too_many_arguments, reason = "a part of `run`")]
fn by_columns(
    g: &Geometry,
    table: &Table,
    pairs: &[RowPair],
    x: &[f32],
    dy: &[f32],
    first: usize,
    slot: &mut [f32],
    weights: &mut [f32],
) {
    let (depth, outputs) = (g.depth(), g.outputs());
    let tile = g.tile();
    for (group, from, to) in by_group(g, first, weights.len() / depth) {
        let weights = &mut weights[(from - first) * depth..(to - first) * depth];
        for (index, dy) in dy.chunks(tile * outputs).enumerate() {
            let rows = dy.len() / outputs;
            table.columns(g, x, group, index * tile, rows, slot);
            let (pairs, size) = (RowPairs::new(&pairs[..rows]), [to - from, depth]);
            product::transposed_product(pairs, &dy[from..], slot, size, false, weights, depth);
        }
    }
}
