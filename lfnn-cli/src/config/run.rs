//! The configuration of a run, whole.

use lfnn_core::backend::Precision;
use lfnn_core::config::{ConfigError, LeadershipConfig, Limits, NetworkConfig, TrainingConfig};
use lfnn_core::method::{self, METHODS, Method};
use serde::{Deserialize, Serialize};

use super::method::{default_method, known_method};
use super::{CheckpointConfig, DatasetConfig, InitConfig, yaml};

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RunConfig {
    /// Base recipe. In a file with its own `network` it may be any name. It names the run folder; the
    /// default is the name of the file.
    #[serde(default)]
    pub(crate) recipe: Option<String>,
    /// Training method. See [methods](../docs/methods.md).
    #[serde(default = "default_method", deserialize_with = "known_method")]
    #[cfg_attr(test, schemars(schema_with = "super::method::schema"))]
    pub(crate) method: String,
    /// Arithmetic of the GPU. The CPU has `f32` only.
    #[serde(default)]
    pub(crate) precision: Precision,
    /// Random seed of weights, order, test and validation split, augmentation, dropout, directions and feedback.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
    /// Examples.
    pub(crate) dataset: DatasetConfig,
    /// Network.
    pub(crate) network: NetworkConfig,
    /// Weights to begin with; random ones if null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<InitConfig>,
    /// Leader selection and local losses.
    #[serde(default)]
    pub(crate) leadership: LeadershipConfig,
    /// Batch size, optimiser and schedule.
    pub(crate) training: TrainingConfig,
    /// Shorter training, for experiments.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// When to save, and when to stop early.
    #[serde(default)]
    pub(crate) checkpoints: CheckpointConfig,
}

impl RunConfig {
    /// The training method. Its name was checked when it was read.
    pub(crate) fn method(&self) -> &'static Method {
        method::by_name(&self.method).unwrap_or(METHODS[0])
    }

    /// The recipe's name, for people and for folders.
    pub(crate) fn label(&self) -> &str {
        self.recipe.as_deref().unwrap_or(self.dataset.name.as_str())
    }

    /// Checks what needs neither the network nor the data.
    ///
    /// # Errors
    /// The first setting that is refused.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.dataset.validate(self.network.task)?;
        self.leadership.validate()?;
        self.training.validate()?;
        self.limits.validate()?;
        self.dataset.augmentation.validate()?;
        self.checkpoints.validate(self.dataset.validation)
    }

    /// The whole configuration as YAML.
    ///
    /// # Errors
    /// None is expected.
    pub(crate) fn to_yaml(&self) -> anyhow::Result<String> {
        yaml::write(self)
    }
}

pub(super) fn default_seed() -> u64 {
    1
}
