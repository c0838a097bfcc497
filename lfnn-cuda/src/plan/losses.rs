//! Losses of workers, the losses that are minimised and their gradients.

use lfnn_core::program::{
    Align, FollowerLoss, LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss,
    Predictions as Division, Reduction, Temperature, TensorId, WorkerLoss,
};

use super::launch::{THREADS, arguments, lanes};
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::{Address, KernelFile};

const LOSSES: KernelFile = KernelFile("losses");

shared_with_kernels! {
    constants {
        const CROSS_ENTROPY: u32 = 0;
        const BINARY: u32 = 1;
        const MEAN_SQUARED: u32 = 2;
        const ALIGN_OUTPUT: u32 = 0;
        const ALIGN_LOGITS: u32 = 1;
        const ALIGN_KL: u32 = 2;
    }
    structures {
        /// How predictions are divided, and their loss.
        struct Predictions {
            batch: u32,
            classifiers: u32,
            workers: u32,
            classes: u32,
            loss: u32,
            /// Whether the positive label of a classifier is its own number (binary).
            one_vs_all: u32,
            smoothing: f32,
            /// Lanes that share a prediction, a power of two.
            lanes: u32,
        }
        /// The loss of one follower.
        struct FollowerRule {
            align: u32,
            temperature: f32,
            /// 1 / temperature: a division would be a subroutine, around which registers are saved.
            inverse: f32,
            /// Share of the loss on the targets.
            labels: f32,
        }
        /// The local loss that is minimised.
        struct LocalLoss {
            predictions: Predictions,
            leader_rows: u32,
            mean: u32,
            leader: f32,
            follower: f32,
            rule: FollowerRule,
        }
        /// The local losses that are summed.
        struct Losses {
            batch: u32,
            classifiers: u32,
            workers: u32,
            classes: u32,
            leader_rows: u32,
            mean: u32,
            rule: FollowerRule,
        }
    }
}

impl FollowerRule {
    fn new(follower: FollowerLoss) -> Self {
        let (align, temperature) = match follower.align {
            Align::Output => (ALIGN_OUTPUT, 1.0),
            Align::Logits => (ALIGN_LOGITS, 1.0),
            Align::Kl(Temperature { temperature }) => (ALIGN_KL, temperature),
        };
        let (temperature, inverse) = (temperature as f32, (1.0 / temperature) as f32);
        Self { align, temperature, inverse, labels: follower.labels as f32 }
    }
}

impl Predictions {
    fn new(batch: usize, predictions: Division, loss: Loss) -> Self {
        let (code, one_vs_all, smoothing) = match loss {
            Loss::CrossEntropy { smoothing } => (CROSS_ENTROPY, false, smoothing),
            Loss::Binary { one_vs_all, smoothing } => (BINARY, one_vs_all, smoothing),
            Loss::MeanSquared => (MEAN_SQUARED, false, 0.0),
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

/// Labels and the weights of their classes, which may be missing; or no labels, and real targets.
fn targets(
    target: TensorId,
    weights: Option<TensorId>,
    loss: Loss,
    to: &Lowering<'_>,
) -> [Option<Address>; 2] {
    let given = Some(to.address(target));
    let weights = weights.map(|weights| to.address(weights));
    if loss.takes_labels() { [given, weights] } else { [None, given] }
}

impl Lower for WorkerLoss {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.tensors()[self.z].shape[0];
        let predictions = Predictions::new(batch, self.predictions, self.loss);
        let [labels, values] = targets(self.target, self.weights, self.loss, to);
        let (z, output) = (to.read(self.z), to.write(self.output));
        let arguments =
            arguments![z, labels, values, output, to.address(self.losses), &predictions,];
        let threads = to.len(self.losses) * predictions.lanes as usize;
        to.launch_1d(LOSSES, "worker_loss", threads, arguments);
    }
}

/// Means of a block, at most.
const MEANS: usize = 32;

impl Lower for MeanWorkerLoss {
    fn lower(&self, to: &mut Lowering<'_>) {
        let predictors = to.len(self.mean);
        let batch = to.len(self.losses) / predictors.max(1);
        let (mean, nonfinite) = (to.address(self.mean), to.address(self.nonfinite));
        let arguments = arguments![to.address(self.losses), mean, nonfinite, batch, predictors];
        let across = predictors.clamp(1, MEANS);
        let grid = predictors.div_ceil(MEANS).max(1) as u32;
        let block = [across as u32, THREADS / across as u32, 1];
        to.launch(LOSSES, "mean_worker_loss", [grid, 1, 1], block, arguments);
        if grid > 1 {
            let arguments = arguments![mean, nonfinite, predictors];
            let block = [THREADS, 1, 1];
            to.launch(LOSSES, "watch_losses", [1; 3], block, arguments);
        }
    }
}

/// A weight of a mean over the batch.
fn per_example(weight: f64, batch: usize) -> f32 {
    (weight / batch as f64) as f32
}

impl Lower for LossGradient {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.tensors()[self.z].shape[0];
        let predictions = Predictions::new(batch, self.predictions, self.loss);
        let weight = match self.reduction {
            Reduction::Sum => per_example(1.0, batch),
            Reduction::Mean => per_example(1.0, batch) / self.predictions.workers as f32,
        };
        let [labels, values] = targets(self.target, self.weights, self.loss, to);
        let (z, output, dz) = (to.read(self.z), to.read(self.output), to.write(self.dz));
        let arguments = arguments![
            z,
            output,
            labels,
            values,
            dz,
            &to.loss_scale(self.dz),
            &predictions,
            weight,
        ];
        let threads = batch * self.predictions.predictors() * lanes(self.predictions.classes);
        to.launch_1d(LOSSES, "loss_gradient", threads, arguments);
    }
}

impl Lower for LocalLossGradient {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.tensors()[self.z].shape[0];
        let loss = LocalLoss {
            predictions: Predictions::new(batch, self.predictions, self.worker_loss),
            leader_rows: to.tensors()[self.leaders].shape[0] as u32,
            mean: u32::from(self.reduction == Reduction::Mean),
            leader: per_example(self.loss.leader, batch),
            follower: per_example(self.loss.follower, batch),
            rule: FollowerRule::new(self.follower),
        };
        let [labels, values] = targets(self.target, self.weights, self.worker_loss, to);
        let (z, output, reference) =
            (to.read(self.z), to.read(self.output), to.read(self.reference));
        let dz = to.write(self.dz);
        let arguments = arguments![
            z,
            output,
            labels,
            values,
            to.address(self.leaders),
            reference,
            dz,
            &to.loss_scale(self.dz),
            &loss,
        ];
        let threads = batch * self.predictions.predictors() * lanes(self.predictions.classes);
        to.launch_1d(LOSSES, "local_loss_gradient", threads, arguments);
    }
}

/// Blocks that the losses are summed by, at most: one adds up their parts.
const BLOCKS: usize = 64;

impl Lower for LocalLosses {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.tensors()[self.value].shape[0];
        let losses = Losses {
            batch: batch as u32,
            classifiers: self.predictions.classifiers as u32,
            workers: self.predictions.workers as u32,
            classes: self.predictions.classes as u32,
            leader_rows: to.tensors()[self.leaders].shape[0] as u32,
            mean: u32::from(self.reduction == Reduction::Mean),
            rule: FollowerRule::new(self.follower),
        };
        // A warp goes through its rows one after the other.
        let warps = THREADS as usize / 32;
        let most = if to.one_block { 1 } else { BLOCKS };
        let blocks = (batch * self.predictions.classifiers).div_ceil(warps).clamp(1, most);
        let parts = to.scratch(blocks * 2 * size_of::<f64>());
        let (value, reference) = (to.read(self.value), to.read(self.reference));
        let result = to.address(self.losses);
        let arguments = arguments![
            to.address(self.worker_losses),
            value,
            to.address(self.leaders),
            reference,
            parts,
            result,
            &losses,
        ];
        let (grid, block) = ([blocks as u32, 1, 1], [THREADS, 1, 1]);
        to.launch(LOSSES, "local_losses", grid, block, arguments);
        if blocks > 1 {
            let arguments = arguments![parts, result, blocks, batch];
            to.launch(LOSSES, "reduce_local_losses", [1; 3], block, arguments);
        }
    }
}
