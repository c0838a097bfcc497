//! The network: the task, the hidden units, the output layer.

use serde::{Deserialize, Serialize};

use super::{LayerConfig, WorkersConfig};

/// What is predicted; it decides how many numbers a prediction has, and the loss ℓ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of K classes: softmax and cross-entropy.
    #[default]
    Classification,
    /// Yes or no, label 1 or 0: sigmoid and binary cross-entropy, K = 1.
    Binary,
    /// One of C classes, by C independent binary networks of one shape (paper, Section 3.1).
    OneVsAll,
    /// K real numbers: mean squared error.
    Regression,
}

/// A network: hidden units `u_1 … u_M`, then the output layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// What is predicted.
    #[serde(default)]
    pub task: Task,
    /// The hidden units, from the input on.
    pub units: Vec<UnitConfig>,
    /// The output layer.
    #[serde(default)]
    pub output: OutputConfig,
}

/// A hidden unit: layers with parameters, the workers into which their result is divided, and what is
/// done to the result before the next unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitConfig {
    /// Layers up to the point where workers predict. Each block has its own copy of them.
    #[serde(default)]
    pub layers: Vec<LayerConfig>,
    /// The workers.
    pub workers: WorkersConfig,
    /// Layers without parameters between the workers and the next unit, such as pooling. No local
    /// gradient passes through them.
    #[serde(default)]
    pub transition: Vec<LayerConfig>,
}

/// The output layer: the layers given, then a linear layer with one output per class (per number in
/// regression, one for binary).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Layers before the linear one. An image that is left is flattened.
    #[serde(default)]
    pub layers: Vec<LayerConfig>,
}
