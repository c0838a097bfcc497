//! Batch normalisation: sums of chunks of rows, what follows from them, and a pass over all rows.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{
    AdaptiveAvgPoolGrad, BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, Conv2d,
    TensorId, Window,
};

use super::columns::Columns;
use super::conv::{self, Moments};
use super::fuse_norm::{Epilogue, NormGrad, PoolGrad};
use super::launch::arguments;
use super::lower::{Lowering, optional};
use super::product::Divide;
use super::{Argument, Place, pool};
use crate::kernels::NORM;

/// The pointers of a structure by their position: those that are there.
fn pointers(places: &[Option<Place>]) -> Vec<(usize, Place)> {
    let present = places.iter().enumerate().filter_map(|(i, place)| Some((8 * i, (*place)?)));
    present.collect()
}

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Statistics {
    pointers: [u64; 6],
    momentum: f32,
    epsilon: f32,
    rows: u32,
    chunks: u32,
    chunk: u32,
    unused: u32,
}

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Apply {
    pointers: [u64; 6],
    epsilon: f32,
    is_variance: u32,
    relu: u32,
    unused: u32,
}

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Backward {
    pointers: [u64; 15],
    chunks: u32,
    share: f32,
    rows: u32,
    unused: u32,
    windows: Windows,
}

/// `Windows` of the kernels: pooling windows that lie side by side.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Windows {
    out_height: u32,
    out_width: u32,
    by_height: Divide,
    by_width: Divide,
    by_window_height: Divide,
    by_window_width: Divide,
    by_cell_rows: Divide,
    by_cell_columns: Divide,
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

/// How the rows of a tensor are cut.
fn columns(to: &Lowering<'_>, x: TensorId) -> Columns {
    Columns::chunked(to.tensors().rows(x), to.tensors().channels(x), to.real())
}

/// Training. `conv` makes the input, and then its moments too; `behind` takes its output.
pub(super) fn train(
    op: &BatchNorm,
    conv: Option<&Conv2d>,
    behind: Option<&Epilogue<'_>>,
    to: &mut Lowering<'_>,
) {
    let columns = columns(to, op.x);
    let (x, moments) = match conv {
        Some(conv) => {
            let x = to.write(op.x);
            (x, conv::forward_with_moments(conv, x, to))
        }
        None => (to.read(op.x), None),
    };
    match moments {
        Some(moments) => join(op, x, moments, to),
        None => statistics(op, x, columns, to),
    }
    let vectors = [op.gamma, op.beta, op.mean, op.inv_std];
    normalize(to, columns, (x, op.y), vectors, None, behind);
}

/// The statistics of x, by a pass over it.
fn statistics(op: &BatchNorm, x: Place, columns: Columns, to: &mut Lowering<'_>) {
    let channels = to.tensors().channels(op.x);
    let sums = to.scratch(2 * columns.chunks() * channels * size_of::<f32>());
    // The kernel knows the rows of its chunks from `columns`.
    let chunks = Moments { place: sums, chunks: columns.chunks(), chunk: 0 };
    let described = describe(op, x, chunks, to);
    let arguments = arguments![described.clone(), columns.argument()];
    to.launch(columns.launch(NORM, "norm_statistics", to.real(), arguments));
    if columns.chunks() > 1 {
        let last = columns.of_chunks();
        let arguments = arguments![described, last.argument()];
        to.launch(last.launch(NORM, "norm_join_statistics", to.real(), arguments));
    }
}

/// The statistics of x, from moments that are there.
fn join(op: &BatchNorm, x: Place, moments: Moments, to: &mut Lowering<'_>) {
    let moments = fold(op, x, moments, to);
    let columns = Columns::of_sums(moments.chunks, to.tensors().channels(op.x));
    let described = describe(op, x, moments, to);
    let arguments = arguments![described, columns.argument()];
    to.launch(columns.launch(NORM, "norm_join_moments", to.real(), arguments));
}

/// Moments of fewer chunks, where there are more than a block should go through: with 8192 of 64 channels one took 194 µs
/// on an H200, longer than the pass that normalises.
fn fold(op: &BatchNorm, x: Place, moments: Moments, to: &mut Lowering<'_>) -> Moments {
    /// Blocks, at most.
    const BLOCKS: usize = 128;
    /// Chunks that a thread goes through before there are more blocks.
    const EACH: usize = 16;
    let channels = to.tensors().channels(op.x);
    let columns = Columns::of_sums(moments.chunks, channels).cut(BLOCKS, EACH);
    // A second launch takes as long as a few chunks more.
    if columns.chunks() <= 2 {
        return moments;
    }
    let place = to.scratch(2 * columns.chunks() * channels * size_of::<f32>());
    let described = describe(op, x, moments, to);
    let arguments = arguments![described, place, columns.argument()];
    to.launch(columns.launch(NORM, "norm_fold_moments", to.real(), arguments));
    Moments { place, chunks: columns.chunks(), chunk: moments.chunk * columns.chunk() }
}

/// The structure of the kernels, with what the chunks left.
fn describe(op: &BatchNorm, x: Place, left: Moments, to: &Lowering<'_>) -> Argument {
    let statistics = Statistics {
        pointers: [0; 6],
        momentum: op.momentum as f32,
        epsilon: op.epsilon as f32,
        rows: to.tensors().rows(op.x) as u32,
        chunks: left.chunks as u32,
        chunk: left.chunk as u32,
        unused: 0,
    };
    let results = [op.mean, op.inv_std, op.running_mean, op.running_var].map(|id| to.place(id));
    let places: Vec<_> = [x, left.place].into_iter().chain(results).map(Some).collect();
    Argument::of(&statistics, pointers(&places))
}

/// Prediction; `behind` as in [`train`].
pub(super) fn inference(
    op: &BatchNormInference,
    behind: Option<&Epilogue<'_>>,
    to: &mut Lowering<'_>,
) {
    let (columns, x) = (columns(to, op.x), to.read(op.x));
    let vectors = [op.gamma, op.beta, op.running_mean, op.running_var];
    normalize(to, columns, (x, op.y), vectors, Some(op.epsilon as f32), behind);
}

/// The pass over all rows from x to y, given γ, β, the means and the scales: standard deviations, inverse, or with an ε
/// variances.
fn normalize(
    to: &mut Lowering<'_>,
    columns: Columns,
    (x, y): (Place, TensorId),
    vectors: [TensorId; 4],
    epsilon: Option<f32>,
    behind: Option<&Epilogue<'_>>,
) {
    let stored = behind.is_none_or(|behind| behind.stored);
    let y = behind.map_or(y, |behind| behind.relu.y);
    let whole = stored.then(|| to.write(y));
    let vectors = vectors.map(|id| Some(to.place(id)));
    let places = [[Some(x), whole].as_slice(), &vectors].concat();
    let apply = Apply {
        pointers: [0; 6],
        epsilon: epsilon.unwrap_or(0.0),
        is_variance: epsilon.is_some().into(),
        relu: behind.is_some().into(),
        unused: 0,
    };
    let apply = Argument::of(&apply, pointers(&places));
    let Some(pool) = behind.and_then(|behind| behind.pool) else {
        let arguments = arguments![apply, columns.argument()];
        return to.launch(columns.launch(NORM, "norm_apply", to.real(), arguments));
    };
    let (windows, cells) = Windows::of(to, y, pool.y, pool.window);
    let columns = Columns::chunks_of(CELLS, cells, to.tensors().channels(y), to.real());
    let windows = Argument::of(&windows, Vec::new());
    let pooled = to.write(pool.y);
    let arguments = arguments![apply, pooled, optional(pool.position), windows, columns.argument()];
    to.launch(columns.launch(NORM, "norm_apply_pool", to.real(), arguments));
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
    /// A pooling whose rule comes first, where the gradient is that of its result.
    pool: Option<PoolGrad<'p>>,
    /// The output of a ReLU whose rule comes next, or the normalisation's β, with which its sign is found.
    activated: Option<TensorId>,
    beta: Option<TensorId>,
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
        let windows = |pooled, window| Windows::of(to, self.x, pooled, window);
        let (columns, windows, share, [sums_kernel, kernel]) = match self.pool {
            None => (columns(to, self.x), Windows::default(), 0.0, BY_ROWS),
            Some(PoolGrad::Average(op)) => {
                let bins = bins(op, to);
                (columns(to, self.x), windows(op.dy, bins).0, pool::share(bins), BY_ROWS)
            }
            Some(PoolGrad::Max(op)) => {
                let (windows, cells) = windows(op.dy, op.window);
                let columns = Columns::chunks_of(CELLS, cells, channels, to.real());
                (columns, windows, 0.0, BY_CELLS)
            }
        };
        let x = to.read(self.x);
        let given = self.given.map(|id| to.read(id));
        let activated = self.activated.map(|id| to.read(id));
        let result = self.result.map(|id| to.write(id));
        let sums = to.scratch(2 * columns.chunks() * channels * size_of::<f32>());
        let totals = to.scratch(2 * channels * size_of::<f32>());
        let vector = |id: Option<TensorId>| id.map(|id| to.place(id));
        let places = [
            Some(x),
            given,
            activated,
            vector(Some(self.mean)),
            vector(Some(self.inv_std)),
            vector(Some(self.gamma)),
            Some(sums),
            Some(totals),
            vector(self.dbeta),
            vector(self.dgamma),
            result,
            vector(self.gamma_tangent),
            vector(self.beta_tangent),
            vector(self.pool.and_then(PoolGrad::position)),
            vector(self.beta),
        ];
        let backward = Backward {
            pointers: [0; 15],
            chunks: columns.chunks() as u32,
            share,
            rows: rows as u32,
            unused: 0,
            windows,
        };
        let backward = Argument::of(&backward, pointers(&places));
        if given.is_some() {
            let arguments = arguments![backward.clone(), columns.argument()];
            to.launch(columns.launch(NORM, sums_kernel, to.real(), arguments));
            if columns.chunks() > 1 {
                let last = columns.of_chunks();
                let arguments = arguments![backward.clone(), last.argument()];
                to.launch(last.launch(NORM, "norm_join_sums", to.real(), arguments));
            }
        }
        if result.is_some() {
            let arguments = arguments![backward, columns.argument()];
            to.launch(columns.launch(NORM, kernel, to.real(), arguments));
        }
    }
}

/// The backward rule, with those that come first.
pub(super) fn grad(op: &BatchNormGrad, with: Option<&NormGrad<'_>>, to: &mut Lowering<'_>) {
    let pool = with.and_then(|with| with.pool);
    let given = pool.map(PoolGrad::dy).or(with.map(|with| with.relu.dy)).unwrap_or(op.dy);
    let beta = with.and_then(|with| with.beta);
    let rule = Rule {
        x: op.x,
        mean: op.mean,
        inv_std: op.inv_std,
        gamma: op.gamma,
        given: Some(given),
        pool,
        activated: with.filter(|_| beta.is_none()).map(|with| with.relu.y),
        beta,
        result: op.dx,
        dgamma: op.dgamma,
        dbeta: op.dbeta,
        gamma_tangent: None,
        beta_tangent: None,
    };
    rule.lower(to);
}

/// The bins of a pooling that cuts an image evenly, as windows.
fn bins(op: &AdaptiveAvgPoolGrad, to: &Lowering<'_>) -> Window {
    let [[_, height, width, _], [_, rows, columns, _]] = [op.dx, op.dy].map(|id| to.image(id));
    let bin = [height / rows.max(1), width / columns.max(1)];
    Window { kernel: bin, stride: bin, padding: [0; 2] }
}

/// The forward-mode rule.
pub(super) fn tangent(op: &BatchNormTangent, to: &mut Lowering<'_>) {
    let rule = Rule {
        x: op.x,
        mean: op.mean,
        inv_std: op.inv_std,
        gamma: op.gamma,
        given: op.dx,
        pool: None,
        activated: None,
        beta: None,
        result: Some(op.dy),
        dgamma: None,
        dbeta: None,
        gamma_tangent: op.dgamma,
        beta_tangent: op.dbeta,
    };
    rule.lower(to);
}
