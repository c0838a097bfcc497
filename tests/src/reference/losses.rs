//! Losses of workers, the losses that are minimised, and their gradients.

use super::store::Store;
use super::workers::{softmax_grad_of, softmax_of};
use lfnn_core::program::{
    Align, LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss, Predictions,
    Reduction, TensorId, WorkerLoss,
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

/// Outputs and losses of all workers.
pub(super) fn worker_loss(op: &WorkerLoss, s: &mut Store) {
    let (mut outputs, mut losses) = (Vec::new(), Vec::new());
    for b in 0..s.batch(op.z) {
        for classifier in 0..op.predictions.classifiers {
            let t = target(s, op.target, op.predictions, op.loss, b, classifier);
            for worker in 0..op.predictions.workers {
                let z = prediction(s.real(op.z), op.predictions, b, classifier, worker);
                outputs.extend(output(op.loss, z));
                losses.push(loss_of(op.loss, z, &t));
            }
        }
    }
    s.set_real(op.output, outputs);
    s.set_real(op.losses, losses);
}

/// Means over the batch; the first that is not finite stays.
pub(super) fn mean_worker_loss(op: &MeanWorkerLoss, s: &mut Store) {
    let [batch, predictors] = s.matrix(op.losses);
    let losses = s.real(op.losses);
    let mean: Vec<f64> = (0..predictors)
        .map(|n| (0..batch).map(|b| losses[b * predictors + n]).sum::<f64>() / batch as f64)
        .collect();
    let found = mean.iter().position(|mean| !mean.is_finite()).map_or(0, |n| n as u32 + 1);
    let before = s.whole(op.nonfinite)[0];
    s.set_whole(op.nonfinite, vec![if before == 0 { found } else { before }]);
    s.set_real(op.mean, mean);
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
pub(super) fn loss_gradient(op: &LossGradient, s: &mut Store) {
    let (batch, predictions) = (s.batch(op.z), op.predictions);
    let roles = vec![true; predictions.workers];
    let factor = share(op.reduction, &roles, true) / batch as f64;
    let mut dz = Vec::new();
    for b in 0..batch {
        for classifier in 0..predictions.classifiers {
            let t = target(s, op.target, predictions, op.loss, b, classifier);
            for worker in 0..predictions.workers {
                let z = prediction(s.real(op.z), predictions, b, classifier, worker);
                let p = prediction(s.real(op.output), predictions, b, classifier, worker);
                dz.extend(slope(op.loss, z, p, &t).iter().map(|slope| factor * slope));
            }
        }
    }
    s.set_real(op.dz, dz);
}

/// The gradient of a local loss with respect to the logits.
pub(super) fn local_loss_gradient(op: &LocalLossGradient, s: &mut Store) {
    let (batch, predictions) = (s.batch(op.z), op.predictions);
    let mut dz = Vec::new();
    for b in 0..batch {
        for classifier in 0..predictions.classifiers {
            let t = target(s, op.target, predictions, op.worker_loss, b, classifier);
            let roles = leads(s, op.leaders, predictions, b, classifier);
            let start = (b * predictions.classifiers + classifier) * predictions.classes;
            let aim = &s.real(op.reference)[start..start + predictions.classes];
            for (worker, &role) in roles.iter().enumerate() {
                let z = prediction(s.real(op.z), predictions, b, classifier, worker);
                let p = prediction(s.real(op.output), predictions, b, classifier, worker);
                let (weight, slope) = if role {
                    (op.loss.leader, slope(op.worker_loss, z, p, &t))
                } else {
                    (op.loss.follower, alignment_slope(op.worker_loss, op.align, z, p, aim))
                };
                let factor = weight * share(op.reduction, &roles, role) / batch as f64;
                dz.extend(slope.iter().map(|slope| factor * slope));
            }
        }
    }
    s.set_real(op.dz, dz);
}

/// Gradient of `mean_c (p*[c] − p[c])²` with respect to z (or of `mean_c (z*[c] − z[c])²`).
fn alignment_slope(loss: Loss, align: Align, z: &[f64], p: &[f64], aim: &[f64]) -> Vec<f64> {
    let value = if align == Align::Output { p } else { z };
    let slope: Vec<f64> =
        value.iter().zip(aim).map(|(v, aim)| 2.0 * (v - aim) / z.len() as f64).collect();
    match (align, loss) {
        (Align::Logits, _) | (_, Loss::MeanSquared) => slope,
        (Align::Output, Loss::CrossEntropy { .. }) => softmax_grad_of(p, &slope),
        (Align::Output, Loss::Binary { .. }) => vec![slope[0] * p[0] * (1.0 - p[0])],
    }
}

/// `L^δ` and `L^δ̄`.
pub(super) fn local_losses(op: &LocalLosses, s: &mut Store) {
    let (batch, predictions) = (s.batch(op.value), op.predictions);
    let mut losses = vec![0.0; 2];
    for b in 0..batch {
        for classifier in 0..predictions.classifiers {
            let roles = leads(s, op.leaders, predictions, b, classifier);
            let start = (b * predictions.classifiers + classifier) * predictions.classes;
            let aim = &s.real(op.reference)[start..start + predictions.classes];
            for (worker, &role) in roles.iter().enumerate() {
                let factor = share(op.reduction, &roles, role) / batch as f64;
                if role {
                    let n = classifier * predictions.workers + worker;
                    losses[0] +=
                        factor * s.real(op.worker_losses)[b * predictions.predictors() + n];
                } else {
                    let value = prediction(s.real(op.value), predictions, b, classifier, worker);
                    losses[1] += factor * loss_of(Loss::MeanSquared, value, aim);
                }
            }
        }
    }
    s.set_real(op.losses, losses);
}
