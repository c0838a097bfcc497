//! Batch normalisation.

use super::{Gradients, Init, Layer, NeedsGrad, ParameterSpec, Saved};
use crate::config::BatchNormConfig;
use crate::program::{BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, TensorId};
use crate::step::{Mode, StepBuilder};

/// Batch normalisation over every axis but the last.
#[derive(Debug)]
pub(super) struct BatchNormLayer {
    shape: Vec<usize>,
    config: BatchNormConfig,
}

impl BatchNormLayer {
    pub(super) fn new(input: &[usize], config: BatchNormConfig) -> Result<Self, String> {
        if !(config.epsilon > 0.0 && config.epsilon.is_finite()) {
            return Err(format!("an epsilon of {}, expected a number above 0", config.epsilon));
        }
        if !(0.0..=1.0).contains(&config.momentum) {
            return Err(format!("a momentum of {}, expected 0 to 1", config.momentum));
        }
        Ok(Self { shape: input.to_vec(), config })
    }

    fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

impl Layer for BatchNormLayer {
    fn describe(&self) -> String {
        "batch norm".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn couples_batch(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let shape = [self.channels()];
        vec![
            ParameterSpec::weight("weight", &shape, Init::Constant(1.0)),
            ParameterSpec::weight("bias", &shape, Init::Constant(0.0)),
            ParameterSpec::buffer("running_mean", &shape, 0.0),
            ParameterSpec::buffer("running_var", &shape, 1.0),
        ]
    }

    fn forward(&self, step: &mut StepBuilder<'_>, parameters: &[TensorId], x: TensorId) -> Saved {
        let [gamma, beta, running_mean, running_var] = four(parameters);
        let y = step.like("batch_norm", x);
        let mut record = Saved::new(x, y);
        let BatchNormConfig { momentum, epsilon } = self.config;
        match step.mode() {
            Mode::Train => {
                let mean = step.vector("batch_norm.mean", self.channels());
                let inv_std = step.vector("batch_norm.inv_std", self.channels());
                step.push(BatchNorm {
                    x,
                    gamma,
                    beta,
                    y,
                    mean,
                    inv_std,
                    running_mean,
                    running_var,
                    momentum,
                    epsilon,
                });
                record.tensors = vec![mean, inv_std];
            }
            Mode::Evaluate => {
                step.push(BatchNormInference {
                    x,
                    gamma,
                    beta,
                    running_mean,
                    running_var,
                    y,
                    epsilon,
                });
            }
        }
        record
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let [gamma, beta, ..] = four(parameters);
        let dx = needs_grad.input.then(|| step.like("batch_norm.gradient", record.x));
        let dgamma = needs_grad.parameters.then(|| step.gradient(gamma));
        let dbeta = needs_grad.parameters.then(|| step.gradient(beta));
        let (x, mean, inv_std) = (record.x, record.tensors[0], record.tensors[1]);
        step.push(BatchNormGrad { x, mean, inv_std, gamma, dy, dx, dgamma, dbeta });
        let parameters =
            dgamma.map(|g| (gamma, g)).into_iter().chain(dbeta.map(|b| (beta, b))).collect();
        Gradients { input: dx, parameters }
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        if dx.is_none() && dparameters.is_none() {
            return None;
        }
        let dy = step.like("batch_norm.tangent", record.x);
        step.push(BatchNormTangent {
            x: record.x,
            mean: record.tensors[0],
            inv_std: record.tensors[1],
            gamma: parameters[0],
            dx,
            dgamma: dparameters.map(|d| d[0]),
            dbeta: dparameters.map(|d| d[1]),
            dy,
        });
        Some(dy)
    }
}

fn four(parameters: &[TensorId]) -> [TensorId; 4] {
    std::array::from_fn(|i| parameters[i])
}
