//! From operations to kernels with their places in memory.

use lfnn_core::program::{Activate, Conv2d, Op, Tensors};

use crate::fuse::{Fused, NormGrad};
use crate::kernels::conv::Geometry;
use crate::kernels::norm_grad::{Mask, Upstream};
use crate::kernels::{
    columns, conv, conv_grad, data, elementwise, leaders, linear, local_losses, loss_gradients,
    losses, metrics, norm, norm_grad, optimize, perturb, pool, shape, winograd, workers,
};
use crate::memory::BufferResolver;
use crate::work::Kernel;

/// The kernel of a step.
pub(crate) fn kernel(step: &Fused<'_>, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
    match step {
        Fused::Single(op) => single(op, bind),
        Fused::Conv2d(op, relu) => conv2d(op, Some(relu), bind),
        Fused::Linear(op, relu) => Box::new(linear::Forward::new(op, Some(relu), bind)),
        Fused::Norm(op, behind) => Box::new(norm::Forward::new(op, Some(behind), bind)),
        Fused::Inference(op, behind) => Box::new(norm::Inference::new(op, Some(behind), bind)),
        Fused::NormGrad(NormGrad { norm, relu, spread, beta }) => {
            let upstream = match spread {
                Some(Op::MaxPoolGrad(op)) => Upstream::Pool(pool::PoolGrad::max(op, bind)),
                Some(Op::AdaptiveAvgPoolGrad(op)) => {
                    Upstream::Pool(pool::PoolGrad::adaptive(op, bind))
                }
                Some(Op::FilterLogitsGrad(op)) => {
                    Upstream::Filters(workers::FiltersGrad::new(op, bind))
                }
                _ => Upstream::Stored(bind.read(relu.dy)),
            };
            let mask = match beta {
                Some(beta) => Mask::Normalized(bind.read(*beta)),
                None => Mask::Activated(bind.read(relu.y)),
            };
            Box::new(norm_grad::Grad::new(norm, mask, upstream, bind))
        }
    }
}

/// Bytes of the tables with which a convolution finds its windows, at most. They grow with the image and the
/// kernel, whatever the batch.
pub(crate) fn table_bytes(op: &Op, tensors: &Tensors) -> usize {
    let (x, y, window, groups) = match op {
        Op::Conv2d(op) => (op.x, op.y, op.window, op.groups),
        Op::Conv2dInputGrad(op) => (op.dx, op.dy, op.window, op.groups),
        Op::Conv2dWeightGrad(op) => (op.x, op.dy, op.window, op.groups),
        _ => return 0,
    };
    let g = Geometry::new(tensors, x, y, window, groups);
    if winograd::is_profitable(&g) {
        return 0;
    }
    // Two numbers for each window and tap, of a few small images or of one.
    let windows = g.windows().max(g.pixels()).max(128);
    windows.saturating_mul(g.taps()).saturating_mul(2 * size_of::<u32>())
}

/// A convolution in the form that is faster here.
fn conv2d(op: &Conv2d, relu: Option<&Activate>, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
    let g = Geometry::new(bind.tensors(), op.x, op.y, op.window, op.groups);
    if winograd::is_profitable(&g) {
        Box::new(winograd::Convolution::forward(op, relu, &g, bind))
    } else {
        Box::new(conv::Forward::new(op, relu, bind))
    }
}

fn single(op: &Op, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
    match op {
        Op::LoadImages(op) => Box::new(data::Images::new(op, bind)),
        Op::LoadLabels(op) => Box::new(data::Labels::new(op, bind)),
        Op::LoadValues(op) => Box::new(data::Values::new(op, bind)),
        Op::AdvanceClock(op) => Box::new(metrics::Advance::new(op, bind)),
        Op::Linear(op) => Box::new(linear::Forward::new(op, None, bind)),
        Op::LinearInputGrad(op) => Box::new(linear::InputGrad::new(op, bind)),
        Op::LinearWeightGrad(op) => Box::new(linear::WeightGrad::new(op, bind)),
        Op::Conv2d(op) => conv2d(op, None, bind),
        Op::Conv2dInputGrad(op) => {
            let g = Geometry::new(bind.tensors(), op.dx, op.dy, op.window, op.groups);
            if winograd::is_profitable(&g) {
                Box::new(winograd::Convolution::input_grad(op, &g, bind))
            } else {
                Box::new(conv_grad::InputGrad::new(op, bind))
            }
        }
        Op::Conv2dWeightGrad(op) => {
            let g = Geometry::new(bind.tensors(), op.x, op.dy, op.window, op.groups);
            if winograd::is_profitable(&g) {
                Box::new(winograd::WeightGrad::new(op, &g, bind))
            } else {
                Box::new(conv_grad::WeightGrad::new(op, bind))
            }
        }
        Op::AddBias(op) => Box::new(columns::Bias::new(op, bind)),
        Op::BiasGrad(op) => Box::new(columns::SumRows::new(op, bind)),
        Op::Activate(op) => Box::new(elementwise::Pointwise::new(op, bind)),
        Op::ActivateGrad(op) => Box::new(elementwise::PointwiseGrad::new(op, bind)),
        Op::Dropout(op) => Box::new(elementwise::Drop::new(op, bind)),
        Op::Add(op) => Box::new(elementwise::Sum::new(op, bind)),
        Op::Softmax(op) => Box::new(workers::Normalized::new(op, bind)),
        Op::SoftmaxGrad(op) => Box::new(workers::NormalizedGrad::new(op, bind)),
        Op::MaxPool(op) => Box::new(pool::Max::new(op, bind)),
        Op::MaxPoolGrad(op) => Box::new(pool::Pool::max_grad(op, bind)),
        Op::MaxPoolTangent(op) => Box::new(pool::Pool::max_tangent(op, bind)),
        Op::AvgPool(op) => Box::new(pool::Pool::average(op, bind)),
        Op::AvgPoolGrad(op) => Box::new(pool::Pool::average_grad(op, bind)),
        Op::AdaptiveAvgPool(op) => Box::new(pool::Pool::adaptive(op, bind)),
        Op::AdaptiveAvgPoolGrad(op) => Box::new(pool::Pool::adaptive_grad(op, bind)),
        Op::BatchNorm(op) => Box::new(norm::Forward::new(op, None, bind)),
        Op::BatchNormInference(op) => Box::new(norm::Inference::new(op, None, bind)),
        Op::BatchNormGrad(op) => {
            let upstream = Upstream::Stored(bind.read(op.dy));
            Box::new(norm_grad::Grad::new(op, Mask::Nothing, upstream, bind))
        }
        Op::BatchNormTangent(op) => Box::new(norm_grad::Tangent::new(op, bind)),
        Op::Flatten(op) => Box::new(shape::Transpose::flatten(op, bind)),
        Op::Unflatten(op) => Box::new(shape::Transpose::unflatten(op, bind)),
        Op::Concat(op) => Box::new(shape::Join::new(op, bind)),
        Op::Split(op) => Box::new(shape::Part::new(op, bind)),
        Op::FilterLogits(op) => Box::new(workers::Logits::new(op, bind)),
        Op::FilterLogitsGrad(op) => Box::new(workers::LogitsGrad::new(op, bind)),
        Op::WorkerLoss(op) => Box::new(losses::WorkerLosses::new(op, bind)),
        Op::MeanWorkerLoss(op) => Box::new(losses::MeanWorkerLosses::new(op, bind)),
        Op::SelectLeaders(op) => Box::new(leaders::Select::new(op, bind)),
        Op::EpochLeaders(op) => Box::new(leaders::Epoch::new(op, bind)),
        Op::AlignmentTarget(op) => Box::new(leaders::Target::new(op, bind)),
        Op::LossGradient(op) => Box::new(loss_gradients::LossGradients::new(op, bind)),
        Op::LocalLossGradient(op) => Box::new(loss_gradients::LocalLossGradients::new(op, bind)),
        Op::LocalLosses(op) => Box::new(local_losses::LocalLossSums::new(op, bind)),
        Op::MaskFollowers(op) => Box::new(leaders::Mask::new(op, bind)),
        Op::Gaussian(op) => Box::new(perturb::Draw::new(op, bind)),
        Op::InnerProduct(op) => Box::new(perturb::Inner::new(op, bind)),
        Op::AccumulateRows(op) => Box::new(metrics::Rows::new(op, bind)),
        Op::CountErrors(op) => Box::new(metrics::Count::new(op, bind)),
        Op::ClipFactor(op) => Box::new(optimize::Clip::new(op, bind)),
        Op::SgdStep(op) => Box::new(optimize::Sgd::new(op, bind)),
        Op::AdamStep(op) => Box::new(optimize::Adam::new(op, bind)),
    }
}
