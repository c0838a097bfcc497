//! What a user decides: the network, who leads, and how it is trained.
//!
//! These types carry serde attributes so that any format can hold them; the core reads none. Unknown
//! keys are errors. Every number is checked when the network is built or the trainer made, with an
//! error that names the key.

use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// The four kinds of workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkersConfig {
    /// A fully connected layer of `count · K` neurons, made by this setting: a worker is K neurons
    /// and its logits are their pre-activations.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": ["flatten"], "workers": {"neurons": {"count": 4}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Neurons, 4));
    /// // The workers are the neurons themselves: 4 · 10 of them, on which the output layer builds.
    /// assert_eq!(network.parameter_counts(), (64 * 40 + 40 + 40 * 10 + 10, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Neurons {
        /// Number of workers.
        count: usize,
        /// What the unit hands on.
        #[serde(default)]
        output_activation: OutputActivation,
    },
    /// A worker is a run of filters of the last convolution; its logits are their mean activations.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": [{"conv": {"filters": 40, "kernel": 3}}, "relu"], "workers": {"filters": {"count": 4}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Filters, 4));
    /// // A worker is 10 of the 40 filters, one for each class.
    /// assert_eq!(network.parameter_counts(), (9 * 40 + 40 + 36 * 40 * 10 + 10, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Filters {
        /// Number of workers.
        count: usize,
        /// Factor s on the mean activations.
        #[serde(default = "one")]
        scale: f64,
    },
    /// A worker is an even group of neurons or filters with a linear readout of its own.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": [{"conv": {"filters": 8, "kernel": 3}}, "relu"], "workers": {"readout": {"count": 4, "grid": 2}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Readout, 4));
    /// // A worker reads 2 of the 8 filters, each pooled to 2 × 2 values.
    /// assert_eq!(network.parameter_counts(), (9 * 8 + 8 + 36 * 8 * 10 + 10, 4 * (2 * 4 * 10 + 10)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Readout {
        /// Number of workers.
        count: usize,
        /// Filters are first average-pooled to a grid of this many rows and columns; without it all
        /// positions are read.
        #[serde(default)]
        grid: Option<usize>,
        /// Share of features dropped before the readout, in training.
        #[serde(default)]
        dropout: f64,
    },
    /// A worker is a whole copy of the unit's layers with a readout at its end.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": ["flatten", {"linear": {"features": 16}}, "relu"], "workers": {"block": {"count": 3}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Block, 3));
    /// // Each block has its own layers and reads all of their 16 features.
    /// assert_eq!(network.parameter_counts(), (3 * (64 * 16 + 16) + 48 * 10 + 10, 3 * (16 * 10 + 10)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Block {
        /// Number of blocks side by side.
        #[serde(default = "one_usize")]
        count: usize,
        /// See `Readout`.
        #[serde(default)]
        grid: Option<usize>,
        /// See `Readout`.
        #[serde(default)]
        dropout: f64,
    },
}

/// What a unit of neurons hands on to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputActivation {
    /// The workers' outputs p: softmax for K > 1, sigmoid for K = 1, the logits for regression (the
    /// paper's choice).
    #[default]
    Output,
    /// ReLU of the logits; p then serves the losses alone.
    Relu,
    /// Sigmoid of the logits.
    Sigmoid,
    /// Hyperbolic tangent of the logits.
    Tanh,
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

/// A layer. Sizes are squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerConfig {
    /// Two-dimensional convolution.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"conv": {"filters": 40, "kernel": 3, "padding": 1}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[28, 28, 1], "layer")?;
    /// assert_eq!(layer.output_shape(), [28, 28, 40]);
    /// // Output channels, kernel height, kernel width, input channels; then the bias.
    /// let shapes: Vec<_> = layer.parameters().into_iter().map(|p| p.shape).collect();
    /// assert_eq!(shapes, [vec![40, 3, 3, 1], vec![40]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Conv {
        /// Output channels.
        filters: usize,
        /// Extent of the kernel.
        kernel: usize,
        /// Step of the kernel.
        #[serde(default = "one_usize")]
        stride: usize,
        /// Zeros on each side.
        #[serde(default)]
        padding: usize,
        /// Groups of channels that do not see one another.
        #[serde(default = "one_usize")]
        groups: usize,
        /// Whether each filter has a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Fully connected layer on a vector.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"linear": {"features": 10}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[64], "layer")?;
    /// assert_eq!(layer.output_shape(), [10]);
    /// let shapes: Vec<_> = layer.parameters().into_iter().map(|p| p.shape).collect();
    /// assert_eq!(shapes, [vec![10, 64], vec![10]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Linear {
        /// Output features.
        features: usize,
        /// Whether each feature has a bias.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// A number added to each channel.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#""bias""#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 3], "layer")?;
    /// assert_eq!(layer.output_shape(), [8, 8, 3]);
    /// let shapes: Vec<_> = layer.parameters().into_iter().map(|p| p.shape).collect();
    /// assert_eq!(shapes, [vec![3]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Bias,
    /// Rectified linear unit.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#""relu""#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 3], "layer")?;
    /// assert_eq!(layer.output_shape(), [8, 8, 3]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Relu,
    /// Logistic function.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#""sigmoid""#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[10], "layer")?;
    /// assert_eq!(layer.output_shape(), [10]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Sigmoid,
    /// Hyperbolic tangent.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#""tanh""#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[10], "layer")?;
    /// assert_eq!(layer.output_shape(), [10]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Tanh,
    /// Softmax over each run of features.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"softmax": {"width": 10}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[40], "layer")?;
    /// assert_eq!(layer.output_shape(), [40]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Softmax {
        /// Length of a run.
        width: usize,
    },
    /// Maximum over windows.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"max_pool": {"kernel": 2}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[28, 28, 40], "layer")?;
    /// assert_eq!(layer.output_shape(), [14, 14, 40]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    MaxPool(PoolConfig),
    /// Mean over windows.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"avg_pool": {"kernel": 3, "stride": 2, "padding": 1}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 40], "layer")?;
    /// assert_eq!(layer.output_shape(), [4, 4, 40]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    AvgPool(PoolConfig),
    /// Mean over the bins of a grid.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"adaptive_avg_pool": {"grid": 3}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 40], "layer")?;
    /// assert_eq!(layer.output_shape(), [3, 3, 40]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    AdaptiveAvgPool {
        /// Rows and columns of the grid.
        grid: usize,
    },
    /// Mean over all positions.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#""global_avg_pool""#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 40], "layer")?;
    /// assert_eq!(layer.output_shape(), [1, 1, 40]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    GlobalAvgPool,
    /// Batch normalisation.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"batch_norm": {}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 40], "layer")?;
    /// assert_eq!(layer.output_shape(), [8, 8, 40]);
    /// // Scale and shift are trained; the running mean and variance are not.
    /// let trained: Vec<_> = layer.parameters().into_iter().map(|p| p.trainable).collect();
    /// assert_eq!(trained, [true, true, false, false]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    BatchNorm(BatchNormConfig),
    /// Random zeros in training.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"dropout": {"rate": 0.1}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[100], "layer")?;
    /// assert_eq!(layer.output_shape(), [100]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Dropout {
        /// Share of zeros, in [0, 1).
        rate: f64,
    },
    /// An image as a vector.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#""flatten""#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 3], "layer")?;
    /// assert_eq!(layer.output_shape(), [192]);
    /// assert!(layer.parameters().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Flatten,
    /// `body(x) + shortcut(x)`.
    ///
    /// ```
    /// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder};
    /// let config: LayerConfig = serde_json::from_str(r#"{"residual": {"body": [{"conv": {"filters": 3, "kernel": 3, "padding": 1}}, "relu"]}}"#)?;
    /// let layer = LayerBuilder::default().layer(&config, &[8, 8, 3], "layer")?;
    /// assert_eq!(layer.output_shape(), [8, 8, 3]);
    /// let shapes: Vec<_> = layer.parameters().into_iter().map(|p| p.shape).collect();
    /// assert_eq!(shapes, [vec![3, 3, 3, 3], vec![3]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Residual {
        /// The longer path.
        body: Vec<LayerConfig>,
        /// The shorter path; empty for the identity.
        #[serde(default)]
        shortcut: Vec<LayerConfig>,
    },
}

impl LayerConfig {
    /// Every whole number that it holds itself, with its key.
    pub(crate) fn settings(&self) -> Vec<(&'static str, usize)> {
        let pool = |keys: [&'static str; 3], of: &PoolConfig| {
            keys.into_iter().zip([of.kernel, of.stride.unwrap_or(1), of.padding]).collect()
        };
        match self {
            LayerConfig::Conv { filters, kernel, stride, padding, groups, bias: _ } => vec![
                ("conv.filters", *filters),
                ("conv.kernel", *kernel),
                ("conv.stride", *stride),
                ("conv.padding", *padding),
                ("conv.groups", *groups),
            ],
            LayerConfig::Linear { features, bias: _ } => vec![("linear.features", *features)],
            LayerConfig::Softmax { width } => vec![("softmax.width", *width)],
            LayerConfig::MaxPool(of) => {
                pool(["max_pool.kernel", "max_pool.stride", "max_pool.padding"], of)
            }
            LayerConfig::AvgPool(of) => {
                pool(["avg_pool.kernel", "avg_pool.stride", "avg_pool.padding"], of)
            }
            LayerConfig::AdaptiveAvgPool { grid } => vec![("adaptive_avg_pool.grid", *grid)],
            LayerConfig::Bias
            | LayerConfig::Relu
            | LayerConfig::Sigmoid
            | LayerConfig::Tanh
            | LayerConfig::GlobalAvgPool
            | LayerConfig::BatchNorm(_)
            | LayerConfig::Dropout { .. }
            | LayerConfig::Flatten
            | LayerConfig::Residual { .. } => Vec::new(),
        }
    }
}

impl WorkersConfig {
    /// Every whole number that it holds, with its key; the count of the workers comes first.
    pub(crate) fn settings(&self) -> Vec<(&'static str, usize)> {
        match *self {
            WorkersConfig::Neurons { count, output_activation: _ } => {
                vec![("neurons.count", count)]
            }
            WorkersConfig::Filters { count, scale: _ } => vec![("filters.count", count)],
            WorkersConfig::Readout { count, grid, dropout: _ } => {
                vec![("readout.count", count), ("readout.grid", grid.unwrap_or(1))]
            }
            WorkersConfig::Block { count, grid, dropout: _ } => {
                vec![("block.count", count), ("block.grid", grid.unwrap_or(1))]
            }
        }
    }
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Extent of the window.
    pub kernel: usize,
    /// Step of the window; its extent where not given.
    #[serde(default)]
    pub stride: Option<usize>,
    /// Rows and columns added on each side.
    #[serde(default)]
    pub padding: usize,
}

/// Batch normalisation's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

fn one() -> f64 {
    1.0
}

fn one_usize() -> usize {
    1
}

fn yes() -> bool {
    true
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
