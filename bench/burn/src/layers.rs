//! Layers, all of them burn's own. Its running variance is of the batch itself and not the unbiased estimate, which
//! changes predictions a little and no speed.

use anyhow::{Result, bail};
use bench_common::config::Size2;
use bench_common::layer::{
    AdaptiveAvgPoolConfig, AvgPoolConfig, BatchNormConfig, ConvConfig,
    DropoutConfig as DropoutSettings, LayerConfig, LinearConfig as LinearSettings, MaxPoolConfig,
    PoolConfig, ResidualConfig,
};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{
    AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, AvgPool2d, AvgPool2dConfig, MaxPool2d,
    MaxPool2dConfig,
};
use burn::nn::{
    BatchNorm, BatchNormConfig as Norm, Dropout, DropoutConfig, Identity, Linear, LinearConfig,
    PaddingConfig2d, Relu,
};
use burn::tensor::{Device, Tensor};

/// What goes from layer to layer: burn's tensors carry their rank in their type.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `[batch, channels, height, width]`
    Image(Tensor<4>),
    /// `[batch, features]`
    Vector(Tensor<2>),
}

/// Layers one after the other.
#[derive(Module, Debug)]
pub(crate) struct Layers {
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has few layers")]
enum Layer {
    Conv(Conv2d),
    Linear(Linear),
    BatchNorm(BatchNorm),
    Relu(Relu),
    MaxPool(MaxPool2d),
    AvgPool(AvgPool2d),
    AdaptiveAvgPool(AdaptiveAvgPool2d),
    Dropout(Dropout),
    Flatten(Identity),
    Residual(Residual),
}

#[derive(Module, Debug)]
struct Residual {
    body: Layers,
    shortcut: Layers,
}

impl Value {
    /// The tensor as vectors.
    pub(crate) fn flat(self) -> Tensor<2> {
        match self {
            Self::Image(x) => x.flatten(1, 3),
            Self::Vector(x) => x,
        }
    }

    /// The same values without their history.
    pub(crate) fn detach(self) -> Self {
        match self {
            Self::Image(x) => Self::Image(x.detach()),
            Self::Vector(x) => Self::Vector(x.detach()),
        }
    }
}

impl Layers {
    /// Makes layers for inputs of a shape, and tells the shape of their result, both without the batch.
    pub(crate) fn new(
        given: &[LayerConfig],
        mut shape: Vec<usize>,
        device: &Device,
    ) -> Result<(Self, Vec<usize>)> {
        let mut layers = Vec::with_capacity(given.len());
        for config in given {
            let layer;
            (layer, shape) = Layer::new(config, shape, device)?;
            layers.push(layer);
        }
        Ok((Self { layers }, shape))
    }

    pub(crate) fn forward(&self, x: Value) -> Result<Value> {
        self.layers.iter().try_fold(x, |x, layer| layer.forward(x))
    }
}

impl Layer {
    /// A layer, and the shape of its result.
    fn new(config: &LayerConfig, shape: Vec<usize>, device: &Device) -> Result<(Self, Vec<usize>)> {
        Ok(match (config, &shape[..]) {
            (
                &LayerConfig::Conv(ConvConfig { filters, kernel, stride, padding, groups, bias }),
                &[channels, height, width],
            ) => {
                let conv = Conv2dConfig::new([channels, filters], kernel.0)
                    .with_stride(stride.0)
                    .with_padding(around(padding))
                    .with_groups(groups)
                    .with_bias(bias)
                    .init(device);
                let shape = windows(filters, [height, width], [kernel, stride, padding]);
                (Self::Conv(conv), shape)
            }
            (&LayerConfig::Linear(LinearSettings { features, bias }), &[own]) => {
                let linear = LinearConfig::new(own, features).with_bias(bias).init(device);
                (Self::Linear(linear), vec![features])
            }
            (&LayerConfig::BatchNorm(BatchNormConfig { momentum, epsilon }), &[channels, ..]) => {
                let norm = Norm::new(channels).with_momentum(momentum).with_epsilon(epsilon);
                (Self::BatchNorm(norm.init(device)), shape)
            }
            (LayerConfig::Relu, _) => (Self::Relu(Relu::new()), shape),
            (&LayerConfig::MaxPool(MaxPoolConfig(pool)), &[channels, height, width]) => {
                let PoolConfig { kernel, stride, padding } = pool;
                let stride = stride.unwrap_or(kernel);
                let layer = MaxPool2dConfig::new(kernel.0)
                    .with_strides(stride.0)
                    .with_padding(around(padding))
                    .init();
                let shape = windows(channels, [height, width], [kernel, stride, padding]);
                (Self::MaxPool(layer), shape)
            }
            (&LayerConfig::AvgPool(AvgPoolConfig(pool)), &[channels, height, width]) => {
                let PoolConfig { kernel, stride, padding } = pool;
                let stride = stride.unwrap_or(kernel);
                let layer = AvgPool2dConfig::new(kernel.0)
                    .with_strides(stride.0)
                    .with_padding(around(padding))
                    .init();
                let shape = windows(channels, [height, width], [kernel, stride, padding]);
                (Self::AvgPool(layer), shape)
            }
            (&LayerConfig::AdaptiveAvgPool(AdaptiveAvgPoolConfig { grid }), &[channels, _, _]) => {
                let Size2([rows, columns]) = grid;
                (Self::AdaptiveAvgPool(on_grid(grid)), vec![channels, rows, columns])
            }
            (LayerConfig::GlobalAvgPool, &[channels, _, _]) => {
                (Self::AdaptiveAvgPool(on_grid(Size2([1, 1]))), vec![channels, 1, 1])
            }
            (&LayerConfig::Dropout(DropoutSettings { rate }), _) => {
                (Self::Dropout(DropoutConfig::new(rate).init()), shape)
            }
            (LayerConfig::Flatten, _) => {
                (Self::Flatten(Identity::new()), vec![shape.iter().product()])
            }
            (LayerConfig::Residual(ResidualConfig { body, shortcut }), _) => {
                let (shortcut, _) = Layers::new(shortcut, shape.clone(), device)?;
                let (body, shape) = Layers::new(body, shape, device)?;
                (Self::Residual(Residual { body, shortcut }), shape)
            }
            (config, shape) => bail!("layer {config:?} on {shape:?} is not among those compared"),
        })
    }

    fn forward(&self, x: Value) -> Result<Value> {
        use Value::{Image, Vector};
        Ok(match (self, x) {
            (Self::Conv(conv), Image(x)) => Image(conv.forward(x)),
            (Self::Linear(linear), Vector(x)) => Vector(linear.forward(x)),
            (Self::BatchNorm(norm), Image(x)) => Image(norm.forward(x)),
            (Self::BatchNorm(norm), Vector(x)) => Vector(norm.forward(x)),
            (Self::Relu(relu), Image(x)) => Image(relu.forward(x)),
            (Self::Relu(relu), Vector(x)) => Vector(relu.forward(x)),
            (Self::MaxPool(pool), Image(x)) => Image(pool.forward(x)),
            (Self::AvgPool(pool), Image(x)) => Image(pool.forward(x)),
            (Self::AdaptiveAvgPool(pool), Image(x)) => Image(pool.forward(x)),
            (Self::Dropout(dropout), Image(x)) => Image(dropout.forward(x)),
            (Self::Dropout(dropout), Vector(x)) => Vector(dropout.forward(x)),
            (Self::Flatten(_), x) => Vector(x.flat()),
            (Self::Residual(Residual { body, shortcut }), x) => {
                match (body.forward(x.clone())?, shortcut.forward(x)?) {
                    (Image(long), Image(short)) => Image(long + short),
                    (Vector(long), Vector(short)) => Vector(long + short),
                    _ => bail!("the paths of a residual layer end in an image and a vector"),
                }
            }
            (layer, _) => {
                bail!("a layer of images was given vectors, or the other way round: {layer:?}")
            }
        })
    }
}

/// Padding on every side.
fn around(Size2([rows, columns]): Size2) -> PaddingConfig2d {
    PaddingConfig2d::Explicit(rows, columns, rows, columns)
}

/// The shape of a result with a pixel for each window that fits an image; a window is a kernel, a stride and a padding.
fn windows(
    channels: usize,
    image: [usize; 2],
    [kernel, stride, padding]: [Size2; 3],
) -> Vec<usize> {
    let fitting =
        |axis: usize| (image[axis] + 2 * padding.0[axis] - kernel.0[axis]) / stride.0[axis] + 1;
    vec![channels, fitting(0), fitting(1)]
}

/// Means over the bins of a grid.
pub(crate) fn on_grid(grid: Size2) -> AdaptiveAvgPool2d {
    AdaptiveAvgPool2dConfig::new(grid.0).init()
}
