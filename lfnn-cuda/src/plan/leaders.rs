//! Who leads, what the followers align with, and the mask of a gradient.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{AlignmentTarget, EpochLeaders, MaskFollowers, Reference, SelectLeaders};

use super::Argument;
use super::launch::{THREADS, arguments};
use super::lower::Lowering;
use crate::kernels::LEADERS;

pub(super) fn select(op: &SelectLeaders, to: &mut Lowering<'_>) {
    let classifiers = to.len(op.best);
    let arguments = arguments![
        to.place(op.losses),
        to.place(op.leaders),
        to.place(op.best),
        classifiers,
        op.predictions.workers,
        op.count,
    ];
    to.launch(LEADERS.over("select_leaders", to.real(), to.len(op.leaders), arguments));
}

pub(super) fn epoch(op: &EpochLeaders, to: &mut Lowering<'_>) {
    let arguments = arguments![
        to.place(op.losses),
        to.place(op.clock),
        to.place(op.epoch_losses),
        to.place(op.leaders),
        to.place(op.best),
        op.predictions.workers,
        op.count,
    ];
    let (grid, block) = ([op.predictions.classifiers as u32, 1, 1], [THREADS, 1, 1]);
    to.launch(LEADERS.launch("epoch_leaders", to.real(), grid, block, arguments));
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Target {
    batch: u32,
    classifiers: u32,
    workers: u32,
    classes: u32,
    leader_rows: u32,
    rule: u32,
    stream: u32,
}

pub(super) fn alignment_target(op: &AlignmentTarget, to: &mut Lowering<'_>) {
    let (rule, stream) = match op.rule {
        Reference::Best => (0, 0),
        Reference::Random(stream) => (1, stream.word()),
        Reference::Mean => (2, 0),
    };
    let target = Target {
        batch: to.tensors()[op.value].shape[0] as u32,
        classifiers: op.predictions.classifiers as u32,
        workers: op.predictions.workers as u32,
        classes: op.predictions.classes as u32,
        leader_rows: to.tensors()[op.leaders].shape[0] as u32,
        rule,
        stream,
    };
    let (value, reference) = (to.read(op.value), to.write(op.reference));
    let arguments = arguments![
        value,
        to.place(op.leaders),
        to.place(op.best),
        to.place(op.clock),
        reference,
        Argument::of(&target, Vec::new()),
    ];
    to.launch(LEADERS.over("alignment_target", to.real(), to.len(op.reference), arguments));
}

pub(super) fn mask(op: &MaskFollowers, to: &mut Lowering<'_>) {
    let tensors = to.tensors();
    let n = to.len(op.x);
    let row_size = n.checked_div(tensors[op.x].shape[0]).unwrap_or(0).max(1);
    let (x, y) = (to.read(op.x), to.write(op.y));
    let arguments = arguments![
        x,
        to.place(op.leaders),
        y,
        n,
        row_size,
        tensors.channels(op.x),
        tensors.channels(op.leaders),
        tensors.rows(op.leaders),
    ];
    to.launch(LEADERS.over("mask_followers", to.real(), n / 4, arguments));
}
