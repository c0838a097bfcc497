//! Optimisers and learning-rate schedules.

mod schedule;

pub use schedule::learning_rate;

use crate::config::{OptimizerConfig, TrainingConfig};
use crate::network::Network;
use crate::program::{AdamStep, ClipFactor, DType, Part, Role, SgdStep, TensorId};
use crate::step::StepBuilder;

/// Writes optimiser steps, and declares the state that they need.
#[derive(Clone, Copy, Debug)]
pub struct Optimizer<'a> {
    config: &'a OptimizerConfig,
    clip_norm: Option<f64>,
    network: &'a Network,
    rates: Rates,
}

/// Where the learning rates of an epoch's steps are, `[steps]`.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Those of the hidden units.
    pub units: TensorId,
    /// Those of the output layer.
    pub output: TensorId,
}

impl<'a> Optimizer<'a> {
    /// The optimiser of a training configuration.
    pub fn new(training: &'a TrainingConfig, network: &'a Network, rates: Rates) -> Self {
        Self { config: &training.optimizer, clip_norm: training.clip_norm, network, rates }
    }

    fn rates_of(&self, parameter: TensorId) -> TensorId {
        // The output layer's are the last.
        let parameters = self.network.parameters().iter().rev();
        let mut of_output = parameters.take_while(|own| own.part == Part::Output);
        if of_output.any(|own| own.id == parameter) { self.rates.output } else { self.rates.units }
    }

    /// Whether gradients are clipped by their norm.
    pub fn clips(&self) -> bool {
        self.clip_norm.is_some()
    }

    /// Writes one step on each pair of a parameter and its gradient; clipping treats them as one
    /// vector.
    pub fn write(&mut self, step: &mut StepBuilder<'_>, group: &[(TensorId, TensorId)]) {
        if group.is_empty() {
            return;
        }
        let factor = self.clip_norm.map(|max_norm| {
            let factor = step.vector("clip_factor", 1);
            let gradients = group.iter().map(|&(_, gradient)| gradient).collect();
            step.push(ClipFactor { gradients, factor, max_norm });
            factor
        });
        for &(parameter, gradient) in group {
            self.write_one(step, parameter, gradient, factor);
        }
    }

    fn write_one(
        &self,
        step: &mut StepBuilder<'_>,
        parameter: TensorId,
        gradient: TensorId,
        factor: Option<TensorId>,
    ) {
        let (rates, counter) = (self.rates_of(parameter), step.counter());
        let mut state = |name: &str| {
            let shape = step.shape(parameter).to_vec();
            let name = format!("{}.{name}", step.name_of(parameter));
            step.declare(Role::Optimizer, &name, DType::Real, &shape)
        };
        match *self.config {
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay, .. } => {
                let velocity = (momentum != 0.0).then(|| state("velocity"));
                step.push(SgdStep {
                    gradient,
                    rates,
                    counter,
                    factor,
                    parameter,
                    velocity,
                    momentum,
                    nesterov,
                    weight_decay,
                });
            }
            OptimizerConfig::Adam(config) | OptimizerConfig::Adamw(config) => {
                let (first, second) = (state("first_moment"), state("second_moment"));
                step.push(AdamStep {
                    gradient,
                    rates,
                    counter,
                    factor,
                    parameter,
                    first,
                    second,
                    betas: config.betas,
                    epsilon: config.epsilon,
                    weight_decay: config.weight_decay,
                    decoupled: matches!(self.config, OptimizerConfig::Adamw(_)),
                });
            }
        }
    }
}
