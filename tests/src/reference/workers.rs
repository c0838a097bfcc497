//! Softmax of every worker, and the logits of filter workers.

use super::store::{Store, at, indices};
use lfnn_core::program::{FilterLogits, FilterLogitsGrad, Softmax, SoftmaxGrad};

/// `p_k = e^{z_k} / Σ_j e^{z_j}`, after taking the largest from every exponent.
pub(super) fn softmax_of(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = z.iter().map(|&z| (z - largest).exp()).sum();
    z.iter().map(|&z| (z - largest).exp() / total).collect()
}

/// `dx = y ∘ (dy − Σ y dy)`.
pub(super) fn softmax_grad_of(y: &[f64], dy: &[f64]) -> Vec<f64> {
    let dot: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
    y.iter().zip(dy).map(|(y, dy)| y * (dy - dot)).collect()
}

/// Softmax of each run.
pub(super) fn softmax(op: &Softmax, s: &mut Store) {
    let y = s.real(op.x).chunks(op.width).flat_map(softmax_of).collect();
    s.set_real(op.y, y);
}

/// The Jacobian of softmax, applied to each run.
pub(super) fn softmax_grad(op: &SoftmaxGrad, s: &mut Store) {
    let runs = s.real(op.y).chunks(op.width).zip(s.real(op.dy).chunks(op.width));
    let dx = runs.flat_map(|(y, dy)| softmax_grad_of(y, dy)).collect();
    s.set_real(op.dx, dx);
}

/// The logit, `worker · width + class`, for which a channel speaks.
fn logit_of(channel: usize, channels: usize, workers: usize, width: usize) -> usize {
    let owned = channels / workers;
    let (worker, within) = (channel / owned, channel % owned);
    worker * width + within % width
}

/// `z[b, n, c] = scale · mean over space and over the channels of worker n and class c`.
pub(super) fn filter_logits(op: &FilterLogits, s: &mut Store) {
    let image = s.image(op.x);
    let [batch, height, width, channels] = image;
    let logits = op.workers * op.width;
    let averaged = (height * width * (channels / logits)) as f64;
    let mut z = vec![0.0; batch * logits];
    for index in indices(image) {
        let logit = logit_of(index[3], channels, op.workers, op.width);
        z[index[0] * logits + logit] += op.scale * s.real(op.x)[at(image, index)] / averaged;
    }
    s.set_real(op.z, z);
}

/// `dx[b, y, x, j] = scale / (number averaged) · dz[b, logit of j]`.
pub(super) fn filter_logits_grad(op: &FilterLogitsGrad, s: &mut Store) {
    let image = s.image(op.dx);
    let [_, height, width, channels] = image;
    let logits = op.workers * op.width;
    let averaged = (height * width * (channels / logits)) as f64;
    let dz = s.real(op.dz);
    let dx = indices(image)
        .map(|[b, _, _, channel]| {
            let logit = logit_of(channel, channels, op.workers, op.width);
            op.scale / averaged * dz[b * logits + logit]
        })
        .collect();
    s.set_real(op.dx, dx);
}
