//! Gradients of the losses that are minimised: of all workers' losses, and of leader and follower loss.

use lfnn_core::program::{self, Align, FollowerLoss, Loss, Predictions, Reduction, Temperature};
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
        target: Target = Target::new((op.target, op.weights), op.loss, bind),
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
                learn(&predictions, loss, share, targets, row, z, p, dz, set);
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
        target: Target = Target::new((op.target, op.weights), op.worker_loss, bind),
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
            let FollowerLoss { align, labels } = op.follower;
            let (imitate, obey) = (follow * (1.0 - labels) as f32, follow * labels as f32);
            for (worker, dz) in dz.chunks_exact_mut(predictions.classes).enumerate() {
                let at = start + worker * predictions.classes;
                let z = &z[at..][..predictions.classes];
                let p = &output[at..][..predictions.classes];
                let loss = op.worker_loss;
                if leaders[worker] != 0.0 {
                    learn(&predictions, loss, lead, targets, row, z, p, dz, set);
                    continue;
                }
                align_with(align, loss, imitate, z, p, reference, dz);
                if labels != 0.0 {
                    learn(&predictions, loss, obey, targets, row, z, p, dz, add);
                }
            }
        });
    }
}

/// How many of a classifier's workers lead.
pub(super) fn leading(leaders: &[f32]) -> usize {
    leaders.iter().filter(|&&leads| leads != 0.0).count()
}

fn set(to: &mut f32, value: f32) {
    *to = value;
}

fn add(to: &mut f32, value: f32) {
    *to += value;
}

/// The gradient of `share · ℓ`, set or added.
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
    put: impl Fn(&mut f32, f32),
) {
    let share = share * targets.weight(row.example);
    match loss {
        Loss::CrossEntropy { smoothing } => {
            let rest = (smoothing / predictions.classes as f64) as f32;
            let label = targets.labels[row.example] as usize;
            for (class, (dz, p)) in dz.iter_mut().zip(p).enumerate() {
                let own = if class == label { (1.0 - smoothing) as f32 } else { 0.0 };
                put(dz, share * (p - rest - own));
            }
        }
        Loss::Binary { one_vs_all, smoothing } => {
            let label = targets.labels[row.example];
            let t = binary_target(one_vs_all, smoothing, row.classifier, label);
            put(&mut dz[0], share * (p[0] - t));
        }
        Loss::MeanSquared => {
            let t = targets.of(predictions, row.example, row.classifier);
            let factor = 2.0 * share / predictions.classes as f32;
            for ((dz, z), t) in dz.iter_mut().zip(z).zip(t) {
                put(dz, factor * (z - t));
            }
        }
    }
}

/// The gradient of `share · d(reference, own)`.
fn align_with(
    align: Align,
    loss: Loss,
    share: f32,
    z: &[f32],
    p: &[f32],
    reference: &[f32],
    dz: &mut [f32],
) {
    let factor = 2.0 * share / z.len() as f32;
    match (align, loss) {
        (Align::Kl(Temperature { temperature }), _) => {
            let temperature = temperature as f32;
            let own = Softened::new(z, temperature);
            let leader = Softened::new(reference, temperature);
            for ((dz, z), reference) in dz.iter_mut().zip(z).zip(reference) {
                *dz = share * temperature * (own.probability(*z) - leader.probability(*reference));
            }
        }
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

/// Probabilities of logits at a temperature: a softmax of several, the sigmoid of one.
#[derive(Clone, Copy)]
pub(super) struct Softened {
    inverse: f32,
    /// The largest logit, and the logarithm of the sum of the exponentials beside it.
    largest: f32,
    log_sum: f32,
}

impl Softened {
    pub(super) fn new(z: &[f32], temperature: f32) -> Self {
        let inverse = 1.0 / temperature;
        // A sigmoid is the softmax of a logit and 0.
        let beside = if z.len() == 1 { 0.0 } else { f32::NEG_INFINITY };
        let largest = z.iter().copied().fold(beside, f32::max);
        let exp = |z: f32| ((z - largest) * inverse).exp();
        let sum = z.iter().fold(exp(beside), |sum, &z| sum + exp(z));
        Self { inverse, largest, log_sum: sum.ln() }
    }

    /// The logarithm of the probability of one of the logits; with one logit 0 is that of the other class.
    pub(super) fn log(&self, z: f32) -> f32 {
        (z - self.largest) * self.inverse - self.log_sum
    }

    fn probability(&self, z: f32) -> f32 {
        self.log(z).exp()
    }
}
