//! Losses of workers, the losses that are minimised, and their gradients.

use super::Execute;
use super::store::Store;
use super::workers::{softmax_grad_of, softmax_of};
use lfnn_core::program::{
    Align, FollowerLoss, LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss,
    Predictions, Reduction, Temperature, TensorId, WorkerLoss,
};

/// The elements of worker `worker` of classifier `classifier` in row `b`.
fn prediction(
    values: &[f64],
    predictions: Predictions,
    b: usize,
    classifier: usize,
    worker: usize,
) -> &[f64] {
    let start = ((b * predictions.classifiers + classifier) * predictions.workers + worker)
        * predictions.classes;
    &values[start..start + predictions.classes]
}

/// The target t of classifier `classifier` in row `b`.
fn target(
    s: &Store,
    id: TensorId,
    predictions: Predictions,
    loss: Loss,
    b: usize,
    classifier: usize,
) -> Vec<f64> {
    let width = predictions.classes as f64;
    match loss {
        Loss::CrossEntropy { smoothing } => {
            let label = s.whole(id)[b] as usize;
            let one_hot = (0..predictions.classes).map(|k| f64::from(k == label));
            one_hot.map(|hit| (1.0 - smoothing) * hit + smoothing / width).collect()
        }
        Loss::Binary { one_vs_all, smoothing } => {
            let positive_label = if one_vs_all { classifier } else { 1 };
            let hit = f64::from(s.whole(id)[b] as usize == positive_label);
            vec![(1.0 - smoothing) * hit + smoothing / 2.0]
        }
        Loss::MeanSquared => {
            let start = (b * predictions.classifiers + classifier) * predictions.classes;
            s.real(id)[start..start + predictions.classes].to_vec()
        }
    }
}

/// p, from z.
fn output(loss: Loss, z: &[f64]) -> Vec<f64> {
    match loss {
        Loss::CrossEntropy { .. } => softmax_of(z),
        Loss::Binary { .. } => z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect(),
        Loss::MeanSquared => z.to_vec(),
    }
}

/// ℓ(z, t).
fn loss_of(loss: Loss, z: &[f64], t: &[f64]) -> f64 {
    match loss {
        Loss::CrossEntropy { .. } => {
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_total = largest + z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
            -z.iter().zip(t).map(|(z, t)| t * (z - log_total)).sum::<f64>()
        }
        // log(1 + e^z) = max(z, 0) + log(1 + e^−|z|), which does not overflow.
        Loss::Binary { .. } => z[0].max(0.0) + (-z[0].abs()).exp().ln_1p() - t[0] * z[0],
        Loss::MeanSquared => {
            z.iter().zip(t).map(|(z, t)| (z - t).powi(2)).sum::<f64>() / z.len() as f64
        }
    }
}

/// The factor on the loss of row `b`.
fn weight(s: &Store, target: TensorId, weights: Option<TensorId>, b: usize) -> f64 {
    weights.map_or(1.0, |weights| s.real(weights)[s.whole(target)[b] as usize])
}

/// Outputs and losses of all workers.
impl Execute for WorkerLoss {
    fn execute(&self, s: &mut Store) {
        let (mut outputs, mut losses) = (Vec::new(), Vec::new());
        for b in 0..s.batch(self.z) {
            for classifier in 0..self.predictions.classifiers {
                let t = target(s, self.target, self.predictions, self.loss, b, classifier);
                for worker in 0..self.predictions.workers {
                    let z = prediction(s.real(self.z), self.predictions, b, classifier, worker);
                    outputs.extend(output(self.loss, z));
                    losses
                        .push(weight(s, self.target, self.weights, b) * loss_of(self.loss, z, &t));
                }
            }
        }
        s.set_real(self.output, outputs);
        s.set_real(self.losses, losses);
    }
}

/// Means over the batch; the first that is not finite stays.
impl Execute for MeanWorkerLoss {
    fn execute(&self, s: &mut Store) {
        let [batch, predictors] = s.matrix(self.losses);
        let losses = s.real(self.losses);
        let mean: Vec<f64> = (0..predictors)
            .map(|n| (0..batch).map(|b| losses[b * predictors + n]).sum::<f64>() / batch as f64)
            .collect();
        let found = mean.iter().position(|mean| !mean.is_finite()).map_or(0, |n| n as u32 + 1);
        let before = s.whole(self.nonfinite)[0];
        s.set_whole(self.nonfinite, vec![if before == 0 { found } else { before }]);
        s.set_real(self.mean, mean);
    }
}

/// Which workers lead in each row of the batch and each classifier, from a mask of one row or of all.
fn leads(
    s: &Store,
    leaders: TensorId,
    predictions: Predictions,
    b: usize,
    classifier: usize,
) -> Vec<bool> {
    let row = if s.batch(leaders) == 1 { 0 } else { b };
    let start = row * predictions.predictors() + classifier * predictions.workers;
    s.real(leaders)[start..start + predictions.workers].iter().map(|&leads| leads != 0.0).collect()
}

/// What a worker's loss is multiplied with: 1, or 1 / (workers of its role).
fn share(reduction: Reduction, roles: &[bool], role: bool) -> f64 {
    match reduction {
        Reduction::Sum => 1.0,
        Reduction::Mean => 1.0 / roles.iter().filter(|&&other| other == role).count() as f64,
    }
}

/// Gradient of ℓ(z, t) with respect to z.
fn slope(loss: Loss, z: &[f64], p: &[f64], t: &[f64]) -> Vec<f64> {
    match loss {
        Loss::MeanSquared => {
            z.iter().zip(t).map(|(value, t)| 2.0 * (value - t) / z.len() as f64).collect()
        }
        // dℓ/dz is p − t for both cross-entropies, since Σ t = 1.
        _ => p.iter().zip(t).map(|(p, t)| p - t).collect(),
    }
}

/// The gradient of all workers' losses with respect to the logits.
impl Execute for LossGradient {
    fn execute(&self, s: &mut Store) {
        let (batch, predictions) = (s.batch(self.z), self.predictions);
        let roles = vec![true; predictions.workers];
        let factor = share(self.reduction, &roles, true) / batch as f64;
        let mut dz = Vec::new();
        for b in 0..batch {
            for classifier in 0..predictions.classifiers {
                let t = target(s, self.target, predictions, self.loss, b, classifier);
                for worker in 0..predictions.workers {
                    let z = prediction(s.real(self.z), predictions, b, classifier, worker);
                    let p = prediction(s.real(self.output), predictions, b, classifier, worker);
                    let factor = factor * weight(s, self.target, self.weights, b);
                    dz.extend(slope(self.loss, z, p, &t).iter().map(|slope| factor * slope));
                }
            }
        }
        s.set_real(self.dz, dz);
    }
}

/// The gradient of a local loss with respect to the logits.
impl Execute for LocalLossGradient {
    fn execute(&self, s: &mut Store) {
        let (batch, predictions) = (s.batch(self.z), self.predictions);
        let mut dz = Vec::new();
        for b in 0..batch {
            for classifier in 0..predictions.classifiers {
                let t = target(s, self.target, predictions, self.worker_loss, b, classifier);
                let roles = leads(s, self.leaders, predictions, b, classifier);
                let start = (b * predictions.classifiers + classifier) * predictions.classes;
                let aim = &s.real(self.reference)[start..start + predictions.classes];
                for (worker, &role) in roles.iter().enumerate() {
                    let z = prediction(s.real(self.z), predictions, b, classifier, worker);
                    let p = prediction(s.real(self.output), predictions, b, classifier, worker);
                    let of_class = weight(s, self.target, self.weights, b);
                    let slope_of_labels = || {
                        let slope = slope(self.worker_loss, z, p, &t);
                        slope.into_iter().map(|slope| of_class * slope).collect::<Vec<f64>>()
                    };
                    let (weight, slope) = if role {
                        (self.loss.leader, slope_of_labels())
                    } else {
                        let FollowerLoss { align, labels } = self.follower;
                        let imitated = alignment_slope(self.worker_loss, align, z, p, aim);
                        let learned = slope_of_labels();
                        let mixed = imitated.iter().zip(learned);
                        let mixed = mixed.map(|(d, l)| (1.0 - labels) * d + labels * l);
                        (self.loss.follower, mixed.collect())
                    };
                    let factor = weight * share(self.reduction, &roles, role) / batch as f64;
                    dz.extend(slope.iter().map(|slope| factor * slope));
                }
            }
        }
        s.set_real(self.dz, dz);
    }
}

/// `softmax(z / T)`; of one logit the probabilities of its class and of the other.
fn softened(z: &[f64], temperature: f64) -> Vec<f64> {
    let mut z = z.to_vec();
    if z.len() == 1 {
        z.push(0.0);
    }
    let powers: Vec<f64> = z.iter().map(|z| (z / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// `d(leader, own)`.
fn distance(align: Align, aim: &[f64], own: &[f64]) -> f64 {
    let Align::Kl(Temperature { temperature }) = align else {
        return loss_of(Loss::MeanSquared, own, aim);
    };
    let (q_star, q) = (softened(aim, temperature), softened(own, temperature));
    let sum: f64 = q_star.iter().zip(&q).map(|(q_star, q)| q_star * (q_star / q).ln()).sum();
    temperature * temperature * sum
}

/// Gradient of `d(leader, own)` with respect to z.
fn alignment_slope(loss: Loss, align: Align, z: &[f64], p: &[f64], aim: &[f64]) -> Vec<f64> {
    if let Align::Kl(Temperature { temperature }) = align {
        let (q_star, q) = (softened(aim, temperature), softened(z, temperature));
        let slope = q.iter().zip(&q_star).map(|(q, q_star)| temperature * (q - q_star));
        return slope.take(z.len()).collect();
    }
    let value = if align == Align::Output { p } else { z };
    let slope: Vec<f64> =
        value.iter().zip(aim).map(|(v, aim)| 2.0 * (v - aim) / z.len() as f64).collect();
    match (align, loss) {
        (Align::Logits | Align::Kl(_), _) | (_, Loss::MeanSquared) => slope,
        (Align::Output, Loss::CrossEntropy { .. }) => softmax_grad_of(p, &slope),
        (Align::Output, Loss::Binary { .. }) => vec![slope[0] * p[0] * (1.0 - p[0])],
    }
}

/// `L^δ` and `L^δ̄`.
impl Execute for LocalLosses {
    fn execute(&self, s: &mut Store) {
        let (batch, predictions) = (s.batch(self.value), self.predictions);
        let mut losses = vec![0.0; 2];
        for b in 0..batch {
            for classifier in 0..predictions.classifiers {
                let roles = leads(s, self.leaders, predictions, b, classifier);
                let start = (b * predictions.classifiers + classifier) * predictions.classes;
                let aim = &s.real(self.reference)[start..start + predictions.classes];
                for (worker, &role) in roles.iter().enumerate() {
                    let factor = share(self.reduction, &roles, role) / batch as f64;
                    let n = classifier * predictions.workers + worker;
                    let loss = s.real(self.worker_losses)[b * predictions.predictors() + n];
                    if role {
                        losses[0] += factor * loss;
                    } else {
                        let value =
                            prediction(s.real(self.value), predictions, b, classifier, worker);
                        let FollowerLoss { align, labels } = self.follower;
                        let imitated = distance(align, aim, value);
                        losses[1] += factor * ((1.0 - labels) * imitated + labels * loss);
                    }
                }
            }
        }
        s.set_real(self.losses, losses);
    }
}
