//! What a user decides: the network, who leads, and how it is trained.
//!
//! These types carry serde attributes so that any format can hold them; the core reads none. Unknown
//! keys are errors. Every number is checked when the network is built or the trainer made, with an
//! error that names the key. The settings of a layer or of a kind of workers are declared in its file.

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::layer::LayerConfig;
pub use crate::unit::WorkersConfig;

/// A setting that cannot be, with its path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct ConfigError {
    /// Where the setting stands, such as `network.units[0].layers[1]` (positions from 0, as in the
    /// configuration).
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

impl ConfigError {
    /// An error at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

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

/// Who leads, and how the local losses are made (paper, Section 2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeadershipConfig {
    /// δ: the fraction of a unit's workers that lead, above 0 and at most 1.
    pub delta: f64,
    /// When leaders are chosen.
    pub scope: Scope,
    /// Sum or mean over workers.
    pub reduction: ReductionConfig,
    /// What followers align.
    pub align: AlignConfig,
    /// With which leader they align it.
    pub reference: ReferenceConfig,
    /// λ: weight of the follower loss in `lfnn-l` (Eq. 2).
    pub lambda: f64,
    /// λ₁: weight of the leader loss in `lfnn` (Eq. 1).
    pub lambda1: f64,
    /// λ₂: weight of the follower loss in `lfnn` (Eq. 1).
    pub lambda2: f64,
    /// Whether in `lfnn` the global gradient passes through followers to earlier units (it never
    /// updates them).
    pub gradient_through_followers: bool,
}

impl Default for LeadershipConfig {
    fn default() -> Self {
        Self {
            delta: 0.7,
            scope: Scope::Batch,
            reduction: ReductionConfig::Sum,
            align: AlignConfig::Output,
            reference: ReferenceConfig::Best,
            lambda: 1.0,
            lambda1: 1.0,
            lambda2: 1.0,
            gradient_through_followers: false,
        }
    }
}

impl LeadershipConfig {
    /// k: how many of `workers` lead, `clamp(⌊δ·N + 1/2⌋, 1, N)`.
    pub fn leaders(&self, workers: usize) -> usize {
        ((self.delta * workers as f64 + 0.5).floor() as usize).clamp(1, workers.max(1))
    }
}

/// When leaders are chosen, and by which losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In every batch, by its mean losses.
    Batch,
    /// Once per epoch, by the mean losses of the epoch before (in the first, by its first batch).
    Epoch,
    /// For every sample, by its own losses.
    Sample,
}

/// See [`Reduction`](crate::program::Reduction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "documented at the type it stands for")]
pub enum ReductionConfig {
    Sum,
    Mean,
}

/// See [`Align`](crate::program::Align).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "documented at the type it stands for")]
pub enum AlignConfig {
    Output,
    Logits,
}

/// See [`Reference`](crate::program::Reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "documented at the type it stands for")]
pub enum ReferenceConfig {
    Best,
    Random,
    Mean,
}

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

/// How the learning rate changes from step to step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// It does not.
    #[default]
    Constant,
    /// Multiplied by `gamma` every `epochs` epochs.
    Step {
        /// Epochs between changes.
        epochs: usize,
        /// Factor.
        gamma: f64,
    },
    /// Linear warm-up, then half a cosine down to `floor`.
    Cosine {
        /// Epochs of warm-up; may be a fraction.
        #[serde(default)]
        warmup_epochs: f64,
        /// Last learning rate, as a share of the largest.
        #[serde(default)]
        floor: f64,
    },
    /// PyTorch's `OneCycleLR`: a cosine up from `lr / start_divisor`, a cosine down to
    /// `lr / start_divisor / end_divisor`.
    OneCycle {
        /// Share of the steps on the way up.
        #[serde(default = "one_cycle_warmup")]
        warmup: f64,
        /// See above.
        #[serde(default = "one_cycle_start")]
        start_divisor: f64,
        /// See above.
        #[serde(default = "one_cycle_end")]
        end_divisor: f64,
    },
}

fn adam_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn adam_epsilon() -> f64 {
    1e-8
}

fn one_cycle_warmup() -> f64 {
    0.3
}

fn one_cycle_start() -> f64 {
    25.0
}

fn one_cycle_end() -> f64 {
    1e4
}
