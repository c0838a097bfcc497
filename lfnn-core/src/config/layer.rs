//! A layer.

use serde::{Deserialize, Serialize};

use super::one_usize;

/// A layer. Sizes are squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

fn yes() -> bool {
    true
}
