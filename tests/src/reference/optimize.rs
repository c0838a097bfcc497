//! Optimiser steps, element by element.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{AdamStep, ClipFactor, SgdStep, TensorId, step_counter};

/// `min(1, max_norm / (‖g‖₂ + 10⁻⁶))`.
impl Execute for ClipFactor {
    fn execute(&self, s: &mut Store) {
        let squares: f64 = self
            .gradients
            .iter()
            .flat_map(|&id| s.real(id))
            .map(|gradient| gradient * gradient)
            .sum();
        s.set_real(self.factor, vec![(self.max_norm / (squares.sqrt() + 1e-6)).min(1.0)]);
    }
}

/// Entry `step` of the table, or the last.
fn rate(s: &Store, rates: TensorId, counter: TensorId) -> f64 {
    let step = s.whole(counter)[step_counter::STEP] as usize;
    *s.real(rates).get(step).or(s.real(rates).last()).unwrap()
}

fn factor(s: &Store, factor: Option<TensorId>) -> f64 {
    factor.map_or(1.0, |id| s.real(id)[0])
}

/// Stochastic gradient descent.
impl Execute for SgdStep {
    fn execute(&self, s: &mut Store) {
        let rate = rate(s, self.rates, self.counter);
        let factor = factor(s, self.factor);
        let mut parameter = s.real(self.parameter).to_vec();
        let mut velocity =
            self.velocity.map_or(vec![0.0; parameter.len()], |velocity| s.real(velocity).to_vec());
        for i in 0..parameter.len() {
            let g = factor * s.real(self.gradient)[i] + self.weight_decay * parameter[i];
            velocity[i] = self.momentum * velocity[i] + g;
            let step = if self.nesterov { g + self.momentum * velocity[i] } else { velocity[i] };
            parameter[i] -= rate * step;
        }
        s.set_real(self.parameter, parameter);
        if let Some(id) = self.velocity {
            s.set_real(id, velocity);
        }
    }
}

/// Adam and AdamW.
impl Execute for AdamStep {
    fn execute(&self, s: &mut Store) {
        let rate = rate(s, self.rates, self.counter);
        let factor = factor(s, self.factor);
        let t = f64::from(s.whole(self.counter)[step_counter::TIME]) + 1.0;
        let [beta1, beta2] = self.betas;
        let mut w = s.real(self.parameter).to_vec();
        let mut m = s.real(self.first).to_vec();
        let mut v = s.real(self.second).to_vec();
        for i in 0..w.len() {
            let mut g = factor * s.real(self.gradient)[i];
            if self.decoupled {
                w[i] *= 1.0 - rate * self.weight_decay;
            } else {
                g += self.weight_decay * w[i];
            }
            m[i] = beta1 * m[i] + (1.0 - beta1) * g;
            v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
            let unbiased_m = m[i] / (1.0 - beta1.powf(t));
            let unbiased_v = v[i] / (1.0 - beta2.powf(t));
            w[i] -= rate * unbiased_m / (unbiased_v.sqrt() + self.epsilon);
        }
        s.set_real(self.parameter, w);
        s.set_real(self.first, m);
        s.set_real(self.second, v);
    }
}
