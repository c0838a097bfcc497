//! Layers with hand-written rules.
//!
//! A layer writes operations; it computes nothing itself. It has three rules: forward, backward
//! (given the gradient of its output) and forward-mode (given the tangent of its input and of its
//! parameters). No layer knows which method asks: a method decides which rules are written, and a
//! rule writes nothing that was not asked for. What forward gradients need beside the three is made of
//! them: [`Layer::jvp_with_noise`] and [`Layer::forward_gradient`].

mod activation;
mod batch_norm;
mod bias;
mod conv;
mod dropout;
mod filter_mean;
mod flatten;
mod linear;
mod parameter_free;
mod parametric;
mod perturb;
mod pool;
mod residual;
mod sequential;
mod softmax;

pub(crate) use filter_mean::FilterMean;
pub(crate) use flatten::FlattenLayer;
pub(crate) use linear::LinearLayer;
pub(crate) use parameter_free::{ParameterFree, ParameterFreeLayer};
pub(crate) use parametric::{Affine, Parametric};
pub use perturb::{Derivative, Perturbation, Perturbed};
pub use sequential::Sequential;
pub(crate) use softmax::SoftmaxLayer;

use std::fmt::Debug;

use crate::config::{ConfigError, LayerConfig};
use crate::program::{Activation, TensorId};
use crate::random::{Purpose, Stream};
use crate::sizes;
use crate::step::StepBuilder;

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±`bound`. Layers use `1 / √fan_in` for weights and biases, as PyTorch does.
    Uniform {
        /// The bound.
        bound: f64,
    },
    /// One value.
    Constant(f32),
}

impl Init {
    /// PyTorch's default for a layer whose outputs are sums of `fan_in` products.
    pub fn for_fan_in(fan_in: usize) -> Self {
        Init::Uniform { bound: 1.0 / (fan_in.max(1) as f64).sqrt() }
    }

    /// `len` values, drawn from a stream.
    pub fn values(self, seed: u64, stream: Stream, len: usize) -> Vec<f32> {
        match self {
            Init::Constant(value) => vec![value; len],
            Init::Uniform { bound } => (0..len.div_ceil(4) as u32)
                .flat_map(|block| stream.block(seed, 0, 0, block))
                .take(len)
                .map(|word| (bound * (2.0 * crate::random::unit(word) - 1.0)) as f32)
                .collect(),
        }
    }
}

/// A parameter of a layer, or a buffer such as a running mean.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Name within the layer, such as `weight`.
    pub name: String,
    /// Shape in a program (convolution weights are `[out, kh, kw, in]`).
    pub shape: Vec<usize>,
    /// Initial values.
    pub init: Init,
    /// Whether an optimiser changes it; a buffer is changed by the forward rule instead.
    pub trainable: bool,
}

impl ParameterSpec {
    fn weight(name: &str, shape: &[usize], init: Init) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), init, trainable: true }
    }

    fn buffer(name: &str, shape: &[usize], value: f32) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            init: Init::Constant(value),
            trainable: false,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the forward rule leaves for the others.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Input.
    pub x: TensorId,
    /// Output.
    pub y: TensorId,
    /// Whatever else the layer needs to remember.
    pub tensors: Vec<TensorId>,
    /// Records of the layers inside.
    pub inner: Vec<Saved>,
    /// The random direction that was added here, if any.
    pub perturbed: Option<Perturbed>,
}

impl Saved {
    fn new(x: TensorId, y: TensorId) -> Self {
        Self { x, y, tensors: Vec::new(), inner: Vec::new(), perturbed: None }
    }
}

/// Which gradients the backward rule is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsGrad {
    /// That of the input.
    pub input: bool,
    /// Those of the trainable parameters.
    pub parameters: bool,
}

/// Gradients written by a backward rule.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    /// That of the input, if asked for.
    pub input: Option<TensorId>,
    /// Pairs of a parameter and its gradient.
    pub parameters: Vec<(TensorId, TensorId)>,
}

/// A layer for inputs of one shape.
pub trait Layer: Debug + Send + Sync {
    /// A short description for people: `conv 3×3, 40`.
    fn describe(&self) -> String;

    /// Shape of the output, without the batch.
    fn output_shape(&self) -> &[usize];

    /// Parameters and buffers, in the order in which the rules expect their tensors.
    fn parameters(&self) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// How many layers with weights (linear or convolutional) the longest path through it crosses.
    fn depth(&self) -> usize {
        0
    }

    /// Forward rule.
    fn forward(&self, step: &mut StepBuilder<'_>, parameters: &[TensorId], x: TensorId) -> Saved;

    /// Backward rule: what `dy`, the gradient of the output, makes of the gradients asked for.
    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients;

    /// Forward-mode rule: the tangent of the output. `dx` is the tangent of the input and
    /// `dparameters` that of each trainable parameter in order; none stands for zero. None comes
    /// back where both are zero.
    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId>;

    /// Whether an output in training depends on other samples than its own input's.
    fn couples_batch(&self) -> bool {
        false
    }

    /// The forward rule and the forward-mode rule side by side, with a random direction added (see
    /// [`Perturbation`]): the tangent of the output comes back beside the record. A layer made of others
    /// goes layer by layer, so that nothing outlives the next layer that the method does not need.
    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturbation,
    ) -> (Saved, Option<TensorId>) {
        let mut record = self.forward(step, parameters, x);
        let trainable = perturb::trainable(&self.parameters(), parameters);
        let dy = if trainable.is_empty() {
            self.jvp(step, parameters, &record, dx, None)
        } else {
            match perturb {
                Perturbation::Parameters => {
                    let drawn = perturb::draw_parameters(step, &trainable, &mut record);
                    self.jvp(step, parameters, &record, dx, Some(&drawn))
                }
                Perturbation::Outputs { couples_batch } => {
                    let dy = self.jvp(step, parameters, &record, dx, None);
                    let drawn =
                        perturb::draw_output(step, trainable[0], &mut record, couples_batch);
                    step.sum(dy, Some(drawn))
                }
            }
        };
        (record, dy)
    }

    /// Writes the forward gradient of every parameter that [`jvp_with_noise`](Self::jvp_with_noise) reached: pairs
    /// of a parameter and its gradient.
    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        derivative: &mut Derivative,
    ) -> Vec<(TensorId, TensorId)> {
        match &record.perturbed {
            None => Vec::new(),
            Some(Perturbed::Parameters(streams)) => {
                let trainable = perturb::trainable(&self.parameters(), parameters);
                perturb::estimate_parameters(step, &trainable, streams, derivative)
            }
            Some(Perturbed::Output { stream, couples_batch }) => {
                let dy =
                    derivative.forward_gradient_output(step, record.y, *stream, *couples_batch);
                let needs_grad = NeedsGrad { input: false, parameters: true };
                self.backward(step, parameters, record, dy, needs_grad).parameters
            }
        }
    }
}

/// Makes layers from their configuration, and holds their sizes against the limits of [`sizes`].
#[derive(Debug, Default)]
pub struct LayerBuilder {
    dropouts: u32,
    layers: usize,
    nested: usize,
    extent: Extent,
}

/// What the layers of a network ask of a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    /// Elements of the largest output of a layer, for one example.
    pub(crate) largest: usize,
    /// The batch normalisation with the fewest values of a channel in an example: how many there are,
    /// and its path.
    pub(crate) fewest: Option<(usize, String)>,
}

impl LayerBuilder {
    /// The layer for inputs of shape `input` (without the batch): `[features]`, or
    /// `[height, width, channels]`. `path` names the setting in errors.
    ///
    /// # Errors
    /// A setting out of range, or one that does not fit the input.
    pub fn layer(
        &mut self,
        config: &LayerConfig,
        input: &[usize],
        path: &str,
    ) -> Result<Box<dyn Layer>, ConfigError> {
        let fail = |message: String| ConfigError::new(path, message);
        for (key, value) in config.settings() {
            sizes::setting(path, key, value)?;
        }
        let layer: Box<dyn Layer> = match config {
            LayerConfig::Conv { filters, kernel, stride, padding, groups, bias } => {
                let window = crate::program::Window::square(*kernel, *stride, *padding);
                let conv = conv::ConvLayer::new(input, *filters, window, *groups, *bias);
                Box::new(conv.and_then(Parametric::new).map_err(fail)?)
            }
            LayerConfig::Linear { features, bias } => {
                let linear = LinearLayer::new(input, *features, 1, *bias);
                Box::new(linear.and_then(Parametric::new).map_err(fail)?)
            }
            LayerConfig::Bias => Box::new(bias::BiasLayer::new(input)),
            LayerConfig::Relu => self.activation(input, Activation::Relu),
            LayerConfig::Sigmoid => self.activation(input, Activation::Sigmoid),
            LayerConfig::Tanh => self.activation(input, Activation::Tanh),
            LayerConfig::Softmax { width } => {
                Box::new(ParameterFree(SoftmaxLayer::new(input, *width).map_err(fail)?))
            }
            LayerConfig::MaxPool(window) => {
                Box::new(ParameterFree(pool::MaxPoolLayer::new(input, window).map_err(fail)?))
            }
            LayerConfig::AvgPool(window) => {
                Box::new(ParameterFree(pool::AvgPoolLayer::new(input, window).map_err(fail)?))
            }
            LayerConfig::AdaptiveAvgPool { grid } => self.grid(input, *grid, path)?,
            LayerConfig::GlobalAvgPool => self.grid(input, 1, path)?,
            LayerConfig::BatchNorm(config) => {
                self.normalizes(input, path);
                Box::new(batch_norm::BatchNormLayer::new(input, *config).map_err(fail)?)
            }
            LayerConfig::Dropout { rate } => self.dropout(input, *rate, path)?,
            LayerConfig::Flatten => {
                Box::new(ParameterFree(FlattenLayer::new(input).map_err(fail)?))
            }
            LayerConfig::Residual { body, shortcut } => {
                if self.nested == sizes::MAX_NESTED {
                    let most = sizes::MAX_NESTED;
                    return Err(fail(format!("`residual` is nested deeper than {most} levels")));
                }
                self.nested += 1;
                let body =
                    self.sequential(body, input, "body", &format!("{path}.residual.body"))?;
                let shortcut = self.sequential(
                    shortcut,
                    input,
                    "shortcut",
                    &format!("{path}.residual.shortcut"),
                )?;
                self.nested -= 1;
                Box::new(residual::ResidualLayer::new(body, shortcut).map_err(fail)?)
            }
        };
        self.admit(layer.output_shape(), path)?;
        Ok(layer)
    }

    /// Counts a layer with outputs of this shape.
    ///
    /// # Errors
    /// One layer too many, or an output that is too large.
    pub(crate) fn admit(&mut self, output: &[usize], path: &str) -> Result<(), ConfigError> {
        let fail = |message: String| ConfigError::new(path, message);
        self.layers += 1;
        if self.layers > sizes::MAX_LAYERS {
            let most = sizes::MAX_LAYERS;
            let message =
                format!("expected at most {most} layers in a network, each block's counted");
            return Err(fail(message));
        }
        let elements = sizes::elements("an output", output, sizes::MAX_EXAMPLE).map_err(fail)?;
        self.extent.largest = self.extent.largest.max(elements);
        Ok(())
    }

    /// Notes a batch normalisation of inputs of this shape.
    fn normalizes(&mut self, input: &[usize], path: &str) {
        let values = input.split_last().map_or(1, |(_, positions)| positions.iter().product());
        if self.extent.fewest.as_ref().is_none_or(|(fewest, _)| values < *fewest) {
            self.extent.fewest = Some((values, path.to_owned()));
        }
    }

    /// What the layers ask of a batch.
    pub(crate) fn into_extent(self) -> Extent {
        self.extent
    }

    /// Layers one after the other; the parameters of layer j are named `{label}{j}.…`, from 1.
    ///
    /// # Errors
    /// See [`LayerBuilder::layer`]; the path gets the layer's position, from 0.
    pub fn sequential(
        &mut self,
        configs: &[LayerConfig],
        input: &[usize],
        label: &str,
        path: &str,
    ) -> Result<Sequential, ConfigError> {
        let mut chain = Sequential::new(input);
        for (index, config) in configs.iter().enumerate() {
            let layer = self.layer(config, chain.output_shape(), &format!("{path}[{index}]"))?;
            chain.push(format!("{label}{}", index + 1), layer);
        }
        Ok(chain)
    }

    /// Average pooling to a square grid.
    pub(crate) fn grid(
        &mut self,
        input: &[usize],
        grid: usize,
        path: &str,
    ) -> Result<Box<dyn Layer>, ConfigError> {
        sizes::at_most(path, grid, sizes::MAX_SETTING)?;
        let layer = pool::AdaptiveAvgPoolLayer::new(input, grid);
        Ok(Box::new(ParameterFree(layer.map_err(|message| ConfigError::new(path, message))?)))
    }

    /// Dropout with a random stream of its own.
    pub(crate) fn dropout(
        &mut self,
        input: &[usize],
        rate: f64,
        path: &str,
    ) -> Result<Box<dyn Layer>, ConfigError> {
        self.dropouts += 1;
        let stream = Stream::new(Purpose::Dropout, self.dropouts);
        let layer = dropout::DropoutLayer::new(input, rate, stream);
        Ok(Box::new(ParameterFree(layer.map_err(|message| ConfigError::new(path, message))?)))
    }

    pub(crate) fn activation(&self, input: &[usize], function: Activation) -> Box<dyn Layer> {
        Box::new(ParameterFree(activation::ActivationLayer::new(input, function)))
    }
}

/// The three extents of an image, or a message.
fn image(input: &[usize]) -> Result<[usize; 3], String> {
    input.try_into().map_err(|_| {
        format!("needs an image [height, width, channels], but the input has shape {input:?}")
    })
}

/// The extent of a vector, or a message.
fn vector(input: &[usize]) -> Result<usize, String> {
    match input {
        [features] => Ok(*features),
        _ => Err(format!(
            "needs a vector, but the input has shape {input:?}; put `flatten` before it"
        )),
    }
}
