//! Batch normalisation.

use serde::{Deserialize, Serialize};

use super::{
    BuildLayer, Built, Coupling, Gradients, Init, Kind, Layer, LayerBuilder, NeedsGrad, Saved,
    Tangents, check_epsilon,
};
use crate::program::{BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, TensorId};
use crate::step::{Mode, StepBuilder};

/// Batch normalisation.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"batch_norm": {}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 40])?;
/// assert_eq!(layer.output_shape(), [8, 8, 40]);
/// // Scale and shift are trained; the running mean and variance are not.
/// assert_eq!((layer.trainable().len(), set.tensors().len()), (2, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct BatchNormConfig {
    /// Share of a batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { momentum: 0.1, epsilon: 1e-5 }
    }
}

impl BuildLayer for BatchNormConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        builder.normalizes(input);
        check_epsilon(self.epsilon)?;
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(format!("a momentum of {}, expected 0 to 1", self.momentum).into());
        }
        let channels = [input.last().copied().unwrap_or(1)];
        Ok(Box::new(BatchNormLayer {
            shape: input.to_vec(),
            config: *self,
            gamma: builder.parameter("weight", &channels, Init::Constant(1.0)),
            beta: builder.parameter("bias", &channels, Init::Constant(0.0)),
            running_mean: builder.buffer("running_mean", &channels, 0.0),
            running_var: builder.buffer("running_var", &channels, 1.0),
        }))
    }
}

/// Batch normalisation over every axis but the last.
#[derive(Debug)]
struct BatchNormLayer {
    shape: Vec<usize>,
    config: BatchNormConfig,
    gamma: TensorId,
    beta: TensorId,
    running_mean: TensorId,
    running_var: TensorId,
}

impl BatchNormLayer {
    /// With running statistics the layer is an affine map with a diagonal Jacobian: one rule, that of prediction
    /// without mean and β, serves both directions.
    fn scale(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let y = step.like("batch_norm.scaled", x);
        let zeros = step.zeros_like(self.gamma);
        step.push(BatchNormInference {
            x,
            gamma: self.gamma,
            beta: zeros,
            running_mean: zeros,
            running_var: self.running_var,
            y,
            epsilon: self.config.epsilon,
        });
        y
    }
}

impl Layer for BatchNormLayer {
    fn describe(&self) -> String {
        "batch norm".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn coupling(&self) -> Coupling {
        Coupling { examples: true, ..Coupling::POSITIONS }
    }

    fn kind(&self) -> Kind {
        Kind::Normalization
    }

    fn trainable(&self) -> Vec<TensorId> {
        vec![self.gamma, self.beta]
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let Self { gamma, beta, running_mean, running_var, .. } = *self;
        let y = step.like("batch_norm", x);
        let mut saved = Saved::new(x, y);
        let BatchNormConfig { momentum, epsilon } = self.config;
        match step.mode() {
            Mode::Train => {
                let channels = step.channels(x);
                let mean = step.vector("batch_norm.mean", channels);
                let inv_std = step.vector("batch_norm.inv_std", channels);
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
                saved.tensors = vec![mean, inv_std];
            }
            Mode::Frozen | Mode::Evaluate => {
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
        saved
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        if step.mode() != Mode::Train {
            let input = needs_grad.input.then(|| self.scale(step, dy));
            return Gradients { input, ..Gradients::default() };
        }
        let Self { gamma, beta, .. } = *self;
        let dx = needs_grad.input.then(|| step.like("batch_norm.gradient", saved.x));
        let dgamma = needs_grad.parameters.then(|| step.gradient(gamma));
        let dbeta = needs_grad.parameters.then(|| step.gradient(beta));
        let (x, mean, inv_std) = (saved.x, saved.tensors[0], saved.tensors[1]);
        step.push(BatchNormGrad { x, mean, inv_std, gamma, dy, dx, dgamma, dbeta });
        let parameters =
            dgamma.map(|g| (gamma, g)).into_iter().chain(dbeta.map(|b| (beta, b))).collect();
        Gradients { input: dx, parameters }
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        if step.mode() != Mode::Train {
            return dx.map(|dx| self.scale(step, dx));
        }
        let dgamma = tangents.get(&self.gamma).copied();
        let dbeta = tangents.get(&self.beta).copied();
        if dx.is_none() && dgamma.is_none() && dbeta.is_none() {
            return None;
        }
        let (x, mean, inv_std) = (saved.x, saved.tensors[0], saved.tensors[1]);
        let dy = step.like("batch_norm.tangent", x);
        step.push(BatchNormTangent { x, mean, inv_std, gamma: self.gamma, dx, dgamma, dbeta, dy });
        Some(dy)
    }
}
