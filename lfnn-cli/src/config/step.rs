//! The configuration of `step`: one training step, for comparison with another implementation.

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use serde::Deserialize;

use super::method::{default_method, known_method};
use super::run::default_seed;

/// The file of `step`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct StepConfig {
    /// Training method.
    #[serde(default = "default_method", deserialize_with = "known_method")]
    #[cfg_attr(test, schemars(schema_with = "super::method::schema"))]
    pub(crate) method: String,
    /// Random seed of dropout, random leaders and directions.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
    /// Shape of an image: channels, height, width. It is compared with the batch.
    #[serde(default)]
    pub(crate) input: Option<Vec<usize>>,
    /// Number of classes, or of numbers to predict.
    pub(crate) classes: usize,
    /// Network, as in a run.
    pub(crate) network: NetworkConfig,
    /// Leader selection and local losses, as in a run.
    #[serde(default)]
    pub(crate) leadership: LeadershipConfig,
    /// As in a run. Only `label_smoothing` and `class_weights` matter.
    #[serde(default)]
    pub(crate) training: Option<TrainingConfig>,
    /// Accepted and ignored.
    #[serde(default)]
    #[allow(dead_code, reason = "files for comparisons of several steps have it")]
    pub(crate) rates: Option<Vec<f64>>,
}
