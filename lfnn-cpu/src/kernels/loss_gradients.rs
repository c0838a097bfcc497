//! Gradients of the losses that are minimised: of all workers' losses, and of leader and follower loss.

use lfnn_core::program::{self, Align, Loss, Predictions, Reduction};
use rayon::prelude::*;

use super::losses::{Target, Targets, binary_target, examples_per_chunk};
use super::workers::softmax_grad;
use crate::memory::{Input, Output};
use crate::work::{Kernel, Workspace, kernel};

/// The predictions of one classifier for one example.
#[derive(Clone, Copy)]
struct Row {
    /// Position among those of all examples and classifiers.
    index: usize,
    example: usize,
    classifier: usize,
}

/// Calls `row` with each classifier's predictions for each example, and the slice of `dz` to write.
fn each_row(predictions: &Predictions, dz: &mut [f32], row: impl Fn(Row, &mut [f32]) + Sync) {
    let (examples, features) = (examples_per_chunk(predictions), predictions.features());
    dz.par_chunks_mut(examples * features).enumerate().for_each(|(chunk, dz)| {
        let first = chunk * examples * predictions.classifiers;
        for (i, dz) in dz.chunks_exact_mut(predictions.workers * predictions.classes).enumerate() {
            let index = first + i;
            let (example, classifier) =
                (index / predictions.classifiers, index % predictions.classifiers);
            row(Row { index, example, classifier }, dz);
        }
    });
}

/// What the loss of one worker of `count` in one example is multiplied with.
fn share(weight: f64, reduction: Reduction, batch: usize, count: usize) -> f32 {
    match reduction {
        Reduction::Sum => (weight / batch as f64) as f32,
        Reduction::Mean => (weight / batch as f64 / count as f64) as f32,
    }
}

kernel! {
    LossGradient { z: Input<f32>, output: Input<f32>, dz: Output<f32> }
    with |op, bind| {
        target: Target = Target::new(op.target, op.loss, bind),
        op: program::LossGradient = op.clone(),
    }
}

impl Kernel for LossGradient {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let program::LossGradient { predictions, loss, reduction, .. } = self.op;
        let (z, output, targets) = (self.z.get(), self.output.get(), self.target.get());
        let dz = self.dz.get();
        let batch = dz.len() / predictions.features();
        let share = share(1.0, reduction, batch, predictions.workers);
        each_row(&predictions, dz, |row, dz| {
            let start = row.index * dz.len();
            for (worker, dz) in dz.chunks_exact_mut(predictions.classes).enumerate() {
                let at = start + worker * predictions.classes;
                let z = &z[at..][..predictions.classes];
                let p = &output[at..][..predictions.classes];
                learn(&predictions, loss, share, targets, row, z, p, dz);
            }
        });
    }
}

kernel! {
    LocalLossGradient {
        z: Input<f32>,
        output: Input<f32>,
        leaders: Input<f32>,
        reference: Input<f32>,
        dz: Output<f32>,
    }
    with |op, bind| {
        target: Target = Target::new(op.target, op.worker_loss, bind),
        op: program::LocalLossGradient = op.clone(),
    }
}

impl Kernel for LocalLossGradient {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (op, predictions) = (&self.op, self.op.predictions);
        let (z, output, targets) = (self.z.get(), self.output.get(), self.target.get());
        let (leaders, reference) = (self.leaders.get(), self.reference.get());
        let dz = self.dz.get();
        let batch = dz.len() / predictions.features();
        let of_batch = leaders.len() == predictions.predictors();
        each_row(&predictions, dz, |row, dz| {
            let start = row.index * dz.len();
            let roles = if of_batch { row.classifier } else { row.index };
            let leaders = &leaders[roles * predictions.workers..][..predictions.workers];
            let reference = &reference[row.index * predictions.classes..][..predictions.classes];
            let count = leading(leaders);
            let lead = share(op.loss.leader, op.reduction, batch, count);
            let follow = share(op.loss.follower, op.reduction, batch, predictions.workers - count);
            for (worker, dz) in dz.chunks_exact_mut(predictions.classes).enumerate() {
                let at = start + worker * predictions.classes;
                let z = &z[at..][..predictions.classes];
                let p = &output[at..][..predictions.classes];
                if leaders[worker] == 0.0 {
                    align(op, follow, z, p, reference, dz);
                } else {
                    learn(&predictions, op.worker_loss, lead, targets, row, z, p, dz);
                }
            }
        });
    }
}

/// How many of a classifier's workers lead.
pub(super) fn leading(leaders: &[f32]) -> usize {
    leaders.iter().filter(|&&leads| leads != 0.0).count()
}

/// The gradient of `share · ℓ`.
#[allow(clippy::too_many_arguments, reason = "a part of the gradients' `run`")]
fn learn(
    predictions: &Predictions,
    loss: Loss,
    share: f32,
    targets: Targets<'_>,
    row: Row,
    z: &[f32],
    p: &[f32],
    dz: &mut [f32],
) {
    match loss {
        Loss::CrossEntropy { smoothing } => {
            let rest = (smoothing / predictions.classes as f64) as f32;
            for (dz, p) in dz.iter_mut().zip(p) {
                *dz = share * (p - rest);
            }
            let label = targets.labels[row.example] as usize;
            dz[label] = share * (p[label] - rest - (1.0 - smoothing) as f32);
        }
        Loss::Binary { one_vs_all, smoothing } => {
            dz[0] = share
                * (p[0]
                    - binary_target(
                        one_vs_all,
                        smoothing,
                        row.classifier,
                        targets.labels[row.example],
                    ));
        }
        Loss::MeanSquared => {
            let t = targets.of(predictions, row.example, row.classifier);
            let factor = 2.0 * share / predictions.classes as f32;
            for ((dz, z), t) in dz.iter_mut().zip(z).zip(t) {
                *dz = factor * (z - t);
            }
        }
    }
}

/// The gradient of `share · mean_c (reference − value)²`.
fn align(
    op: &program::LocalLossGradient,
    share: f32,
    z: &[f32],
    p: &[f32],
    reference: &[f32],
    dz: &mut [f32],
) {
    let factor = 2.0 * share / op.predictions.classes as f32;
    match (op.align, op.worker_loss) {
        (Align::Output, Loss::CrossEntropy { .. }) => {
            softmax_grad(p, |c| factor * (p[c] - reference[c]), dz);
        }
        (Align::Output, Loss::Binary { .. }) => {
            dz[0] = factor * (p[0] - reference[0]) * p[0] * (1.0 - p[0]);
        }
        (Align::Output, Loss::MeanSquared) | (Align::Logits, _) => {
            for ((dz, z), reference) in dz.iter_mut().zip(z).zip(reference) {
                *dz = factor * (z - reference);
            }
        }
    }
}
