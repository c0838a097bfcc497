//! The optimizer.

use serde::{Deserialize, Serialize};

/// The optimisers, with the arithmetic of `torch.optim`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Momentum.
        #[serde(default)]
        momentum: f64,
        /// Nesterov's form of momentum.
        #[serde(default)]
        nesterov: bool,
        /// L2 weight decay.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam; weight decay is added to the gradient.
    Adam(AdamConfig),
    /// AdamW; weight decay is applied to the weight itself.
    Adamw(AdamConfig),
}

/// Settings of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two moments.
    #[serde(default = "adam_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "adam_epsilon")]
    pub epsilon: f64,
    /// Weight decay.
    #[serde(default)]
    pub weight_decay: f64,
}

fn adam_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn adam_epsilon() -> f64 {
    1e-8
}
