//! Softmax of every worker, and the logits of filter workers.

use super::Execute;
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
impl Execute for Softmax {
    fn execute(&self, s: &mut Store) {
        let y = s.real(self.x).chunks(self.width).flat_map(softmax_of).collect();
        s.set_real(self.y, y);
    }
}

/// The Jacobian of softmax, applied to each run.
impl Execute for SoftmaxGrad {
    fn execute(&self, s: &mut Store) {
        let runs = s.real(self.y).chunks(self.width).zip(s.real(self.dy).chunks(self.width));
        let dx = runs.flat_map(|(y, dy)| softmax_grad_of(y, dy)).collect();
        s.set_real(self.dx, dx);
    }
}

/// The logit, `worker · width + class`, for which a channel speaks.
fn logit_of(channel: usize, channels: usize, workers: usize, width: usize) -> usize {
    let owned = channels / workers;
    let (worker, within) = (channel / owned, channel % owned);
    worker * width + within % width
}

/// `z[b, n, c] = scale · mean over space and over the channels of worker n and class c`.
impl Execute for FilterLogits {
    fn execute(&self, s: &mut Store) {
        let image = s.image(self.x);
        let [batch, height, width, channels] = image;
        let logits = self.workers * self.width;
        let averaged = (height * width * (channels / logits)) as f64;
        let mut z = vec![0.0; batch * logits];
        for index in indices(image) {
            let logit = logit_of(index[3], channels, self.workers, self.width);
            z[index[0] * logits + logit] +=
                self.scale * s.real(self.x)[at(image, index)] / averaged;
        }
        s.set_real(self.z, z);
    }
}

/// `dx[b, y, x, j] = scale / (number averaged) · dz[b, logit of j]`.
impl Execute for FilterLogitsGrad {
    fn execute(&self, s: &mut Store) {
        let image = s.image(self.dx);
        let [_, height, width, channels] = image;
        let logits = self.workers * self.width;
        let averaged = (height * width * (channels / logits)) as f64;
        let dz = s.real(self.dz);
        let dx = indices(image)
            .map(|[b, _, _, channel]| {
                let logit = logit_of(channel, channels, self.workers, self.width);
                self.scale / averaged * dz[b * logits + logit]
            })
            .collect();
        s.set_real(self.dx, dx);
    }
}
