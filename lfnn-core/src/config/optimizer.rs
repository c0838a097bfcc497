//! The optimiser.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Range};

const LR: Range = Range::positive();
const DECAY: Range = Range::below_one();
const EPSILON: Range = Range::positive();
const WEIGHT_DECAY: Range = Range::at_least(0);

/// The optimisers, with the arithmetic of `torch.optim`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate.
        #[cfg_attr(feature = "schema", schemars(transform = { LR }))]
        lr: f64,
        /// Momentum.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schemars(transform = { DECAY }))]
        momentum: f64,
        /// Whether momentum is Nesterov's; needs a `momentum` above 0.
        #[serde(default)]
        nesterov: bool,
        /// L2 weight decay.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schemars(transform = { WEIGHT_DECAY }))]
        weight_decay: f64,
    },
    /// Adam. Weight decay is added to the gradient.
    Adam(AdamConfig),
    /// AdamW. Weight decay is applied to the weight itself.
    Adamw(AdamConfig),
}

/// Settings of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate.
    #[cfg_attr(feature = "schema", schemars(transform = { LR }))]
    pub lr: f64,
    /// Decay rates of the first and the second moment.
    #[serde(default = "adam_betas")]
    #[cfg_attr(feature = "schema", schemars(transform = { DECAY }))]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "adam_epsilon")]
    #[cfg_attr(feature = "schema", schemars(transform = { EPSILON }))]
    pub epsilon: f64,
    /// Weight decay.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = { WEIGHT_DECAY }))]
    pub weight_decay: f64,
}

impl OptimizerConfig {
    /// The largest learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            OptimizerConfig::Sgd { lr, .. } => *lr,
            OptimizerConfig::Adam(config) | OptimizerConfig::Adamw(config) => config.lr,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            OptimizerConfig::Sgd { lr, momentum, nesterov, weight_decay } => {
                let path = "training.optimizer.sgd";
                LR.check(&format!("{path}.lr"), lr)?;
                DECAY.check(&format!("{path}.momentum"), momentum)?;
                WEIGHT_DECAY.check(&format!("{path}.weight_decay"), weight_decay)?;
                if nesterov && momentum == 0.0 {
                    let message = "0, expected a number above 0 with `nesterov`";
                    return Err(ConfigError::new(format!("{path}.momentum"), message));
                }
                Ok(())
            }
            OptimizerConfig::Adam(config) => config.validate("training.optimizer.adam"),
            OptimizerConfig::Adamw(config) => config.validate("training.optimizer.adamw"),
        }
    }
}

impl AdamConfig {
    /// This learning rate, PyTorch's other defaults, and no weight decay.
    pub fn new(lr: f64) -> Self {
        Self { lr, betas: adam_betas(), epsilon: adam_epsilon(), weight_decay: 0.0 }
    }

    fn validate(&self, path: &str) -> Result<(), ConfigError> {
        LR.check(&format!("{path}.lr"), self.lr)?;
        for (index, beta) in self.betas.into_iter().enumerate() {
            DECAY.check(&format!("{path}.betas[{index}]"), beta)?;
        }
        EPSILON.check(&format!("{path}.epsilon"), self.epsilon)?;
        WEIGHT_DECAY.check(&format!("{path}.weight_decay"), self.weight_decay)
    }
}

fn adam_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn adam_epsilon() -> f64 {
    1e-8
}
