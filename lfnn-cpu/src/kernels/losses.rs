//! The losses of workers, in one pass over the predictions, and their means.

use lfnn_core::program::{Loss, Predictions, TensorId};
use rayon::prelude::*;

use super::elementwise::sigmoid;
use super::workers::softmax;
use crate::memory::{BufferResolver, Input, Output};
use crate::work::{CHUNK, Kernel, Workspace, kernel};

/// Examples in a chunk of work on predictions.
pub(super) fn examples_per_chunk(predictions: &Predictions) -> usize {
    (CHUNK / 4 / predictions.features()).max(1)
}

/// Labels, perhaps with factors on the losses of their classes, or real targets.
pub(super) enum Target {
    Labels(Input<u32>, Option<Input<f32>>),
    Real(Input<f32>),
}

impl Target {
    pub(super) fn new(
        (id, weights): (TensorId, Option<TensorId>),
        loss: Loss,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        if loss.takes_labels() {
            Target::Labels(bind.read(id), weights.map(|weights| bind.read(weights)))
        } else {
            Target::Real(bind.read(id))
        }
    }

    pub(super) fn get(&self) -> Targets<'_> {
        match self {
            Target::Labels(labels, weights) => {
                let weights = weights.as_ref().map_or(&[][..], Input::get);
                Targets { labels: labels.get(), weights, real: &[] }
            }
            Target::Real(real) => Targets { labels: &[], weights: &[], real: real.get() },
        }
    }
}

/// The contents; labels or real targets are empty.
#[derive(Clone, Copy)]
pub(super) struct Targets<'a> {
    pub(super) labels: &'a [u32],
    weights: &'a [f32],
    real: &'a [f32],
}

impl<'a> Targets<'a> {
    /// The factor on the loss of an example.
    pub(super) fn weight(&self, example: usize) -> f32 {
        if self.weights.is_empty() { 1.0 } else { self.weights[self.labels[example] as usize] }
    }

    /// Real targets of one example and classifier.
    pub(super) fn of(
        &self,
        predictions: &Predictions,
        example: usize,
        classifier: usize,
    ) -> &'a [f32] {
        &self.real[(example * predictions.classifiers + classifier) * predictions.classes..]
            [..predictions.classes]
    }
}

/// `t` of binary cross-entropy.
pub(super) fn binary_target(
    one_vs_all: bool,
    smoothing: f64,
    classifier: usize,
    label: u32,
) -> f32 {
    let positive = if Loss::positive(one_vs_all, classifier, label) { 1.0 } else { 0.0 };
    ((1.0 - smoothing) * positive + smoothing / 2.0) as f32
}

/// One prediction: fills in the output and gives the loss. Of cross-entropy, the output is there already, and `value`
/// holds `log Σ exp z`.
#[allow(clippy::too_many_arguments, reason = "a part of `run`")]
fn worker_loss(
    predictions: &Predictions,
    loss: Loss,
    targets: Targets<'_>,
    example: usize,
    classifier: usize,
    z: &[f32],
    output: &mut [f32],
    value: &mut f32,
) {
    *value = match loss {
        Loss::CrossEntropy { smoothing } => {
            let log_sum = *value;
            let of_label = log_sum - z[targets.labels[example] as usize];
            if smoothing == 0.0 {
                of_label
            } else {
                let of_all =
                    z.iter().map(|z| log_sum - z).sum::<f32>() / predictions.classes as f32;
                (1.0 - smoothing) as f32 * of_label + smoothing as f32 * of_all
            }
        }
        Loss::Binary { one_vs_all, smoothing } => {
            let t = binary_target(one_vs_all, smoothing, classifier, targets.labels[example]);
            let z = z[0];
            output[0] = sigmoid(z);
            z.max(0.0) - t * z + (-z.abs()).exp().ln_1p()
        }
        Loss::MeanSquared => {
            output.copy_from_slice(z);
            let t = targets.of(predictions, example, classifier);
            let sum: f32 = z.iter().zip(t).map(|(z, t)| (z - t) * (z - t)).sum();
            sum / predictions.classes as f32
        }
    }
}

kernel! {
    WorkerLoss { z: Input<f32>, output: Output<f32>, losses: Output<f32> }
    with |op, bind| {
        target: Target = Target::new((op.target, op.weights), op.loss, bind),
        predictions: Predictions = op.predictions,
        loss: Loss = op.loss,
    }
}

impl Kernel for WorkerLoss {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Self { predictions, loss, .. } = *self;
        let (examples, features) = (examples_per_chunk(&predictions), predictions.features());
        let targets = self.target.get();
        let z = self.z.get().par_chunks(examples * features);
        let output = self.output.get().par_chunks_mut(examples * features);
        let losses = self.losses.get().par_chunks_mut(examples * predictions.predictors());
        output.zip(losses).zip(z).enumerate().for_each(|(chunk, ((output, losses), z))| {
            if let Loss::CrossEntropy { .. } = loss {
                softmax(z, predictions.classes, output, Some(losses));
            }
            let runs = z
                .chunks_exact(predictions.classes)
                .zip(output.chunks_exact_mut(predictions.classes));
            for (i, (to, (z, output))) in losses.iter_mut().zip(runs).enumerate() {
                let example = chunk * examples + i / predictions.predictors();
                let classifier = i % predictions.predictors() / predictions.workers;
                worker_loss(&predictions, loss, targets, example, classifier, z, output, to);
                *to *= targets.weight(example);
            }
        });
    }
}

kernel! {
    MeanWorkerLoss { losses: Input<f32>, mean: Output<f32>, nonfinite: Output<u32> }
}

impl Kernel for MeanWorkerLoss {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (losses, mean) = (self.losses.get(), self.mean.get());
        let predictors = mean.len().max(1);
        let batch = (losses.len() / predictors) as f64;
        mean.par_chunks_mut(64).enumerate().for_each(|(chunk, mean)| {
            let mut sums = [0.0f64; 64];
            for losses in losses.chunks_exact(predictors) {
                for (sum, &loss) in sums.iter_mut().zip(&losses[chunk * 64..][..mean.len()]) {
                    *sum += f64::from(loss);
                }
            }
            for (mean, sum) in mean.iter_mut().zip(sums) {
                *mean = (sum / batch) as f32;
            }
        });
        let nonfinite = &mut self.nonfinite.get()[0];
        if *nonfinite == 0
            && let Some(first) = mean.iter().position(|mean| !mean.is_finite())
        {
            *nonfinite = first as u32 + 1;
        }
    }
}
