//! Errors of workers, the local losses and their gradient.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{
    Align, Heads as Division, LocalGradient, LocalLosses, Loss, MeanErrors, Reduction, TensorId,
    WorkerErrors,
};

use super::Argument;
use super::launch::{THREADS, arguments};
use super::lower::{Lowering, optional};
use super::workers::lanes;
use crate::kernels::LOSSES;

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Heads {
    batch: u32,
    nets: u32,
    workers: u32,
    width: u32,
    loss: u32,
    one_vs_all: u32,
    smoothing: f32,
    lanes: u32,
}

impl Heads {
    fn new(batch: usize, heads: Division, loss: Loss) -> Self {
        let (code, one_vs_all, smoothing) = match loss {
            Loss::CrossEntropy { smoothing } => (0, false, smoothing),
            Loss::Binary { one_vs_all, smoothing } => (1, one_vs_all, smoothing),
            Loss::MeanSquared => (2, false, 0.0),
        };
        Self {
            batch: batch as u32,
            nets: heads.nets as u32,
            workers: heads.workers as u32,
            width: heads.width as u32,
            loss: code,
            one_vs_all: u32::from(one_vs_all),
            smoothing: smoothing as f32,
            lanes: lanes(heads.width) as u32,
        }
    }
}

/// Labels, or real targets: a kernel takes both, of which one is missing.
fn targets(target: TensorId, loss: Loss) -> [Argument; 2] {
    let given = optional(Some(target));
    if loss.takes_labels() { [given, Argument::Null] } else { [Argument::Null, given] }
}

pub(super) fn worker_errors(op: &WorkerErrors, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.z].shape[0];
    let heads = Heads::new(batch, op.heads, op.loss);
    let [labels, values] = targets(op.target, op.loss);
    let (z, output) = (to.read(op.z), to.write(op.output));
    let arguments = arguments![
        z,
        labels,
        values,
        output,
        to.place(op.errors),
        Argument::of(&heads, Vec::new()),
    ];
    let threads = to.len(op.errors) * heads.lanes as usize;
    to.launch(LOSSES.over("worker_errors", to.real(), threads, arguments));
}

/// Means of a block, at most.
const MEANS: usize = 32;

pub(super) fn mean_errors(op: &MeanErrors, to: &mut Lowering<'_>) {
    let predictors = to.len(op.mean);
    let batch = to.len(op.errors) / predictors.max(1);
    let (mean, fault) = (to.place(op.mean), to.place(op.fault));
    let arguments = arguments![to.place(op.errors), mean, fault, batch, predictors];
    let across = predictors.clamp(1, MEANS);
    let grid = predictors.div_ceil(MEANS).max(1) as u32;
    let block = [across as u32, THREADS / across as u32, 1];
    to.launch(LOSSES.launch("mean_errors", to.real(), [grid, 1, 1], block, arguments));
    if grid > 1 {
        let arguments = arguments![mean, fault, predictors];
        let block = [THREADS, 1, 1];
        to.launch(LOSSES.launch("watch_errors", to.real(), [1; 3], block, arguments));
    }
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Gradient {
    heads: Heads,
    leader_rows: u32,
    mean: u32,
    align_logits: u32,
    leader_weight: f32,
    follower_weight: f32,
    unused: u32,
}

pub(super) fn local_gradient(op: &LocalGradient, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.z].shape[0];
    let share = |weight: f64| (weight / batch as f64) as f32;
    let gradient = Gradient {
        heads: Heads::new(batch, op.heads, op.loss),
        leader_rows: op.leaders.map_or(1, |leaders| to.tensors()[leaders].shape[0] as u32),
        mean: u32::from(op.reduction == Reduction::Mean),
        align_logits: u32::from(op.align == Align::Logits),
        leader_weight: share(op.leader_weight),
        follower_weight: share(op.follower_weight),
        unused: 0,
    };
    let [labels, values] = targets(op.target, op.loss);
    let (z, output) = (to.read(op.z), to.read(op.output));
    let reference = op.reference.map(|reference| to.read(reference));
    let dz = to.write(op.dz);
    let arguments = arguments![
        z,
        output,
        labels,
        values,
        optional(op.leaders),
        reference,
        dz,
        to.loss_scale(op.dz),
        Argument::of(&gradient, Vec::new()),
    ];
    let threads = batch * op.heads.predictors() * lanes(op.heads.width);
    to.launch(LOSSES.over("local_gradient", to.real(), threads, arguments));
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Losses {
    batch: u32,
    nets: u32,
    workers: u32,
    width: u32,
    leader_rows: u32,
    mean: u32,
}

/// Blocks that the losses are summed by, at most: their parts are joined by one.
const BLOCKS: usize = 64;

pub(super) fn local_losses(op: &LocalLosses, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.value].shape[0];
    let losses = Losses {
        batch: batch as u32,
        nets: op.heads.nets as u32,
        workers: op.heads.workers as u32,
        width: op.heads.width as u32,
        leader_rows: to.tensors()[op.leaders].shape[0] as u32,
        mean: u32::from(op.reduction == Reduction::Mean),
    };
    // A warp goes through its rows one after the other.
    let warps = THREADS as usize / 32;
    let most = if to.one_block() { 1 } else { BLOCKS };
    let blocks = (batch * op.heads.nets).div_ceil(warps).clamp(1, most);
    let parts = to.scratch(blocks * 2 * size_of::<f64>());
    let (value, reference) = (to.read(op.value), to.read(op.reference));
    let result = to.place(op.losses);
    let arguments = arguments![
        to.place(op.errors),
        value,
        to.place(op.leaders),
        reference,
        parts,
        result,
        Argument::of(&losses, Vec::new()),
    ];
    let (grid, block) = ([blocks as u32, 1, 1], [THREADS, 1, 1]);
    to.launch(LOSSES.launch("local_losses", to.real(), grid, block, arguments));
    if blocks > 1 {
        let arguments = arguments![parts, result, blocks, batch];
        to.launch(LOSSES.launch("join_local_losses", to.real(), [1; 3], block, arguments));
    }
}
