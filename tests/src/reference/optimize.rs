//! Optimiser steps, element by element.

use super::store::Store;
use lfnn_core::program::{AdamStep, ClipFactor, SgdStep, TensorId, clock};

/// `min(1, max_norm / (‖g‖₂ + 10⁻⁶))`.
pub(super) fn clip_factor(op: &ClipFactor, s: &mut Store) {
    let squares: f64 =
        op.gradients.iter().flat_map(|&id| s.real(id)).map(|gradient| gradient * gradient).sum();
    s.set_real(op.factor, vec![(op.max_norm / (squares.sqrt() + 1e-6)).min(1.0)]);
}

/// Entry `step` of the table, or the last.
fn rate(s: &Store, rates: TensorId, clock: TensorId) -> f64 {
    let step = s.whole(clock)[clock::STEP] as usize;
    *s.real(rates).get(step).or(s.real(rates).last()).unwrap()
}

fn factor(s: &Store, factor: Option<TensorId>) -> f64 {
    factor.map_or(1.0, |id| s.real(id)[0])
}

/// Stochastic gradient descent.
pub(super) fn sgd(op: &SgdStep, s: &mut Store) {
    let rate = rate(s, op.rates, op.clock);
    let factor = factor(s, op.factor);
    let mut parameter = s.real(op.parameter).to_vec();
    let mut velocity =
        op.velocity.map_or(vec![0.0; parameter.len()], |velocity| s.real(velocity).to_vec());
    for i in 0..parameter.len() {
        let g = factor * s.real(op.gradient)[i] + op.weight_decay * parameter[i];
        velocity[i] = op.momentum * velocity[i] + g;
        let step = if op.nesterov { g + op.momentum * velocity[i] } else { velocity[i] };
        parameter[i] -= rate * step;
    }
    s.set_real(op.parameter, parameter);
    if let Some(id) = op.velocity {
        s.set_real(id, velocity);
    }
}

/// Adam and AdamW.
pub(super) fn adam(op: &AdamStep, s: &mut Store) {
    let rate = rate(s, op.rates, op.clock);
    let factor = factor(s, op.factor);
    let t = f64::from(s.whole(op.clock)[clock::TIME]) + 1.0;
    let [beta1, beta2] = op.betas;
    let mut w = s.real(op.parameter).to_vec();
    let mut m = s.real(op.first).to_vec();
    let mut v = s.real(op.second).to_vec();
    for i in 0..w.len() {
        let mut g = factor * s.real(op.gradient)[i];
        if op.decoupled {
            w[i] *= 1.0 - rate * op.weight_decay;
        } else {
            g += op.weight_decay * w[i];
        }
        m[i] = beta1 * m[i] + (1.0 - beta1) * g;
        v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
        let unbiased_m = m[i] / (1.0 - beta1.powf(t));
        let unbiased_v = v[i] / (1.0 - beta2.powf(t));
        w[i] -= rate * unbiased_m / (unbiased_v.sqrt() + op.epsilon);
    }
    s.set_real(op.parameter, w);
    s.set_real(op.first, m);
    s.set_real(op.second, v);
}
