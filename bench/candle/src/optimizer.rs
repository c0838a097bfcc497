//! The optimisers, with the arithmetic of `torch.optim`.

use anyhow::{Result, bail};
use bench_common::config::{AdamConfig, OptimizerConfig};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};

/// An optimiser of some parameters.
pub(crate) enum Optimizer {
    /// candle's own, which is Adam too where no weight decays.
    AdamW(AdamW),
    /// candle's own has no momentum.
    Sgd(Sgd),
}

/// Stochastic gradient descent with momentum.
pub(crate) struct Sgd {
    /// Parameters with what their momentum has gathered.
    parameters: Vec<(Var, Option<Tensor>)>,
    lr: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

impl Optimizer {
    pub(crate) fn new(config: &OptimizerConfig, parameters: Vec<Var>) -> Result<Self> {
        Ok(match *config {
            OptimizerConfig::Adam(AdamConfig { weight_decay, .. }) if weight_decay != 0.0 => {
                bail!("candle has no Adam whose weight decay is added to the gradient")
            }
            OptimizerConfig::Adam(config) | OptimizerConfig::Adamw(config) => {
                let AdamConfig { lr, betas: [beta1, beta2], epsilon: eps, weight_decay } = config;
                let settings = ParamsAdamW { lr, beta1, beta2, eps, weight_decay };
                Self::AdamW(AdamW::new(parameters, settings)?)
            }
            OptimizerConfig::Sgd { lr, momentum, nesterov, weight_decay } => {
                let parameters = parameters.into_iter().map(|var| (var, None)).collect();
                Self::Sgd(Sgd { parameters, lr, momentum, nesterov, weight_decay })
            }
        })
    }

    pub(crate) fn step(&mut self, gradients: &GradStore) -> Result<()> {
        match self {
            Self::AdamW(adam) => Ok(adam.step(gradients)?),
            Self::Sgd(sgd) => sgd.step(gradients),
        }
    }
}

impl Sgd {
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        for (parameter, gathered) in &mut self.parameters {
            let Some(gradient) = gradients.get(parameter) else { continue };
            let value = parameter.as_detached_tensor();
            let mut change = gradient.clone();
            if self.weight_decay != 0.0 {
                change = (change + (&value * self.weight_decay)?)?;
            }
            if self.momentum != 0.0 {
                let sum = match gathered.take() {
                    None => change.clone(),
                    Some(before) => ((before * self.momentum)? + &change)?,
                };
                change =
                    if self.nesterov { (change + (&sum * self.momentum)?)? } else { sum.clone() };
                *gathered = Some(sum.detach());
            }
            parameter.set(&(value - (change * self.lr)?)?)?;
        }
        Ok(())
    }
}
