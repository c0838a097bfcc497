//! The network: the task, the hidden units, the output layer.

use serde::{Deserialize, Serialize};

use super::{LayerConfig, SimilarityConfig, WorkersConfig};

/// What is predicted. The task decides how many numbers a prediction has, and the loss ℓ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of K classes, by softmax and cross-entropy.
    #[default]
    Classification,
    /// One of two classes, by one sigmoid output and binary cross-entropy.
    Binary,
    /// One of C classes, by C independent binary networks of the same shape (paper, Section 3.1).
    OneVsAll,
    /// K numbers, by mean squared error.
    Regression,
}

/// A network: hidden units, then the output layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// What is predicted.
    #[serde(default)]
    pub task: Task,
    /// Hidden units, from the input on.
    pub units: Vec<UnitConfig>,
    /// Output layer.
    #[serde(default)]
    pub output: OutputConfig,
}

/// A hidden unit: layers, the workers that predict from their output, and a transition to the next unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UnitConfig {
    /// Layers up to the point where the workers predict. With `block`, each block has its own copy.
    #[serde(default)]
    pub layers: Vec<LayerConfig>,
    /// Workers.
    pub workers: WorkersConfig,
    /// A local loss beside those of the workers: similar examples shall have similar features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<SimilarityConfig>,
    /// Layers without parameters between the workers and the next unit, such as pooling. No local
    /// gradient passes through them.
    #[serde(default)]
    pub transition: Vec<LayerConfig>,
    /// Whether training leaves the unit as it is: its parameters, its heads and its running
    /// statistics. It has no dropout and no local losses. A global gradient passes through it where
    /// an earlier unit trains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = false)))]
    pub frozen: bool,
}

/// The output layer: the given layers, then a linear layer with one output per class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Layers before the linear layer. Their output is flattened.
    #[serde(default)]
    pub layers: Vec<LayerConfig>,
    /// How many of the last hidden units predict together with the output layer: the mean of its
    /// logits and theirs, where a unit has the mean of its workers'. Training is the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = 0)))]
    pub ensemble: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
