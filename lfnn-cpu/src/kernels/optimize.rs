//! Optimiser steps: one pass over each parameter and its state.

use lfnn_core::program::step_counter;
use rayon::prelude::*;

use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{CHUNK, Kernel, ScratchSize, Workspace, kernel};

vectorized! {
    fn sum_of_squares(x: &[f32]) -> f64 {
        // Sixteen sums side by side.
        let mut sums = [0.0f64; 16];
        for x in x.chunks(16) {
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        sums.iter().sum()
    }

    fn sgd(w: &mut [f32], g: &[f32], factor: f32, decay: f32, rate: f32) {
        for (w, g) in w.iter_mut().zip(g) {
            *w -= rate * (factor * g + decay * *w);
        }
    }

    fn sgd_momentum(
        w: &mut [f32],
        m: &mut [f32],
        g: &[f32],
        factor: f32,
        decay: f32,
        rate: f32,
        momentum: f32,
    ) {
        for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
            *m = momentum * *m + (factor * g + decay * *w);
            *w -= rate * *m;
        }
    }

    fn sgd_nesterov(
        w: &mut [f32],
        m: &mut [f32],
        g: &[f32],
        factor: f32,
        decay: f32,
        rate: f32,
        momentum: f32,
    ) {
        for ((w, m), g) in w.iter_mut().zip(m).zip(g) {
            let g = factor * g + decay * *w;
            *m = momentum * *m + g;
            *w -= rate * (g + momentum * *m);
        }
    }

    fn adam(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], c: &Coefficients) {
        for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let kept = *w * c.keep;
            let g = c.factor * g + c.decay * *w;
            *m = c.betas[0] * *m + c.rest[0] * g;
            *v = c.betas[1] * *v + c.rest[1] * (g * g);
            *w = kept - c.rate * (*m / ((*v * c.second).sqrt() + c.epsilon));
        }
    }
}

/// The coefficients of one step of Adam.
struct Coefficients {
    /// Clips the gradient.
    factor: f32,
    /// Coupled weight decay.
    decay: f32,
    /// What decoupled weight decay leaves of a parameter.
    keep: f32,
    betas: [f32; 2],
    /// 1 − β.
    rest: [f32; 2],
    /// The learning rate, and the correction of m.
    rate: f32,
    /// The correction of v.
    second: f32,
    epsilon: f32,
}

/// The learning rate of this step.
fn rate(rates: &[f32], now: &[u32]) -> f64 {
    f64::from(rates[(now[step_counter::STEP] as usize).min(rates.len() - 1)])
}

kernel! {
    ClipFactor { gradients: Vec<Input<f32>>, factor: Output<f32> }
    with |op, bind| { max_norm: f64 = op.max_norm }
}

impl Kernel for ClipFactor {
    fn scratch_size(&self) -> ScratchSize {
        let chunks =
            self.gradients.iter().map(|gradient| gradient.get().len().div_ceil(CHUNK)).max();
        // A double for each chunk.
        ScratchSize::shared(2 * chunks.unwrap_or(0)).with_table(&self.gradients)
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let mut total = 0.0;
        for gradient in &self.gradients {
            let gradient = gradient.get();
            let parts = &mut work.shared[..2 * gradient.len().div_ceil(CHUNK)];
            let chunks = parts.par_chunks_exact_mut(2).zip(gradient.par_chunks(CHUNK));
            chunks.for_each(|(part, chunk)| {
                let bits = sum_of_squares(chunk).to_bits();
                part[0] = f32::from_bits(bits as u32);
                part[1] = f32::from_bits((bits >> 32) as u32);
            });
            for part in parts.chunks_exact(2) {
                let (low, high) = (part[0].to_bits(), part[1].to_bits());
                total += f64::from_bits(u64::from(low) | u64::from(high) << 32);
            }
        }
        self.factor.get()[0] = (self.max_norm / (total.sqrt() + 1e-6)).min(1.0) as f32;
    }
}

kernel! {
    SgdStep {
        gradient: Input<f32>,
        rates: Input<f32>,
        counter: Input<u32>,
        factor: Option<Input<f32>>,
        parameter: Output<f32>,
        velocity: Option<Output<f32>>,
    }
    with |op, bind| {
        momentum: f64 = op.momentum,
        nesterov: bool = op.nesterov,
        weight_decay: f64 = op.weight_decay,
    }
}

impl Kernel for SgdStep {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let rate = rate(self.rates.get(), self.counter.get()) as f32;
        let factor = self.factor.as_ref().map_or(1.0, |factor| factor.get()[0]);
        let (decay, momentum) = (self.weight_decay as f32, self.momentum as f32);
        let kernel = if self.nesterov { sgd_nesterov } else { sgd_momentum };
        let gradient = self.gradient.get().par_chunks(CHUNK);
        let parameter = self.parameter.get().par_chunks_mut(CHUNK).zip(gradient);
        match &mut self.velocity {
            None => parameter.for_each(|(w, g)| sgd(w, g, factor, decay, rate)),
            Some(velocity) => {
                let velocity = velocity.get().par_chunks_mut(CHUNK);
                parameter.zip(velocity).for_each(|((w, g), m)| {
                    kernel(w, m, g, factor, decay, rate, momentum);
                });
            }
        }
    }
}

kernel! {
    AdamStep {
        gradient: Input<f32>,
        rates: Input<f32>,
        counter: Input<u32>,
        factor: Option<Input<f32>>,
        parameter: Output<f32>,
        first: Output<f32>,
        second: Output<f32>,
    }
    with |op, bind| {
        betas: [f64; 2] = op.betas,
        epsilon: f64 = op.epsilon,
        weight_decay: f64 = op.weight_decay,
        decoupled: bool = op.decoupled,
    }
}

impl Kernel for AdamStep {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let now = self.counter.get();
        let rate = rate(self.rates.get(), now);
        let time = f64::from(now[step_counter::TIME]) + 1.0;
        let correction = |beta: f64| 1.0 - beta.powf(time);
        let [first, second] = self.betas;
        let c = Coefficients {
            factor: self.factor.as_ref().map_or(1.0, |factor| factor.get()[0]),
            decay: if self.decoupled { 0.0 } else { self.weight_decay as f32 },
            keep: if self.decoupled { (1.0 - rate * self.weight_decay) as f32 } else { 1.0 },
            betas: [first as f32, second as f32],
            rest: [(1.0 - first) as f32, (1.0 - second) as f32],
            rate: (rate / correction(first)) as f32,
            second: (1.0 / correction(second)) as f32,
            epsilon: self.epsilon as f32,
        };
        let state = self.first.get().par_chunks_mut(CHUNK);
        let state = state.zip(self.second.get().par_chunks_mut(CHUNK));
        let gradient = self.gradient.get().par_chunks(CHUNK);
        let parameter = self.parameter.get().par_chunks_mut(CHUNK).zip(gradient);
        parameter.zip(state).for_each(|((w, g), (m, v))| adam(w, m, v, g, &c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesterov_looks_ahead() {
        let (mut w, mut m) = ([1.0], [2.0]);
        sgd_momentum(&mut w, &mut m, &[4.0], 0.5, 1.0, 0.1, 0.5);
        assert_eq!((w, m), ([0.6], [4.0]));
        let (mut w, mut m) = ([1.0], [2.0]);
        sgd_nesterov(&mut w, &mut m, &[4.0], 0.5, 1.0, 0.1, 0.5);
        assert_eq!((w, m), ([0.5], [4.0]));
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate() {
        let (mut w, mut m, mut v) = ([1.0], [0.0], [0.0]);
        let c = Coefficients {
            factor: 1.0,
            decay: 0.0,
            keep: 1.0,
            betas: [0.9, 0.999],
            rest: [0.1, 0.001],
            rate: 0.5 / 0.1,
            second: 1.0 / 0.001,
            epsilon: 0.0,
        };
        adam(&mut w, &mut m, &mut v, &[3.0], &c);
        assert!((w[0] - 0.5).abs() < 1e-5, "{w:?}");
    }
}
