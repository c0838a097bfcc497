//! Which tensors are activations: those that half precision stores in 16 bits.
//!
//! A kernel takes each of its operands either as `real`, the type of activations, or as a single. A tensor is
//! stored as `real` if it is temporary and all operations of all programs take it as `real`; every other real
//! tensor is a single. An operation that meets both kinds among its `real` operands works in
//! half precision, and the singles are converted on the way in or out.

use lfnn_core::backend::Precision;
use lfnn_core::program::{DType, Op, Operation, ProgramSet};

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
        let operands = op.activations();
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
    let stored = op.activations().into_iter().map(|id| elements[id.index()]);
    stored.into_iter().find(|&element| element != Element::F32).unwrap_or(Element::F32)
}
