//! Convolutions and their gradients as implicit products.
//!
//! Fully connected layers that the vendor's library would do badly come here too: as convolutions of images
//! of one pixel.

use bytemuck::{Pod, Zeroable};
use lfnn_core::backend::Precision;
use lfnn_core::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, TensorId, Window};

use super::columns::Columns;
use super::launch::arguments;
use super::lower::{Lowering, optional};
use super::product::{Cut, Divide, Engine, Extents, FORWARD, INPUT_GRAD, Loads, WEIGHT_GRAD};
use super::{Argument, Element, Family, Launch, Place};
use crate::kernels::{CONV, CONV_INPUT_GRAD, CONV_WEIGHT_GRAD, SHAPE};

/// `Geometry` of the kernels.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
struct Geometry {
    batch: u32,
    height: u32,
    width: u32,
    channels: u32,
    out_height: u32,
    out_width: u32,
    filters: u32,
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    groups: u32,
    rows: u32,
    columns: u32,
    inner: u32,
    row_tiles: u32,
    column_tiles: u32,
    splits: u32,
    steps: u32,
    part: u32,
    kept: u32,
    by_channels: Divide,
    by_filters: Divide,
    by_taps: Divide,
    by_fewer_taps: Divide,
    by_out_width: Divide,
    by_out_pixels: Divide,
}

/// The geometry of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    /// `[batch, height, width, channels]`.
    pub(super) image: [usize; 4],
    /// `[batch, height, width, filters]`.
    pub(super) result: [usize; 4],
    pub(super) window: Window,
    pub(super) groups: usize,
}

impl Convolution {
    /// Channels of a group.
    fn depth(&self) -> usize {
        self.image[3] / self.groups
    }

    /// Filters of a group.
    fn filters(&self) -> usize {
        self.result[3] / self.groups
    }

    /// Positions of the window.
    fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Pixels of all images.
    fn pixels(&self) -> usize {
        self.image[0] * self.image[1] * self.image[2]
    }

    /// Pixels of all results.
    fn out_pixels(&self) -> usize {
        self.result[0] * self.result[1] * self.result[2]
    }

    /// What all kernels are told; `part` is the distance between the sums of two parts.
    fn geometry(&self, of: Extents, cut: &Cut, part: usize) -> Geometry {
        let pair = |pair: [usize; 2]| pair.map(|x| x as u32);
        let [batch, height, width, channels] = self.image.map(|x| x as u32);
        let [_, out_height, out_width, filters] = self.result.map(|x| x as u32);
        Geometry {
            batch,
            height,
            width,
            channels,
            out_height,
            out_width,
            filters,
            kernel: pair(self.window.kernel),
            stride: pair(self.window.stride),
            padding: pair(self.window.padding),
            groups: self.groups as u32,
            rows: of.rows as u32,
            columns: of.columns as u32,
            inner: of.inner as u32,
            row_tiles: cut.row_tiles as u32,
            column_tiles: cut.column_tiles as u32,
            splits: cut.parts as u32,
            steps: cut.steps as u32,
            part: part as u32,
            kept: self.depth() as u32,
            by_channels: Divide::by(self.depth()),
            by_filters: Divide::by(self.filters()),
            by_taps: Divide::by(self.window.kernel[1]),
            by_fewer_taps: Divide::default(),
            by_out_width: Divide::by(self.result[2]),
            by_out_pixels: Divide::by(self.result[1] * self.result[2]),
        }
    }

    /// `y = conv(x, W) + b`.
    pub(super) fn forward(
        &self,
        factors: [TensorId; 2],
        bias: Option<TensorId>,
        y: TensorId,
        to: &mut Lowering<'_>,
    ) {
        let y = (y, to.write(y));
        self.forward_to(factors, bias, y, false, to);
    }

    /// `y = conv(x, W) + b`, y being at this place; with the moments of its channels if they are wanted and y has any elements.
    fn forward_to(
        &self,
        [x, weight]: [TensorId; 2],
        bias: Option<TensorId>,
        (y, whole): (TensorId, Place),
        with_moments: bool,
        to: &mut Lowering<'_>,
    ) -> Option<Moments> {
        if to.len(y) == 0 {
            return None;
        }
        let (mut x, mut weight) = (to.read(x), to.read(weight));
        let padded = self.padded(to);
        if let Some(padded) = padded {
            x = pad(x, self.pixels(), self.depth(), padded.depth(), to);
            weight = pad(weight, self.filters() * self.taps(), self.depth(), padded.depth(), to);
        }
        let seen = padded.unwrap_or(*self);
        let of = Extents {
            rows: self.out_pixels(),
            columns: self.filters(),
            inner: self.taps() * seen.depth(),
            copies: self.groups,
            results: to.len(y),
        };
        let loads = if in_packs(seen.depth(), to) { Loads::Both } else { Loads::Neither };
        let cut = Cut::choose(FORWARD, engine(to), loads, of, to.real());
        let geometry = Argument::of(&seen.geometry(of, &cut, of.results), Vec::new());
        let parts = parts(&cut, of.results, to);
        let channels = self.result[3];
        let rows = Columns::chunked(of.rows, channels, to.real());
        let moments = with_moments.then(|| {
            let (chunks, chunk) = match parts {
                None => (cut.row_tiles, cut.tile.rows),
                Some(_) => (rows.chunks(), rows.chunk()),
            };
            let place = to.scratch(2 * chunks * channels * size_of::<f32>());
            Moments { place, chunks, chunk }
        });
        let of_tiles = moments.filter(|_| parts.is_none()).map(|moments| moments.place);
        let arguments = arguments![x, weight, optional(bias), whole, parts, of_tiles, geometry];
        let shared = cut.tile.shared_with_rows([true, true], to.real());
        to.launch(launch(CONV, &cut, of.copies, shared, arguments, to));
        match (parts, moments) {
            (Some(parts), Some(Moments { place, .. })) => {
                let bias = optional(bias);
                let arguments = arguments![parts, bias, whole, place, cut.parts, rows.argument()];
                to.launch(rows.launch(CONV, "conv_sum_moments", to.real(), arguments));
            }
            (Some(parts), None) => {
                join(parts, bias, whole, of.results, channels, cut.parts, to);
            }
            (None, _) => {}
        }
        moments
    }

    /// `dx`, the gradient of the input.
    pub(super) fn input_grad(
        &self,
        [dy, weight]: [TensorId; 2],
        dx: TensorId,
        to: &mut Lowering<'_>,
    ) {
        let [_, height, width, _] = self.image;
        let [kernel, stride] = [self.window.kernel, self.window.stride];
        // The first phase has the most pixels, and some phase the most taps.
        let pixels = height.div_ceil(stride[0]) * width.div_ceil(stride[1]);
        let taps = kernel[0].div_ceil(stride[0]) * kernel[1].div_ceil(stride[1]);
        let phases = stride[0].min(height) * stride[1];
        let of = Extents {
            rows: self.image[0] * pixels,
            columns: self.depth(),
            inner: taps * self.filters(),
            copies: self.groups * phases,
            results: to.len(dx),
        };
        if of.results == 0 {
            return;
        }
        let packs = in_packs(self.depth(), to) && in_packs(self.filters(), to);
        let loads = if packs { Loads::Both } else { Loads::Neither };
        let cut = Cut::choose(INPUT_GRAD, engine(to), loads, of, to.real());
        let geometry = Geometry {
            by_taps: Divide::by(kernel[1].div_ceil(stride[1])),
            by_fewer_taps: Divide::by(kernel[1] / stride[1]),
            ..self.geometry(of, &cut, of.results)
        };
        let (dy, weight, whole) = (to.read(dy), to.read(weight), to.write(dx));
        let parts = parts(&cut, of.results, to);
        let geometry = Argument::of(&geometry, Vec::new());
        let arguments = arguments![dy, weight, whole, parts, geometry];
        let shared = cut.tile.shared_with_rows([true, false], to.real());
        to.launch(launch(CONV_INPUT_GRAD, &cut, of.copies, shared, arguments, to));
        if let Some(parts) = parts {
            join(parts, None, whole, of.results, self.image[3], cut.parts, to);
        }
    }

    /// `dW` and `db`, the gradients of weight and bias.
    pub(super) fn weight_grad(
        &self,
        [x, dy]: [TensorId; 2],
        dweight: TensorId,
        dbias: Option<TensorId>,
        to: &mut Lowering<'_>,
    ) {
        let weights = to.len(dweight);
        if weights == 0 {
            return;
        }
        let (mut x, dy) = (to.read(x), to.read(dy));
        let padded = self.padded(to).filter(|_| in_packs(self.filters(), to));
        if let Some(padded) = padded {
            x = pad(x, self.pixels(), self.depth(), padded.depth(), to);
        }
        let seen = padded.unwrap_or(*self);
        let of = Extents {
            rows: self.filters(),
            columns: self.taps() * seen.depth(),
            inner: self.out_pixels(),
            copies: self.groups,
            results: weights + dbias.map_or(0, |bias| to.len(bias)),
        };
        let packs = [in_packs(self.filters(), to), in_packs(seen.depth(), to)];
        let loads = match packs {
            [true, true] => Loads::Both,
            [true, false] => Loads::First,
            [false, _] => Loads::Neither,
        };
        let cut = Cut::choose(WEIGHT_GRAD, engine(to), loads, of, to.real());
        let kept = self.depth() as u32;
        let geometry = Geometry { kept, ..seen.geometry(of, &cut, of.results) };
        let geometry = Argument::of(&geometry, Vec::new());
        let parts = parts(&cut, of.results, to);
        // The bias' sums lie behind the weight's.
        let (weight_at, bias_at) = match parts {
            Some(parts) => (parts, dbias.map(|_| beyond(parts, weights))),
            None => (to.place(dweight), dbias.map(|bias| to.place(bias))),
        };
        let arguments = arguments![x, dy, weight_at, bias_at, geometry];
        let shared = cut.tile.shared_with_columns([false, false], to.real());
        to.launch(launch(CONV_WEIGHT_GRAD, &cut, of.copies, shared, arguments, to));
        if let Some(parts) = parts {
            let bias = optional(dbias);
            let arguments =
                arguments![parts, to.place(dweight), bias, of.results, weights, cut.parts];
            to.launch(CONV_WEIGHT_GRAD.over("weight_sum", to.real(), of.results, arguments));
        }
    }

    /// The same with zeros behind the channels, so that they fill whole loads. In half precision a copy with the zeros
    /// costs less than loads of single elements, which are too narrow to run beside the arithmetic, where the window
    /// sees each pixel several times and tensor cores multiply little for nothing. That is so for colours.
    fn padded(&self, to: &Lowering<'_>) -> Option<Self> {
        let depth = self.depth();
        let channels = depth.next_multiple_of(to.real().pack());
        let bytes = self.pixels() * channels * to.real().bytes();
        let narrow = to.real() != Element::F32 && channels > depth && channels <= 3 * depth;
        let worth = self.groups == 1 && self.taps() > 1 && bytes <= MOST_COPY_BYTES;
        let [batch, height, width, _] = self.image;
        (narrow && worth).then_some(Self { image: [batch, height, width, channels], ..*self })
    }
}

/// Bytes of a padded copy of an image, at most.
const MOST_COPY_BYTES: usize = 64 << 20;

/// Whether this many channels fill whole loads.
fn in_packs(channels: usize, to: &Lowering<'_>) -> bool {
    channels.is_multiple_of(to.real().pack())
}

/// A copy of these rows with zeros behind each.
fn pad(x: Place, rows: usize, channels: usize, padded: usize, to: &mut Lowering<'_>) -> Place {
    let packs = padded / to.real().pack();
    let copy = to.scratch(rows * padded * to.real().bytes());
    let arguments = arguments![x, copy, rows, channels, packs];
    to.launch(SHAPE.over("pad_channels", to.real(), rows * packs, arguments));
    copy
}

/// Tensor cores, if the plan's products may round their factors.
fn engine(to: &Lowering<'_>) -> Engine {
    if to.precision() == Precision::F32 { Engine::Scalar } else { Engine::Tensor }
}

/// Room for the sums of parts; none where the inner axis is whole.
fn parts(cut: &Cut, results: usize, to: &mut Lowering<'_>) -> Option<Place> {
    (cut.parts > 1).then(|| to.scratch(cut.parts * results * size_of::<f32>()))
}

/// The place this many singles further on.
fn beyond(place: Place, singles: usize) -> Place {
    place.beyond(singles * size_of::<f32>())
}

fn launch(
    family: Family,
    cut: &Cut,
    copies: usize,
    shared: u32,
    arguments: Vec<Argument>,
    to: &Lowering<'_>,
) -> Launch {
    let grid = [cut.blocks(copies) as u32, 1, 1];
    let block = [cut.tile.threads(), 1, 1];
    Launch { shared, ..family.launch(cut.tile.kernel, to.real(), grid, block, arguments) }
}

/// Joins the sums of parts into a tensor with this many columns.
fn join(
    sums: Place,
    bias: Option<TensorId>,
    whole: Place,
    results: usize,
    columns: usize,
    parts: usize,
    to: &mut Lowering<'_>,
) {
    let by_columns = Argument::of(&Divide::by(columns), Vec::new());
    let arguments = arguments![sums, optional(bias), whole, results, parts, by_columns];
    to.launch(CONV.over("conv_sum", to.real(), results, arguments));
}

pub(super) fn forward(op: &Conv2d, to: &mut Lowering<'_>) {
    of(op.x, op.y, op.window, op.groups, to).forward([op.x, op.weight], op.bias, op.y, to);
}

/// What a convolution tells of the channels of its result: the mean of each chunk of rows, `[chunks, channels]`, and
/// behind these the sums of squares of the differences from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) place: Place,
    pub(super) chunks: usize,
    /// Rows of a chunk; of the last one perhaps fewer.
    pub(super) chunk: usize,
}

/// As [`forward`], to a place, and with moments for a batch normalisation.
pub(super) fn forward_with_moments(
    op: &Conv2d,
    place: Place,
    to: &mut Lowering<'_>,
) -> Option<Moments> {
    let convolution = of(op.x, op.y, op.window, op.groups, to);
    convolution.forward_to([op.x, op.weight], op.bias, (op.y, place), true, to)
}

pub(super) fn input_grad(op: &Conv2dInputGrad, to: &mut Lowering<'_>) {
    of(op.dx, op.dy, op.window, op.groups, to).input_grad([op.dy, op.weight], op.dx, to);
}

pub(super) fn weight_grad(op: &Conv2dWeightGrad, to: &mut Lowering<'_>) {
    let convolution = of(op.x, op.dy, op.window, op.groups, to);
    convolution.weight_grad([op.x, op.dy], op.dweight, op.dbias, to);
}

fn of(x: TensorId, y: TensorId, window: Window, groups: usize, to: &Lowering<'_>) -> Convolution {
    Convolution { image: to.image(x), result: to.image(y), window, groups }
}
