//! Convolutions and their gradients as implicit products.
//!
//! Fully connected layers that the vendor's library would do badly come here too: as convolutions of images
//! of one pixel.

use lfnn_core::backend::Precision;
use lfnn_core::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, TensorId, Window};

use super::channels::ChannelLaunch;
use super::divide::Divide;
use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::product::{Cut, Engine, Extents, FORWARD, INPUT_GRAD, Loads, WEIGHT_GRAD};
use super::shared::shared_with_kernels;
use super::types::{Address, Argument, Element, KernelFile};

const CONV: KernelFile = KernelFile("conv");
const CONV_INPUT_GRAD: KernelFile = KernelFile("conv_input_grad");
const CONV_WEIGHT_GRAD: KernelFile = KernelFile("conv_weight_grad");
const SHAPE: KernelFile = KernelFile("shape");

shared_with_kernels! {
    structures {
        /// A convolution and how its product is cut. Channels and filters are those of all groups.
        struct Geometry {
            batch: u32,
            height: u32,
            width: u32,
            channels: u32,
            out_height: u32,
            out_width: u32,
            filters: u32,
            kernel_height: u32,
            kernel_width: u32,
            stride_height: u32,
            stride_width: u32,
            padding_height: u32,
            padding_width: u32,
            groups: u32,
            /// Rows of the product of one group; an input gradient has rows and inner axis by phase.
            rows: u32,
            columns: u32,
            inner: u32,
            row_tiles: u32,
            column_tiles: u32,
            /// Parts of the inner axis.
            splits: u32,
            /// Steps of a part.
            steps: u32,
            /// Elements from the sums of one part to those of the next.
            part: u32,
            /// Channels of a group in the weight: fewer than in the image where that was padded.
            kept: u32,
            /// By the channels of a group.
            by_channels: Divide,
            /// By the filters of a group.
            by_filters: Divide,
            /// By the window's width; for an input gradient by the most taps of a phase.
            by_taps: Divide,
            /// For an input gradient: by the fewest taps of a phase.
            by_fewer_taps: Divide,
            by_out_width: Divide,
            by_out_pixels: Divide,
        }
    }
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
        let [kernel_height, kernel_width] = pair(self.window.kernel);
        let [stride_height, stride_width] = pair(self.window.stride);
        let [padding_height, padding_width] = pair(self.window.padding);
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
            kernel_height,
            kernel_width,
            stride_height,
            stride_width,
            padding_height,
            padding_width,
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

    /// `y = conv(x, W) + b`, y being at this address; with the moments of its channels if they are wanted and y has any
    /// elements.
    fn forward_to(
        &self,
        [x, weight]: [TensorId; 2],
        bias: Option<TensorId>,
        (y, whole): (TensorId, Address),
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
        let cut = Cut::choose(FORWARD, engine(to), loads, of, to.act());
        let geometry = seen.geometry(of, &cut, of.results);
        let parts = parts(&cut, of.results, to);
        let channels = self.result[3];
        let grid = ChannelLaunch::chunked(of.rows, channels, to.act());
        let moments = with_moments.then(|| {
            let (chunks, chunk) = match parts {
                None => (cut.row_tiles, cut.tile.rows),
                Some(_) => (grid.chunks(), grid.chunk()),
            };
            let address = to.scratch(2 * chunks * channels * size_of::<f32>());
            Moments { address, chunks, chunk }
        });
        let of_tiles = moments.filter(|_| parts.is_none()).map(|moments| moments.address);
        let bias = to.optional(bias);
        let arguments = arguments![x, weight, bias, whole, parts, of_tiles, &geometry];
        let shared = cut.tile.shared_with_rows([true, true], to.act());
        launch(CONV, &cut, of.copies, shared, arguments, to);
        match (parts, moments) {
            (Some(parts), Some(Moments { address, .. })) => {
                let arguments = arguments![parts, bias, whole, address, cut.parts];
                grid.launch(CONV, "conv_sum_moments", arguments, to);
            }
            (Some(parts), None) => {
                sum_parts([parts, whole], bias, of.results, channels, cut.parts, to)
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
        let cut = Cut::choose(INPUT_GRAD, engine(to), loads, of, to.act());
        let geometry = Geometry {
            by_taps: Divide::by(kernel[1].div_ceil(stride[1])),
            by_fewer_taps: Divide::by(kernel[1] / stride[1]),
            ..self.geometry(of, &cut, of.results)
        };
        let (dy, weight, whole) = (to.read(dy), to.read(weight), to.write(dx));
        let parts = parts(&cut, of.results, to);
        let arguments = arguments![dy, weight, whole, parts, &geometry];
        let shared = cut.tile.shared_with_rows([true, false], to.act());
        launch(CONV_INPUT_GRAD, &cut, of.copies, shared, arguments, to);
        if let Some(parts) = parts {
            sum_parts([parts, whole], None, of.results, self.image[3], cut.parts, to);
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
        let cut = Cut::choose(WEIGHT_GRAD, engine(to), loads, of, to.act());
        let kept = self.depth() as u32;
        let geometry = Geometry { kept, ..seen.geometry(of, &cut, of.results) };
        let parts = parts(&cut, of.results, to);
        // The bias' sums follow the weight's.
        let (weight_at, bias_at) = match parts {
            Some(parts) => (parts, dbias.map(|_| parts.plus(weights * size_of::<f32>()))),
            None => (to.address(dweight), dbias.map(|bias| to.address(bias))),
        };
        let arguments = arguments![x, dy, weight_at, bias_at, &geometry];
        let shared = cut.tile.shared_with_columns([false, false], to.act());
        launch(CONV_WEIGHT_GRAD, &cut, of.copies, shared, arguments, to);
        if let Some(parts) = parts {
            let bias = to.optional(dbias);
            let arguments =
                arguments![parts, to.address(dweight), bias, of.results, weights, cut.parts];
            to.launch_1d(CONV_WEIGHT_GRAD, "weight_sum", of.results, arguments);
        }
    }

    /// The same with zeros after the channels, so that they fill whole loads. In half precision a copy with the zeros
    /// costs less than loads of single elements, which are too narrow to overlap with the arithmetic, where the window
    /// sees each pixel several times and tensor cores multiply little for nothing. That is so for colours.
    fn padded(&self, to: &Lowering<'_>) -> Option<Self> {
        let depth = self.depth();
        let channels = depth.next_multiple_of(to.act().pack());
        let bytes = self.pixels() * channels * to.act().bytes();
        let narrow = to.act() != Element::F32 && channels > depth && channels <= 3 * depth;
        let worth = self.groups == 1 && self.taps() > 1 && bytes <= MOST_COPY_BYTES;
        let [batch, height, width, _] = self.image;
        (narrow && worth).then_some(Self { image: [batch, height, width, channels], ..*self })
    }
}

/// Bytes of a padded copy of an image, at most.
const MOST_COPY_BYTES: usize = 64 << 20;

/// Whether this many channels fill whole loads.
fn in_packs(channels: usize, to: &Lowering<'_>) -> bool {
    channels.is_multiple_of(to.act().pack())
}

/// A copy of these rows with zeros after each.
fn pad(x: Address, rows: usize, channels: usize, padded: usize, to: &mut Lowering<'_>) -> Address {
    let packs = padded / to.act().pack();
    let copy = to.scratch(rows * padded * to.act().bytes());
    let arguments = arguments![x, copy, rows, channels, packs];
    to.launch_1d(SHAPE, "pad_channels", rows * packs, arguments);
    copy
}

/// Tensor cores, if the plan's products may round their factors.
fn engine(to: &Lowering<'_>) -> Engine {
    if to.precision() == Precision::F32 { Engine::Scalar } else { Engine::Tensor }
}

/// Room for the sums of parts; none where the inner axis is whole.
fn parts(cut: &Cut, results: usize, to: &mut Lowering<'_>) -> Option<Address> {
    (cut.parts > 1).then(|| to.scratch(cut.parts * results * size_of::<f32>()))
}

/// Appends the launch of a product.
fn launch(
    file: KernelFile,
    cut: &Cut,
    copies: usize,
    shared: u32,
    arguments: Vec<Argument>,
    to: &mut Lowering<'_>,
) {
    let (grid, block) = ([cut.blocks(copies) as u32, 1, 1], [cut.tile.threads(), 1, 1]);
    to.launch_shared(file, cut.tile.kernel, grid, block, shared, arguments);
}

/// Sums parts into a tensor with this many columns.
fn sum_parts(
    [parts, whole]: [Address; 2],
    bias: Option<Address>,
    results: usize,
    columns: usize,
    splits: usize,
    to: &mut Lowering<'_>,
) {
    let arguments = arguments![parts, bias, whole, results, splits, &Divide::by(columns)];
    to.launch_1d(CONV, "conv_sum", results, arguments);
}

impl Lower for Conv2d {
    fn lower(&self, to: &mut Lowering<'_>) {
        of(self.x, self.y, self.window, self.groups, to).forward(
            [self.x, self.weight],
            self.bias,
            self.y,
            to,
        );
    }
}

/// What a convolution tells of the channels of its result: the mean of each chunk of rows, `[chunks, channels]`, and
/// after these the sums of squares of the differences from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) address: Address,
    pub(super) chunks: usize,
    /// Rows of a chunk; of the last one perhaps fewer.
    pub(super) chunk: usize,
}

/// A convolution with the moments of its result, for a batch normalisation; `y` is the address of the result.
pub(super) fn forward_with_moments(
    op: &Conv2d,
    y: Address,
    to: &mut Lowering<'_>,
) -> Option<Moments> {
    let convolution = of(op.x, op.y, op.window, op.groups, to);
    convolution.forward_to([op.x, op.weight], op.bias, (op.y, y), true, to)
}

impl Lower for Conv2dInputGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        of(self.dx, self.dy, self.window, self.groups, to).input_grad(
            [self.dy, self.weight],
            self.dx,
            to,
        );
    }
}

impl Lower for Conv2dWeightGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let convolution = of(self.x, self.dy, self.window, self.groups, to);
        convolution.weight_grad([self.x, self.dy], self.dweight, self.dbias, to);
    }
}

fn of(x: TensorId, y: TensorId, window: Window, groups: usize, to: &Lowering<'_>) -> Convolution {
    Convolution { image: to.image(x), result: to.image(y), window, groups }
}
