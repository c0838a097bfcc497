//! Batch normalisation: sums of chunks of rows, what follows from them, and a pass over all rows.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{
    BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, Conv2d, TensorId,
};

use super::columns::Columns;
use super::conv::{self, Moments};
use super::launch::arguments;
use super::lower::Lowering;
use super::{Argument, Place};
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
    pointers: [u64; 13],
    chunks: u32,
    unused: u32,
}

/// How the rows of a tensor are cut.
fn columns(to: &Lowering<'_>, x: TensorId) -> Columns {
    Columns::chunked(to.tensors().rows(x), to.tensors().channels(x), to.real())
}

/// Training. `conv` makes the input, and then its moments too; `relu` is the output of a ReLU, which takes the place of
/// the normalisation's.
pub(super) fn train(
    op: &BatchNorm,
    conv: Option<&Conv2d>,
    relu: Option<TensorId>,
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
    let y = to.write(relu.unwrap_or(op.y));
    statistics(op, x, columns, moments, to);
    let apply = Apply {
        pointers: [0; 6],
        epsilon: 0.0,
        is_variance: 0,
        relu: relu.is_some().into(),
        unused: 0,
    };
    let vectors = [op.gamma, op.beta, op.mean, op.inv_std];
    normalize(to, columns, (x, y), vectors, apply);
}

/// The statistics of x: from moments that are there, or by a pass over it.
fn statistics(
    op: &BatchNorm,
    x: Place,
    columns: Columns,
    moments: Option<Moments>,
    to: &mut Lowering<'_>,
) {
    let (rows, channels) = (to.tensors().rows(op.x), to.tensors().channels(op.x));
    let sums = match moments {
        Some(moments) => moments.place,
        None => to.scratch(2 * columns.chunks() * channels * size_of::<f32>()),
    };
    let statistics = Statistics {
        pointers: [0; 6],
        momentum: op.momentum as f32,
        epsilon: op.epsilon as f32,
        rows: rows as u32,
        chunks: columns.chunks() as u32,
        chunk: moments.map_or(0, |moments| moments.chunk as u32),
        unused: 0,
    };
    let places = [
        x,
        sums,
        to.place(op.mean),
        to.place(op.inv_std),
        to.place(op.running_mean),
        to.place(op.running_var),
    ];
    let statistics = Argument::of(&statistics, pointers(&places.map(Some)));
    if let Some(moments) = moments {
        let columns = Columns::of_sums(moments.chunks, channels);
        let arguments = arguments![statistics, columns.argument()];
        return to.launch(columns.launch(NORM, "norm_join_moments", to.real(), arguments));
    }
    let arguments = arguments![statistics.clone(), columns.argument()];
    to.launch(columns.launch(NORM, "norm_statistics", to.real(), arguments));
    if columns.chunks() > 1 {
        let last = columns.of_chunks();
        let arguments = arguments![statistics, last.argument()];
        to.launch(last.launch(NORM, "norm_join_statistics", to.real(), arguments));
    }
}

/// Prediction; `relu` as in [`train`].
pub(super) fn inference(op: &BatchNormInference, relu: Option<TensorId>, to: &mut Lowering<'_>) {
    let columns = columns(to, op.x);
    let (x, y) = (to.read(op.x), to.write(relu.unwrap_or(op.y)));
    let apply = Apply {
        pointers: [0; 6],
        epsilon: op.epsilon as f32,
        is_variance: 1,
        relu: relu.is_some().into(),
        unused: 0,
    };
    let vectors = [op.gamma, op.beta, op.running_mean, op.running_var];
    normalize(to, columns, (x, y), vectors, apply);
}

/// The pass over all rows, given γ, β, the means and the scales.
fn normalize(
    to: &mut Lowering<'_>,
    columns: Columns,
    (x, y): (Place, Place),
    [gamma, beta, mean, scale]: [TensorId; 4],
    apply: Apply,
) {
    let vectors = [gamma, beta, mean, scale].map(|id| to.place(id));
    let places = [[x, y].as_slice(), &vectors].concat();
    let places: Vec<_> = places.into_iter().map(Some).collect();
    let arguments = arguments![Argument::of(&apply, pointers(&places)), columns.argument()];
    to.launch(columns.launch(NORM, "norm_apply", to.real(), arguments));
}

/// What the backward and the forward-mode rule have in common.
struct Rule {
    x: TensorId,
    mean: TensorId,
    inv_std: TensorId,
    gamma: TensorId,
    /// The gradient of the output, or the tangent of the input.
    given: Option<TensorId>,
    /// The output of a ReLU whose rule comes first.
    activated: Option<TensorId>,
    /// The gradient of the input, or the tangent of the output.
    result: Option<TensorId>,
    dgamma: Option<TensorId>,
    dbeta: Option<TensorId>,
    gamma_tangent: Option<TensorId>,
    beta_tangent: Option<TensorId>,
}

impl Rule {
    fn lower(&self, to: &mut Lowering<'_>) {
        let channels = to.tensors().channels(self.x);
        let columns = columns(to, self.x);
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
        ];
        let backward = Backward { pointers: [0; 13], chunks: columns.chunks() as u32, unused: 0 };
        let backward = Argument::of(&backward, pointers(&places));
        if given.is_some() {
            let arguments = arguments![backward.clone(), columns.argument()];
            to.launch(columns.launch(NORM, "norm_backward_sums", to.real(), arguments));
            if columns.chunks() > 1 {
                let last = columns.of_chunks();
                let arguments = arguments![backward.clone(), last.argument()];
                to.launch(last.launch(NORM, "norm_join_sums", to.real(), arguments));
            }
        }
        if result.is_some() {
            let arguments = arguments![backward, columns.argument()];
            to.launch(columns.launch(NORM, "norm_backward", to.real(), arguments));
        }
    }
}

/// The backward rule; `relu` is the output of a ReLU behind the normalisation and the gradient of that.
pub(super) fn grad(op: &BatchNormGrad, relu: Option<(TensorId, TensorId)>, to: &mut Lowering<'_>) {
    let rule = Rule {
        x: op.x,
        mean: op.mean,
        inv_std: op.inv_std,
        gamma: op.gamma,
        given: Some(relu.map_or(op.dy, |(_, dy)| dy)),
        activated: relu.map(|(y, _)| y),
        result: op.dx,
        dgamma: op.dgamma,
        dbeta: op.dbeta,
        gamma_tangent: None,
        beta_tangent: None,
    };
    rule.lower(to);
}

/// The forward-mode rule.
pub(super) fn tangent(op: &BatchNormTangent, to: &mut Lowering<'_>) {
    let rule = Rule {
        x: op.x,
        mean: op.mean,
        inv_std: op.inv_std,
        gamma: op.gamma,
        given: op.dx,
        activated: None,
        result: Some(op.dy),
        dgamma: None,
        dbeta: None,
        gamma_tangent: op.dgamma,
        beta_tangent: op.dbeta,
    };
    rule.lower(to);
}
