//! Which tensors are activations: those that half precision stores in 16 bits.
//!
//! A kernel takes each of its operands either as `real`, the type of activations, or as a single. A tensor is
//! stored as `real` if it is temporary and all operations of all programs take it as `real`; every other real
//! tensor is a single. An operation that meets both kinds among its `real` operands works in
//! half precision, and the singles are converted on the way in or out.

use lfnn_core::backend::Precision;
use lfnn_core::program::{DType, Op, Operation, ProgramSet, TensorId};

use super::Element;

/// How each tensor of a program set is stored.
pub(super) fn elements(set: &ProgramSet, precision: Precision) -> Vec<Element> {
    let tensors = set.tensors();
    let half = activation(precision);
    let mut real: Vec<bool> = tensors
        .iter()
        .map(|(_, tensor)| !tensor.is_persistent() && tensor.dtype == DType::Real)
        .collect();
    for op in set.programs().iter().flat_map(|program| program.ops()) {
        let operands = real_operands(op);
        let touched = [op.reads(), op.writes(), op.updates()].concat();
        for id in touched.into_iter().filter(|id| !operands.contains(id)) {
            real[id.index()] = false;
        }
    }
    tensors
        .iter()
        .map(|(id, tensor)| match tensor.dtype {
            DType::U32 => Element::U32,
            DType::U8 => Element::U8,
            DType::Real if real[id.index()] => half,
            DType::Real => Element::F32,
        })
        .collect()
}

/// The type of activations.
pub(super) fn activation(precision: Precision) -> Element {
    match precision {
        Precision::F32 | Precision::Tf32 => Element::F32,
        Precision::Bf16 => Element::Bf16,
        Precision::F16 => Element::F16,
    }
}

/// The type that stands for `real` in an operation's kernels.
pub(super) fn real_of(op: &Op, elements: &[Element]) -> Element {
    let stored = real_operands(op).into_iter().map(|id| elements[id.index()]);
    stored.into_iter().find(|&element| element != Element::F32).unwrap_or(Element::F32)
}

/// The operands that an operation's kernels take as `real`.
pub(super) fn real_operands(op: &Op) -> Vec<TensorId> {
    match op {
        Op::LoadImages(op) => vec![op.x],
        Op::Linear(op) => vec![op.x, op.y],
        Op::LinearInputGrad(op) => vec![op.dy, op.dx],
        Op::LinearWeightGrad(op) => vec![op.x, op.dy],
        Op::Conv2d(op) => vec![op.x, op.y],
        Op::Conv2dInputGrad(op) => vec![op.dy, op.dx],
        Op::Conv2dWeightGrad(op) => vec![op.x, op.dy],
        Op::AddBias(op) => vec![op.x, op.y],
        Op::BiasGrad(op) => vec![op.dy],
        Op::Activate(op) => vec![op.x, op.y],
        Op::ActivateGrad(op) => vec![op.y, op.dy, op.dx],
        Op::Dropout(op) => vec![op.x, op.y],
        Op::Add(op) => [op.inputs.as_slice(), &[op.y]].concat(),
        Op::Softmax(op) => vec![op.x, op.y],
        Op::SoftmaxGrad(op) => vec![op.y, op.dy, op.dx],
        Op::MaxPool(op) => vec![op.x, op.y],
        Op::MaxPoolGrad(op) => vec![op.dy, op.dx],
        Op::MaxPoolTangent(op) => vec![op.dx, op.dy],
        Op::AvgPool(op) => vec![op.x, op.y],
        Op::AvgPoolGrad(op) => vec![op.dy, op.dx],
        Op::AdaptiveAvgPool(op) => vec![op.x, op.y],
        Op::AdaptiveAvgPoolGrad(op) => vec![op.dy, op.dx],
        Op::BatchNorm(op) => vec![op.x, op.y],
        Op::BatchNormInference(op) => vec![op.x, op.y],
        Op::BatchNormGrad(op) => [&[op.x, op.dy], op.dx.as_slice()].concat(),
        Op::BatchNormTangent(op) => [&[op.x, op.dy], op.dx.as_slice()].concat(),
        Op::Flatten(op) => vec![op.x, op.y],
        Op::Unflatten(op) => vec![op.x, op.y],
        Op::Concat(op) => [op.inputs.as_slice(), &[op.y]].concat(),
        Op::Split(op) => [op.outputs.as_slice(), &[op.x]].concat(),
        Op::FilterLogits(op) => vec![op.x, op.z],
        Op::FilterLogitsGrad(op) => vec![op.dz, op.dx],
        Op::WorkerLoss(op) => vec![op.z, op.output],
        Op::AlignmentTarget(op) => vec![op.value, op.reference],
        Op::LossGradient(op) => vec![op.z, op.output, op.dz],
        Op::LocalLossGradient(op) => vec![op.z, op.output, op.dz, op.reference],
        Op::LocalLosses(op) => vec![op.value, op.reference],
        Op::MaskFollowers(op) => vec![op.x, op.y],
        Op::Gaussian(op) => vec![op.y],
        Op::InnerProduct(op) => vec![op.a, op.b],
        Op::CountErrors(op) => vec![op.output],
        Op::LoadLabels(_)
        | Op::LoadValues(_)
        | Op::AdvanceClock(_)
        | Op::MeanWorkerLoss(_)
        | Op::SelectLeaders(_)
        | Op::EpochLeaders(_)
        | Op::AccumulateRows(_)
        | Op::ClipFactor(_)
        | Op::SgdStep(_)
        | Op::AdamStep(_) => Vec::new(),
    }
}
