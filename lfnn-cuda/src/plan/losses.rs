//! Losses of workers, the losses that are minimised and their gradients.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{
    Align, LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss,
    Predictions as Division, Reduction, TensorId, WorkerLoss,
};

use super::Argument;
use super::launch::{THREADS, arguments};
use super::lower::{Lowering, optional};
use super::workers::lanes;
use crate::kernels::LOSSES;

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Predictions {
    batch: u32,
    classifiers: u32,
    workers: u32,
    classes: u32,
    loss: u32,
    one_vs_all: u32,
    smoothing: f32,
    lanes: u32,
}

impl Predictions {
    fn new(batch: usize, predictions: Division, loss: Loss) -> Self {
        let (code, one_vs_all, smoothing) = match loss {
            Loss::CrossEntropy { smoothing } => (0, false, smoothing),
            Loss::Binary { one_vs_all, smoothing } => (1, one_vs_all, smoothing),
            Loss::MeanSquared => (2, false, 0.0),
        };
        Self {
            batch: batch as u32,
            classifiers: predictions.classifiers as u32,
            workers: predictions.workers as u32,
            classes: predictions.classes as u32,
            loss: code,
            one_vs_all: u32::from(one_vs_all),
            smoothing: smoothing as f32,
            lanes: lanes(predictions.classes) as u32,
        }
    }
}

/// Labels, or real targets: a kernel takes both, of which one is missing.
fn targets(target: TensorId, loss: Loss) -> [Argument; 2] {
    let given = optional(Some(target));
    if loss.takes_labels() { [given, Argument::Null] } else { [Argument::Null, given] }
}

pub(super) fn worker_loss(op: &WorkerLoss, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.z].shape[0];
    let predictions = Predictions::new(batch, op.predictions, op.loss);
    let [labels, values] = targets(op.target, op.loss);
    let (z, output) = (to.read(op.z), to.write(op.output));
    let arguments = arguments![
        z,
        labels,
        values,
        output,
        to.place(op.losses),
        Argument::of(&predictions, Vec::new()),
    ];
    let threads = to.len(op.losses) * predictions.lanes as usize;
    to.launch(LOSSES.over("worker_loss", to.real(), threads, arguments));
}

/// Means of a block, at most.
const MEANS: usize = 32;

pub(super) fn mean_worker_loss(op: &MeanWorkerLoss, to: &mut Lowering<'_>) {
    let predictors = to.len(op.mean);
    let batch = to.len(op.losses) / predictors.max(1);
    let (mean, nonfinite) = (to.place(op.mean), to.place(op.nonfinite));
    let arguments = arguments![to.place(op.losses), mean, nonfinite, batch, predictors];
    let across = predictors.clamp(1, MEANS);
    let grid = predictors.div_ceil(MEANS).max(1) as u32;
    let block = [across as u32, THREADS / across as u32, 1];
    to.launch(LOSSES.launch("mean_worker_loss", to.real(), [grid, 1, 1], block, arguments));
    if grid > 1 {
        let arguments = arguments![mean, nonfinite, predictors];
        let block = [THREADS, 1, 1];
        to.launch(LOSSES.launch("watch_losses", to.real(), [1; 3], block, arguments));
    }
}

/// A weight of a mean over the batch.
fn per_example(weight: f64, batch: usize) -> f32 {
    (weight / batch as f64) as f32
}

pub(super) fn loss_gradient(op: &LossGradient, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.z].shape[0];
    let predictions = Predictions::new(batch, op.predictions, op.loss);
    let weight = match op.reduction {
        Reduction::Sum => per_example(1.0, batch),
        Reduction::Mean => per_example(1.0, batch) / op.predictions.workers as f32,
    };
    let [labels, values] = targets(op.target, op.loss);
    let (z, output, dz) = (to.read(op.z), to.read(op.output), to.write(op.dz));
    let arguments = arguments![
        z,
        output,
        labels,
        values,
        dz,
        to.loss_scale(op.dz),
        Argument::of(&predictions, Vec::new()),
        weight,
    ];
    let threads = batch * op.predictions.predictors() * lanes(op.predictions.classes);
    to.launch(LOSSES.over("loss_gradient", to.real(), threads, arguments));
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LocalLoss {
    predictions: Predictions,
    leader_rows: u32,
    mean: u32,
    align_logits: u32,
    leader: f32,
    follower: f32,
    unused: u32,
}

pub(super) fn local_loss_gradient(op: &LocalLossGradient, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.z].shape[0];
    let loss = LocalLoss {
        predictions: Predictions::new(batch, op.predictions, op.worker_loss),
        leader_rows: to.tensors()[op.leaders].shape[0] as u32,
        mean: u32::from(op.reduction == Reduction::Mean),
        align_logits: u32::from(op.align == Align::Logits),
        leader: per_example(op.loss.leader, batch),
        follower: per_example(op.loss.follower, batch),
        unused: 0,
    };
    let [labels, values] = targets(op.target, op.worker_loss);
    let (z, output, reference) = (to.read(op.z), to.read(op.output), to.read(op.reference));
    let dz = to.write(op.dz);
    let arguments = arguments![
        z,
        output,
        labels,
        values,
        to.place(op.leaders),
        reference,
        dz,
        to.loss_scale(op.dz),
        Argument::of(&loss, Vec::new()),
    ];
    let threads = batch * op.predictions.predictors() * lanes(op.predictions.classes);
    to.launch(LOSSES.over("local_loss_gradient", to.real(), threads, arguments));
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Losses {
    batch: u32,
    classifiers: u32,
    workers: u32,
    classes: u32,
    leader_rows: u32,
    mean: u32,
}

/// Blocks that the losses are summed by, at most: their parts are joined by one.
const BLOCKS: usize = 64;

pub(super) fn local_losses(op: &LocalLosses, to: &mut Lowering<'_>) {
    let batch = to.tensors()[op.value].shape[0];
    let losses = Losses {
        batch: batch as u32,
        classifiers: op.predictions.classifiers as u32,
        workers: op.predictions.workers as u32,
        classes: op.predictions.classes as u32,
        leader_rows: to.tensors()[op.leaders].shape[0] as u32,
        mean: u32::from(op.reduction == Reduction::Mean),
    };
    // A warp goes through its rows one after the other.
    let warps = THREADS as usize / 32;
    let most = if to.one_block() { 1 } else { BLOCKS };
    let blocks = (batch * op.predictions.classifiers).div_ceil(warps).clamp(1, most);
    let parts = to.scratch(blocks * 2 * size_of::<f64>());
    let (value, reference) = (to.read(op.value), to.read(op.reference));
    let result = to.place(op.losses);
    let arguments = arguments![
        to.place(op.worker_losses),
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
