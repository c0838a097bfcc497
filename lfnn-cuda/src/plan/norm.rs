//! Batch normalisation: sums of chunks of rows, what follows from them, and a pass over all rows.

use lfnn_core::program::fusion::{Epilogue, FusedNormGrad, Upstream};
use lfnn_core::program::{
    AdaptiveAvgPoolGrad, BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, Conv2d,
    TensorId, Window,
};

use super::channels::ChannelLaunch;
use super::conv::{Moments, forward_with_moments};
use super::divide::Divide;
use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::pool::share;
use super::shared::{Act, Input, Output, shared_with_kernels};
use super::types::{Address, KernelFile};

const NORM: KernelFile = KernelFile("norm");

shared_with_kernels! {
    structures {
        /// The statistics of x, and how they are computed.
        struct Statistics {
            x: Input<Act>,
            /// Sums of the chunks: `[2, chunks, channels]`.
            sums: Output<f32>,
            mean: Output<f32>,
            inv_std: Output<f32>,
            running_mean: Output<f32>,
            running_var: Output<f32>,
            momentum: f32,
            epsilon: f32,
            rows: u32,
            chunks: u32,
            /// Rows of a chunk; of the last one perhaps fewer.
            chunk: u32,
        }
        /// The normalisation itself.
        struct Apply {
            x: Input<Act>,
            /// Null where a pooling alone reads it.
            y: Output<Act>,
            gamma: Input<f32>,
            beta: Input<f32>,
            mean: Input<f32>,
            /// 1 / standard deviation, or the variance.
            scale: Input<f32>,
            epsilon: f32,
            is_variance: u32,
            /// Whether a ReLU follows.
            relu: u32,
        }
        /// Pooling windows side by side.
        struct Windows {
            out_height: u32,
            out_width: u32,
            /// By the extents of the image.
            by_height: Divide,
            by_width: Divide,
            /// By those of a window.
            by_window_height: Divide,
            by_window_width: Divide,
            /// By those of the image in cells.
            by_cell_rows: Divide,
            by_cell_columns: Divide,
        }
        /// The backward and the forward-mode rule, which are one linear map.
        struct Backward {
            x: Input<Act>,
            /// The gradient of the output, or the tangent of the input; null is 0.
            dy: Input<Act>,
            /// The output of a ReLU after the normalisation, through which `dy` has to pass first; or null.
            activated: Input<Act>,
            mean: Input<f32>,
            inv_std: Input<f32>,
            gamma: Input<f32>,
            /// Sums of the chunks: `[2, chunks, channels]`.
            sums: Output<f32>,
            /// The sums of dy and of dy times the normalised input: `[2, channels]`.
            totals: Output<f32>,
            /// Where they are needed, too.
            dbeta: Output<f32>,
            dgamma: Output<f32>,
            /// The gradient of the input, or the tangent of the output.
            dx: Output<Act>,
            /// Tangents of gamma and beta; null is 0.
            gamma_tangent: Input<f32>,
            beta_tangent: Input<f32>,
            /// Positions of maxima, where `dy` is the gradient of their pooling; or null.
            position: Input<u8>,
            /// β, where the sign of the ReLU's output is found by normalising again; or null.
            beta: Input<f32>,
            chunks: u32,
            /// What each pixel counts, where `dy` is the gradient of the windows' means; or 0.
            share: f32,
            /// Of x.
            rows: u32,
            /// Before the windows, so that they are loaded by pairs of words.
            unused: u32,
            windows: Windows,
        }
    }
}

impl Windows {
    /// The windows of an image and its pooled result, and how many cells there are: windows, and what is left of the
    /// image beside them.
    fn of(to: &Lowering<'_>, image: TensorId, pooled: TensorId, window: Window) -> (Self, usize) {
        let ([batch, height, width, _], [_, out_height, out_width, _]) =
            (to.image(image), to.image(pooled));
        let [rows, columns] = window.kernel;
        let cells = [height.div_ceil(rows), width.div_ceil(columns)];
        let windows = Self {
            out_height: out_height as u32,
            out_width: out_width as u32,
            by_height: Divide::by(height),
            by_width: Divide::by(width),
            by_window_height: Divide::by(rows),
            by_window_width: Divide::by(columns),
            by_cell_rows: Divide::by(cells[0]),
            by_cell_columns: Divide::by(cells[1]),
        };
        (windows, batch * cells[0] * cells[1])
    }
}

/// Training. `conv` computes the input, and then its moments too; `epilogue` takes its output.
pub(super) fn train(
    op: &BatchNorm,
    conv: Option<&Conv2d>,
    epilogue: Option<&Epilogue<'_>>,
    to: &mut Lowering<'_>,
) {
    let grid = ChannelLaunch::of(op.x, to);
    let (x, moments) = match conv {
        Some(conv) => {
            let x = to.write(op.x);
            (x, forward_with_moments(conv, x, to))
        }
        None => (to.read(op.x), None),
    };
    match moments {
        Some(moments) => statistics_of_moments(op, x, moments, to),
        None => statistics(op, x, grid, to),
    }
    let vectors = [op.gamma, op.beta, op.mean, op.inv_std];
    normalize(to, grid, (x, op.y), vectors, None, epilogue);
}

impl Lower for BatchNorm {
    fn lower(&self, to: &mut Lowering<'_>) {
        train(self, None, None, to);
    }
}

/// The statistics of x, by a pass over it.
fn statistics(op: &BatchNorm, x: Address, grid: ChannelLaunch, to: &mut Lowering<'_>) {
    let channels = to.tensors().channels(op.x);
    let address = to.scratch(2 * grid.chunks() * channels * size_of::<f32>());
    // The kernel knows the rows of its chunks from the grid.
    let chunks = Moments { address, chunks: grid.chunks(), chunk: 0 };
    let statistics = Statistics::new(op, x, chunks, to);
    grid.launch(NORM, "norm_statistics", arguments![&statistics], to);
    if grid.chunks() > 1 {
        grid.of_chunks().launch(NORM, "norm_reduce_statistics", arguments![&statistics], to);
    }
}

/// The statistics of x, from moments of its chunks.
fn statistics_of_moments(op: &BatchNorm, x: Address, moments: Moments, to: &mut Lowering<'_>) {
    let moments = fewer_moments(op, x, moments, to);
    let grid = ChannelLaunch::of_sums(moments.chunks, to.tensors().channels(op.x));
    let statistics = Statistics::new(op, x, moments, to);
    grid.launch(NORM, "norm_reduce_moments", arguments![&statistics], to);
}

/// Moments of fewer chunks, where there are more than a block should go through: with 8192 of 64 channels one took 194
/// µs on an H200, longer than the pass that normalises.
fn fewer_moments(op: &BatchNorm, x: Address, moments: Moments, to: &mut Lowering<'_>) -> Moments {
    /// Blocks, at most.
    const BLOCKS: usize = 128;
    /// Chunks that a thread goes through before there are more blocks.
    const EACH: usize = 16;
    let channels = to.tensors().channels(op.x);
    let grid = ChannelLaunch::of_sums(moments.chunks, channels).cut(BLOCKS, EACH);
    // A second launch takes as long as a few chunks more.
    if grid.chunks() <= 2 {
        return moments;
    }
    let address = to.scratch(2 * grid.chunks() * channels * size_of::<f32>());
    let statistics = Statistics::new(op, x, moments, to);
    grid.launch(NORM, "norm_merge_moments", arguments![&statistics, address], to);
    Moments { address, chunks: grid.chunks(), chunk: moments.chunk * grid.chunk() }
}

impl Statistics {
    /// The statistics of x, from what its chunks have left.
    fn new(op: &BatchNorm, x: Address, left: Moments, to: &Lowering<'_>) -> Self {
        Self {
            x: x.into(),
            sums: left.address.into(),
            mean: to.address(op.mean).into(),
            inv_std: to.address(op.inv_std).into(),
            running_mean: to.address(op.running_mean).into(),
            running_var: to.address(op.running_var).into(),
            momentum: op.momentum as f32,
            epsilon: op.epsilon as f32,
            rows: to.tensors().rows(op.x) as u32,
            chunks: left.chunks as u32,
            chunk: left.chunk as u32,
        }
    }
}

/// Prediction; `epilogue` as in [`train`].
pub(super) fn inference(
    op: &BatchNormInference,
    epilogue: Option<&Epilogue<'_>>,
    to: &mut Lowering<'_>,
) {
    let (grid, x) = (ChannelLaunch::of(op.x, to), to.read(op.x));
    let vectors = [op.gamma, op.beta, op.running_mean, op.running_var];
    normalize(to, grid, (x, op.y), vectors, Some(op.epsilon as f32), epilogue);
}

impl Lower for BatchNormInference {
    fn lower(&self, to: &mut Lowering<'_>) {
        inference(self, None, to);
    }
}

/// The pass over all rows from x to y, given γ, β, the means and the scales: standard deviations, inverse, or with an ε
/// variances.
fn normalize(
    to: &mut Lowering<'_>,
    grid: ChannelLaunch,
    (x, y): (Address, TensorId),
    vectors: [TensorId; 4],
    epsilon: Option<f32>,
    epilogue: Option<&Epilogue<'_>>,
) {
    let stored = epilogue.is_none_or(|epilogue| epilogue.stored);
    let y = epilogue.map_or(y, |epilogue| epilogue.relu.y);
    let whole = stored.then(|| to.write(y));
    let [gamma, beta, mean, scale] = vectors.map(|id| to.address(id).into());
    let apply = Apply {
        x: x.into(),
        y: whole.into(),
        gamma,
        beta,
        mean,
        scale,
        epsilon: epsilon.unwrap_or(0.0),
        is_variance: epsilon.is_some().into(),
        relu: epilogue.is_some().into(),
    };
    let Some(pool) = epilogue.and_then(|epilogue| epilogue.max_pool) else {
        return grid.launch(NORM, "norm_apply", arguments![&apply], to);
    };
    let (windows, cells) = Windows::of(to, y, pool.y, pool.window);
    let grid = ChannelLaunch::chunks_of(CELLS, cells, to.tensors().channels(y), to.act());
    let arguments = arguments![&apply, to.write(pool.y), to.optional(pool.position), &windows];
    grid.launch(NORM, "norm_apply_pool", arguments, to);
}

/// Cells that a thread goes through before there are more blocks: each has the pixels of a window.
const CELLS: usize = 4;

/// The kernels that sum over the rows, and that give the result: from row to row, or from cell to cell.
const BY_ROWS: [&str; 2] = ["norm_backward_sums", "norm_backward"];
const BY_CELLS: [&str; 2] = ["norm_backward_sums_pool", "norm_backward_pool"];

/// What the backward and the forward-mode rule have in common.
struct Rule<'p> {
    x: TensorId,
    mean: TensorId,
    inv_std: TensorId,
    gamma: TensorId,
    /// The gradient of the output, or the tangent of the input.
    given: Option<TensorId>,
    /// The backward rules that come first.
    fused: Option<&'p FusedNormGrad<'p>>,
    /// The gradient of the input, or the tangent of the output.
    result: Option<TensorId>,
    dgamma: Option<TensorId>,
    dbeta: Option<TensorId>,
    gamma_tangent: Option<TensorId>,
    beta_tangent: Option<TensorId>,
}

impl Rule<'_> {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (rows, channels) = (to.tensors().rows(self.x), to.tensors().channels(self.x));
        let mut backward = Backward::default();
        let (mut grid, mut given) = (ChannelLaunch::of(self.x, to), self.given);
        let [mut sums_kernel, mut kernel] = BY_ROWS;
        match self.fused.and_then(|fused| fused.upstream) {
            Some(Upstream::MaxPool(op)) => {
                let (windows, cells) = Windows::of(to, self.x, op.dy, op.window);
                grid = ChannelLaunch::chunks_of(CELLS, cells, channels, to.act());
                [sums_kernel, kernel] = BY_CELLS;
                given = Some(op.dy);
                (backward.windows, backward.position) = (windows, to.address(op.position).into());
            }
            Some(Upstream::AdaptiveAvgPool(op)) => {
                let bins = bins(op, to);
                given = Some(op.dy);
                (backward.windows, _) = Windows::of(to, self.x, op.dy, bins);
                backward.share = share(bins);
            }
            _ => {}
        }
        // The sign of a ReLU's output is read, or found with β.
        let beta = self.fused.and_then(|fused| fused.beta);
        let activated = self.fused.filter(|_| beta.is_none()).map(|fused| fused.relu.y);
        backward.x = to.read(self.x).into();
        backward.dy = given.map(|id| to.read(id)).into();
        backward.activated = activated.map(|id| to.read(id)).into();
        backward.dx = self.result.map(|id| to.write(id)).into();
        backward.sums = to.scratch(2 * grid.chunks() * channels * size_of::<f32>()).into();
        backward.totals = to.scratch(2 * channels * size_of::<f32>()).into();
        backward.mean = to.address(self.mean).into();
        backward.inv_std = to.address(self.inv_std).into();
        backward.gamma = to.address(self.gamma).into();
        backward.beta = to.optional(beta).into();
        backward.dgamma = to.optional(self.dgamma).into();
        backward.dbeta = to.optional(self.dbeta).into();
        backward.gamma_tangent = to.optional(self.gamma_tangent).into();
        backward.beta_tangent = to.optional(self.beta_tangent).into();
        (backward.chunks, backward.rows) = (grid.chunks() as u32, rows as u32);
        if given.is_some() {
            grid.launch(NORM, sums_kernel, arguments![&backward], to);
            if grid.chunks() > 1 {
                grid.of_chunks().launch(NORM, "norm_reduce_sums", arguments![&backward], to);
            }
        }
        if self.result.is_some() {
            grid.launch(NORM, kernel, arguments![&backward], to);
        }
    }
}

/// The backward rule, with those that come first.
pub(super) fn grad(op: &BatchNormGrad, fused: Option<&FusedNormGrad<'_>>, to: &mut Lowering<'_>) {
    let rule = Rule {
        x: op.x,
        mean: op.mean,
        inv_std: op.inv_std,
        gamma: op.gamma,
        given: Some(fused.map_or(op.dy, |fused| fused.relu.dy)),
        fused,
        result: op.dx,
        dgamma: op.dgamma,
        dbeta: op.dbeta,
        gamma_tangent: None,
        beta_tangent: None,
    };
    rule.lower(to);
}

impl Lower for BatchNormGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        grad(self, None, to);
    }
}

/// The bins of a pooling that cuts an image evenly, as windows.
fn bins(op: &AdaptiveAvgPoolGrad, to: &Lowering<'_>) -> Window {
    let [[_, height, width, _], [_, rows, columns, _]] = [op.dx, op.dy].map(|id| to.image(id));
    let bin = [height / rows.max(1), width / columns.max(1)];
    Window { kernel: bin, stride: bin, padding: [0; 2] }
}

impl Lower for BatchNormTangent {
    fn lower(&self, to: &mut Lowering<'_>) {
        let rule = Rule {
            x: self.x,
            mean: self.mean,
            inv_std: self.inv_std,
            gamma: self.gamma,
            given: self.dx,
            fused: None,
            result: Some(self.dy),
            dgamma: None,
            dbeta: None,
            gamma_tangent: self.dgamma,
            beta_tangent: self.dbeta,
        };
        rule.lower(to);
    }
}
