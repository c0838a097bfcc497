//! Operations on each element alone.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{Activate, ActivateGrad, Activation, Add, Dropout};

use super::Argument;
use super::launch::arguments;
use super::lower::Lowering;
use crate::kernels::ELEMENTWISE;

/// The number that stands for a function in the kernels.
pub(super) fn code(function: Activation) -> u32 {
    match function {
        Activation::Relu => 0,
        Activation::Sigmoid => 1,
        Activation::Tanh => 2,
    }
}

pub(super) fn activate(op: &Activate, to: &mut Lowering<'_>) {
    let n = to.len(op.x);
    let arguments = arguments![to.read(op.x), to.write(op.y), n, code(op.function)];
    to.launch(ELEMENTWISE.over("activate", to.real(), n / 4, arguments));
}

pub(super) fn activate_grad(op: &ActivateGrad, to: &mut Lowering<'_>) {
    let n = to.len(op.y);
    let (y, dy) = (to.read(op.y), to.read(op.dy));
    let arguments = arguments![y, dy, to.write(op.dx), n, code(op.function)];
    to.launch(ELEMENTWISE.over("activate_grad", to.real(), n / 4, arguments));
}

pub(super) fn dropout(op: &Dropout, to: &mut Lowering<'_>) {
    let n = to.len(op.x);
    let threshold = (op.rate * 4_294_967_296.0) as u32;
    let factor = (1.0 / (1.0 - op.rate)) as f32;
    let (x, y) = (to.read(op.x), to.write(op.y));
    let arguments = arguments![x, to.place(op.clock), y, n, threshold, factor, op.stream.word()];
    to.launch(ELEMENTWISE.over("dropout", to.real(), n.div_ceil(4), arguments));
}

/// Summands of one launch.
const MOST_SUMMANDS: usize = 8;

/// `Summands` of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Summands {
    x: [u64; MOST_SUMMANDS],
    count: u32,
    unused: u32,
}

/// Further summands are added to the sum of those before them.
pub(super) fn add(op: &Add, to: &mut Lowering<'_>) {
    let n = to.len(op.y);
    let y = to.write(op.y);
    let mut rest: Vec<_> = op.inputs.iter().map(|&input| to.read(input)).collect();
    rest.reverse();
    while !rest.is_empty() {
        let now: Vec<_> = rest.split_off(rest.len().saturating_sub(MOST_SUMMANDS));
        let now: Vec<_> = now.into_iter().rev().collect();
        let summands = Summands { x: [0; MOST_SUMMANDS], count: now.len() as u32, unused: 0 };
        let pointers = now.into_iter().enumerate().map(|(i, place)| (8 * i, place)).collect();
        let arguments = arguments![Argument::of(&summands, pointers), y, n];
        to.launch(ELEMENTWISE.over("add", to.real(), n / 4, arguments));
        if !rest.is_empty() {
            rest.push(y);
        }
    }
}
