//! Networks and trainings written in Rust: constructors with the names of the configuration.

use super::{
    AdamConfig, LayerConfig, NetworkConfig, OptimizerConfig, OutputConfig, PoolConfig,
    ScheduleConfig, SimilarityConfig, Size2, Task, TrainingConfig, UnitConfig, WorkersConfig,
};
use crate::layer::{
    AdaptiveAvgPoolConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, DropoutConfig,
    LayerNormConfig, LinearConfig, MaxPoolConfig, PatchesConfig, ResidualConfig, SoftmaxConfig,
    TokenMixingConfig,
};
use crate::unit::{
    BlockConfig, FiltersConfig, HeadConfig, NeuronsConfig, OutputActivation, ReadoutConfig,
};

impl NetworkConfig {
    /// A network of these hidden units that predicts classes.
    ///
    /// ```
    /// use lfnn_core::config::{NetworkConfig, UnitConfig};
    ///
    /// let network = NetworkConfig::new([
    ///     UnitConfig::new().flatten().linear(64).relu().readout(4),
    ///     UnitConfig::new().linear(64).relu().readout(4),
    /// ]);
    /// assert_eq!(network.units.len(), 2);
    /// ```
    pub fn new(units: impl IntoIterator<Item = UnitConfig>) -> Self {
        let (task, output) = (Task::Classification, OutputConfig::default());
        Self { task, units: units.into_iter().collect(), output }
    }

    /// The same with another task.
    #[must_use]
    pub fn task(self, task: Task) -> Self {
        Self { task, ..self }
    }

    /// The same with these layers before the last linear layer.
    #[must_use]
    pub fn output(self, layers: impl IntoIterator<Item = LayerConfig>) -> Self {
        let layers = layers.into_iter().collect();
        Self { output: OutputConfig { layers, ..self.output }, ..self }
    }

    /// The same, with so many of the last hidden units predicting together with the output layer.
    #[must_use]
    pub fn ensemble(mut self, units: usize) -> Self {
        self.output.ensemble = units;
        self
    }
}

impl Default for UnitConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl UnitConfig {
    /// A unit without layers and with one worker, which reads all of its features.
    pub fn new() -> Self {
        let (layers, transition) = (Vec::new(), Vec::new());
        Self { layers, workers: readout(1), similarity: None, transition, frozen: false }
    }

    /// The same unit, left by training as it is.
    #[must_use]
    pub fn frozen(self) -> Self {
        Self { frozen: true, ..self }
    }

    /// One more layer.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<LayerConfig>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// One more layer: an image as a vector.
    #[must_use]
    pub fn flatten(self) -> Self {
        self.layer(LayerConfig::Flatten)
    }

    /// One more layer: fully connected, with this many outputs.
    #[must_use]
    pub fn linear(self, features: usize) -> Self {
        self.layer(LayerConfig::linear(features))
    }

    /// One more layer: a convolution of stride 1 that keeps height and width where the kernel is odd. A kernel is a
    /// number or `[height, width]`: `[1, 9]` for a signal.
    #[must_use]
    pub fn conv(self, filters: usize, kernel: impl Into<Size2>) -> Self {
        self.layer(LayerConfig::conv(filters, kernel))
    }

    /// One more layer: batch normalisation.
    #[must_use]
    pub fn batch_norm(self) -> Self {
        self.layer(BatchNormConfig::default())
    }

    /// One more layer: rectified linear units.
    #[must_use]
    pub fn relu(self) -> Self {
        self.layer(LayerConfig::Relu)
    }

    /// One more layer: dropout with this share of zeros.
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        self.layer(DropoutConfig { rate })
    }

    /// With these workers.
    #[must_use]
    pub fn workers(self, workers: WorkersConfig) -> Self {
        Self { workers, ..self }
    }

    /// With so many workers that are even groups of features, each with a linear readout.
    #[must_use]
    pub fn readout(self, count: usize) -> Self {
        self.workers(readout(count))
    }

    /// With these heads as workers, each of which sees all features.
    ///
    /// ```
    /// use lfnn_core::config::{HeadConfig, LayerConfig, UnitConfig};
    ///
    /// let plain = UnitConfig::new().conv(32, 3).relu().heads([HeadConfig::new(4).grid(2)]);
    /// assert_eq!(plain.workers.count(), 4);
    /// let deep = HeadConfig::new(1).layer(LayerConfig::conv(16, 3)).layer(LayerConfig::Relu);
    /// let mixed = UnitConfig::new().conv(32, 3).relu().heads([deep, HeadConfig::new(3)]);
    /// assert_eq!(mixed.workers.count(), 4);
    /// ```
    #[must_use]
    pub fn heads(self, heads: impl IntoIterator<Item = HeadConfig>) -> Self {
        self.workers(WorkersConfig::Heads(heads.into_iter().collect()))
    }

    /// With so many workers that are neurons of a fully connected layer, which this adds.
    #[must_use]
    pub fn neurons(self, count: usize) -> Self {
        let output_activation = OutputActivation::default();
        self.workers(WorkersConfig::Neurons(NeuronsConfig { count, output_activation }))
    }

    /// With so many workers that are runs of filters of the last convolution.
    #[must_use]
    pub fn filters(self, count: usize) -> Self {
        self.workers(WorkersConfig::Filters(FiltersConfig { count, scale: 1.0 }))
    }

    /// With so many workers that are whole copies of the unit's layers, each with a linear readout.
    #[must_use]
    pub fn block(self, count: usize) -> Self {
        self.workers(WorkersConfig::Block(BlockConfig { count, grid: None, dropout: 0.0 }))
    }

    /// With similarity matching beside the losses of the workers.
    #[must_use]
    pub fn similarity(self, similarity: SimilarityConfig) -> Self {
        Self { similarity: Some(similarity), ..self }
    }

    /// One more layer between the workers and the next unit.
    #[must_use]
    pub fn transition(mut self, layer: impl Into<LayerConfig>) -> Self {
        self.transition.push(layer.into());
        self
    }

    /// One more layer between the workers and the next unit: the maximum over windows of this extent.
    #[must_use]
    pub fn max_pool(self, kernel: impl Into<Size2>) -> Self {
        self.transition(LayerConfig::max_pool(kernel))
    }
}

impl LayerConfig {
    /// Fully connected, with this many outputs.
    pub fn linear(features: usize) -> Self {
        LinearConfig { features, bias: true }.into()
    }

    /// A convolution of stride 1 that keeps height and width where the kernel is odd.
    pub fn conv(filters: usize, kernel: impl Into<Size2>) -> Self {
        let kernel = kernel.into();
        let (stride, padding) = (1.into(), Size2(kernel.0.map(|extent| extent / 2)));
        ConvConfig { filters, kernel, stride, padding, groups: 1, bias: true }.into()
    }

    /// The maximum over windows of this extent, side by side.
    pub fn max_pool(kernel: impl Into<Size2>) -> Self {
        LayerConfig::MaxPool(MaxPoolConfig(side_by_side(kernel.into())))
    }

    /// The mean over windows of this extent, side by side.
    pub fn avg_pool(kernel: impl Into<Size2>) -> Self {
        LayerConfig::AvgPool(AvgPoolConfig(side_by_side(kernel.into())))
    }

    /// `body(x) + x`.
    pub fn residual(body: impl IntoIterator<Item = LayerConfig>) -> Self {
        ResidualConfig { body: body.into_iter().collect(), shortcut: Vec::new() }.into()
    }
}

fn readout(count: usize) -> WorkersConfig {
    WorkersConfig::Readout(ReadoutConfig { count, grid: None, dropout: 0.0 })
}

fn side_by_side(kernel: Size2) -> PoolConfig {
    PoolConfig { kernel, stride: None, padding: 0.into() }
}

macro_rules! layers {
    ($($variant:ident($config:ident),)*) => {
        $(impl From<$config> for LayerConfig {
            fn from(config: $config) -> Self {
                LayerConfig::$variant(config)
            }
        })*
    };
}

layers! {
    Conv(ConvConfig),
    Linear(LinearConfig),
    Softmax(SoftmaxConfig),
    MaxPool(MaxPoolConfig),
    AvgPool(AvgPoolConfig),
    AdaptiveAvgPool(AdaptiveAvgPoolConfig),
    BatchNorm(BatchNormConfig),
    LayerNorm(LayerNormConfig),
    Patches(PatchesConfig),
    TokenMixing(TokenMixingConfig),
    Dropout(DropoutConfig),
    Residual(ResidualConfig),
}

impl TrainingConfig {
    /// A training with batches of this size and so many epochs, at a constant learning rate.
    ///
    /// ```
    /// use lfnn_core::config::{OptimizerConfig, ScheduleConfig, TrainingConfig};
    ///
    /// let training = TrainingConfig::new(32, 40, OptimizerConfig::adamw(3e-3));
    /// let training = TrainingConfig { schedule: ScheduleConfig::cosine(), ..training };
    /// # training.validate()?;
    /// # Ok::<(), lfnn_core::config::ConfigError>(())
    /// ```
    pub fn new(batch_size: usize, epochs: usize, optimizer: OptimizerConfig) -> Self {
        Self {
            batch_size,
            epochs,
            optimizer,
            schedule: ScheduleConfig::Constant,
            output_lr_factor: 1.0,
            clip_norm: None,
            label_smoothing: 0.0,
            class_weights: None,
            directions: 1,
        }
    }
}

impl OptimizerConfig {
    /// Stochastic gradient descent.
    pub fn sgd(lr: f64) -> Self {
        OptimizerConfig::Sgd { lr, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Adam, with PyTorch's defaults.
    pub fn adam(lr: f64) -> Self {
        OptimizerConfig::Adam(AdamConfig::new(lr))
    }

    /// AdamW, with the defaults of Adam: no weight decay.
    pub fn adamw(lr: f64) -> Self {
        OptimizerConfig::Adamw(AdamConfig::new(lr))
    }
}

impl ScheduleConfig {
    /// Half a cosine down to 0, without warm-up.
    pub fn cosine() -> Self {
        ScheduleConfig::Cosine { warmup_epochs: 0.0, floor: 0.0 }
    }
}
