//! Errors of workers, the local losses, and their gradient.

use super::store::Store;
use super::workers::{softmax_grad_of, softmax_of};
use lfnn_core::program::{
    Align, Heads, LocalGradient, LocalLosses, Loss, MeanErrors, Reduction, TensorId, WorkerErrors,
};

/// The elements of worker `worker` of net `net` in row `b`.
fn prediction(values: &[f64], heads: Heads, b: usize, net: usize, worker: usize) -> &[f64] {
    let start = ((b * heads.nets + net) * heads.workers + worker) * heads.width;
    &values[start..start + heads.width]
}

/// The target t of net `net` in row `b`.
fn target(s: &Store, id: TensorId, heads: Heads, loss: Loss, b: usize, net: usize) -> Vec<f64> {
    let width = heads.width as f64;
    match loss {
        Loss::CrossEntropy { smoothing } => {
            let label = s.whole(id)[b] as usize;
            let one_hot = (0..heads.width).map(|k| f64::from(k == label));
            one_hot.map(|hit| (1.0 - smoothing) * hit + smoothing / width).collect()
        }
        Loss::Binary { one_vs_all, smoothing } => {
            let positive_label = if one_vs_all { net } else { 1 };
            let hit = f64::from(s.whole(id)[b] as usize == positive_label);
            vec![(1.0 - smoothing) * hit + smoothing / 2.0]
        }
        Loss::MeanSquared => {
            let start = (b * heads.nets + net) * heads.width;
            s.real(id)[start..start + heads.width].to_vec()
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
fn error(loss: Loss, z: &[f64], t: &[f64]) -> f64 {
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

/// Outputs and errors of all workers.
pub(super) fn worker_errors(op: &WorkerErrors, s: &mut Store) {
    let (mut outputs, mut errors) = (Vec::new(), Vec::new());
    for b in 0..s.batch(op.z) {
        for net in 0..op.heads.nets {
            let t = target(s, op.target, op.heads, op.loss, b, net);
            for worker in 0..op.heads.workers {
                let z = prediction(s.real(op.z), op.heads, b, net, worker);
                outputs.extend(output(op.loss, z));
                errors.push(error(op.loss, z, &t));
            }
        }
    }
    s.set_real(op.output, outputs);
    s.set_real(op.errors, errors);
}

/// Means over the batch; the first fault stays.
pub(super) fn mean_errors(op: &MeanErrors, s: &mut Store) {
    let [batch, predictors] = s.matrix(op.errors);
    let errors = s.real(op.errors);
    let mean: Vec<f64> = (0..predictors)
        .map(|n| (0..batch).map(|b| errors[b * predictors + n]).sum::<f64>() / batch as f64)
        .collect();
    let found = mean.iter().position(|mean| !mean.is_finite()).map_or(0, |n| n as u32 + 1);
    let before = s.whole(op.fault)[0];
    s.set_whole(op.fault, vec![if before == 0 { found } else { before }]);
    s.set_real(op.mean, mean);
}

/// Which workers lead in each row of the batch and each net, from a mask of one row or of all.
fn leads(s: &Store, leaders: TensorId, heads: Heads, b: usize, net: usize) -> Vec<bool> {
    let row = if s.batch(leaders) == 1 { 0 } else { b };
    let start = row * heads.predictors() + net * heads.workers;
    s.real(leaders)[start..start + heads.workers].iter().map(|&leads| leads != 0.0).collect()
}

/// What a worker's loss is multiplied with: 1, or 1 / (workers of its role).
fn share(reduction: Reduction, roles: &[bool], role: bool) -> f64 {
    match reduction {
        Reduction::Sum => 1.0,
        Reduction::Mean => 1.0 / roles.iter().filter(|&&other| other == role).count() as f64,
    }
}

/// The gradient of the weighted local losses with respect to the logits.
pub(super) fn local_gradient(op: &LocalGradient, s: &mut Store) {
    let (batch, heads) = (s.batch(op.z), op.heads);
    let width = heads.width as f64;
    let mut dz = Vec::new();
    for b in 0..batch {
        for net in 0..heads.nets {
            let t = target(s, op.target, heads, op.loss, b, net);
            let roles = op
                .leaders
                .map_or(vec![true; heads.workers], |leaders| leads(s, leaders, heads, b, net));
            for (worker, &role) in roles.iter().enumerate() {
                let z = prediction(s.real(op.z), heads, b, net, worker);
                let p = prediction(s.real(op.output), heads, b, net, worker);
                let (weight, slope): (f64, Vec<f64>) = if role {
                    // dℓ/dz is p − t for both cross-entropies, since Σ t = 1.
                    let slope = match op.loss {
                        Loss::MeanSquared => {
                            z.iter().zip(&t).map(|(z, t)| 2.0 * (z - t) / width).collect()
                        }
                        _ => p.iter().zip(&t).map(|(p, t)| p - t).collect(),
                    };
                    (op.leader_weight, slope)
                } else {
                    let start = (b * heads.nets + net) * heads.width;
                    let aim = &s.real(op.reference.unwrap())[start..start + heads.width];
                    (op.follower_weight, alignment_slope(op.loss, op.align, z, p, aim))
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
    let (batch, heads) = (s.batch(op.value), op.heads);
    let mut losses = vec![0.0; 2];
    for b in 0..batch {
        for net in 0..heads.nets {
            let roles = leads(s, op.leaders, heads, b, net);
            let start = (b * heads.nets + net) * heads.width;
            let aim = &s.real(op.reference)[start..start + heads.width];
            for (worker, &role) in roles.iter().enumerate() {
                let factor = share(op.reduction, &roles, role) / batch as f64;
                if role {
                    let n = net * heads.workers + worker;
                    losses[0] += factor * s.real(op.errors)[b * heads.predictors() + n];
                } else {
                    let value = prediction(s.real(op.value), heads, b, net, worker);
                    losses[1] += factor * error(Loss::MeanSquared, value, aim);
                }
            }
        }
    }
    s.set_real(op.losses, losses);
}
