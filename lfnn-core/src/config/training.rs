//! How a network is trained.

use serde::{Deserialize, Serialize};

use super::{OptimizerConfig, ScheduleConfig};

/// How a network is trained, whatever the method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Examples per step; the last, incomplete batch of an epoch is left out.
    pub batch_size: usize,
    /// Passes over the training set.
    pub epochs: usize,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Largest norm of the gradients that are applied together: those of one unit in a local method,
    /// of the whole network otherwise.
    #[serde(default)]
    pub clip_norm: Option<f64>,
    /// Share of the target spread evenly over the classes.
    #[serde(default)]
    pub label_smoothing: f64,
}
