//! Layers with hand-written rules.
//!
//! A layer writes operations; it computes nothing itself. It is built into a program set, where it declares its
//! parameters and buffers, and keeps their ids. It has three rules: forward, backward (given the gradient of its
//! output) and forward-mode (given the tangent of its input and of its parameters). No layer knows which method
//! asks: a method decides which rules are written, and a rule writes nothing that was not asked for. What forward
//! gradients need beside the three is made of them: [`Layer::jvp_with_noise`] and [`Layer::forward_gradient`].
//!
//! A layer is one file: its configuration, its construction and its rules. [`LayerConfig`] lists them. A program can
//! have layers of its own ([`LayerConfig::custom`]): a configuration that implements [`BuildLayer`], and a [`Layer`],
//! or without parameters a [`ParameterFreeLayer`].

mod activation;
mod batch_norm;
mod bias;
mod builder;
mod conv;
mod coupling;
mod custom;
mod dropout;
mod filter_mean;
mod flatten;
mod layer_norm;
mod linear;
mod parameter_free;
mod parametric;
mod patches;
mod perturb;
mod pool;
mod residual;
mod sequential;
mod similarity;
mod softmax;
mod token_mixing;

pub use batch_norm::BatchNormConfig;
pub(crate) use builder::Extent;
pub use builder::{BuildError, BuildLayer, Built, Init, LayerBuilder, Parameter};
pub use conv::ConvConfig;
pub use coupling::{Coupling, Kind};
pub use custom::CustomLayer;
pub use dropout::DropoutConfig;
pub(crate) use filter_mean::FilterMeanConfig;
pub(crate) use flatten::FlattenConfig;
pub use layer_norm::LayerNormConfig;
pub(crate) use linear::GroupedLinear;
pub use linear::LinearConfig;
pub use parameter_free::ParameterFreeLayer;
use parametric::{Affine, Parametric};
pub use patches::PatchesConfig;
pub use perturb::{Cut, Derivative, Gate, Perturbation, Perturbed};
pub use pool::{AdaptiveAvgPoolConfig, AvgPoolConfig, MaxPoolConfig, PoolConfig};
pub use residual::ResidualConfig;
pub use sequential::Sequential;
pub(crate) use similarity::{DeviationConfig, NormalizeRowsConfig};
pub use softmax::SoftmaxConfig;
pub use token_mixing::TokenMixingConfig;

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::config::Size2;
use crate::program::{Activation, TensorId};
use crate::step::StepBuilder;
use builder::{check_epsilon, image, vector};

/// A layer. Where a size is a number, height and width are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerConfig {
    /// Two-dimensional convolution.
    Conv(ConvConfig),
    /// Fully connected layer on a vector.
    Linear(LinearConfig),
    /// Linear map over positions, shared by all channels.
    TokenMixing(TokenMixingConfig),
    /// A number added to each channel.
    Bias,
    /// Rectified linear unit.
    Relu,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Softmax over each run of features.
    Softmax(SoftmaxConfig),
    /// Maximum over windows.
    MaxPool(MaxPoolConfig),
    /// Mean over windows.
    AvgPool(AvgPoolConfig),
    /// Mean over the bins of a grid.
    AdaptiveAvgPool(AdaptiveAvgPoolConfig),
    /// Mean over all positions.
    GlobalAvgPool,
    /// Batch normalisation.
    BatchNorm(BatchNormConfig),
    /// Normalisation over the channels of each position.
    LayerNorm(LayerNormConfig),
    /// Random zeros in training.
    Dropout(DropoutConfig),
    /// An image as a vector.
    Flatten,
    /// Patches of an image as positions.
    Patches(PatchesConfig),
    /// `body(x) + shortcut(x)`.
    Residual(ResidualConfig),
    /// A layer of the program's own.
    #[serde(skip_deserializing, serialize_with = "custom::refuse")]
    #[cfg_attr(feature = "schema", schemars(with = "()"))]
    Custom(CustomLayer),
}

impl BuildLayer for LayerConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let config: &dyn BuildLayer = match self {
            LayerConfig::Conv(config) => config,
            LayerConfig::Linear(config) => config,
            LayerConfig::TokenMixing(config) => config,
            LayerConfig::Bias => &bias::BiasConfig,
            LayerConfig::Relu => &Activation::Relu,
            LayerConfig::Sigmoid => &Activation::Sigmoid,
            LayerConfig::Tanh => &Activation::Tanh,
            LayerConfig::Softmax(config) => config,
            LayerConfig::MaxPool(config) => config,
            LayerConfig::AvgPool(config) => config,
            LayerConfig::AdaptiveAvgPool(config) => config,
            LayerConfig::GlobalAvgPool => &AdaptiveAvgPoolConfig { grid: Size2([1, 1]) },
            LayerConfig::BatchNorm(config) => config,
            LayerConfig::LayerNorm(config) => config,
            LayerConfig::Dropout(config) => config,
            LayerConfig::Flatten => &FlattenConfig,
            LayerConfig::Patches(config) => config,
            LayerConfig::Residual(config) => config,
            LayerConfig::Custom(config) => config,
        };
        config.build(builder, input)
    }
}

/// The tangents of one tensor along each direction of a step; none means zero.
pub type Along = Vec<Option<TensorId>>;

/// Tangents of parameters, by the parameter; one that is not there is zero.
pub type Tangents = BTreeMap<TensorId, TensorId>;

/// What the forward rule leaves for the others.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Input.
    pub x: TensorId,
    /// Output.
    pub y: TensorId,
    /// Whatever else the layer needs to remember.
    pub tensors: Vec<TensorId>,
    /// What the layers inside saved.
    pub inner: Vec<Saved>,
    /// The random directions that were added here, if any.
    pub perturbed: Option<Perturbed>,
}

impl Saved {
    /// The input and the output, and nothing else to remember.
    pub fn new(x: TensorId, y: TensorId) -> Self {
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
///
/// The rules are those of one function: the backward rule is the transpose of the forward-mode rule in input and
/// parameters. Where [`StepBuilder::mode`] is not [`Mode::Train`](crate::step::Mode::Train), the layer computes as in
/// prediction; it is then asked for the gradient of its input at most.
pub trait Layer: Debug + Send + Sync {
    /// A short description for people: `conv 3×3, 40`.
    fn describe(&self) -> String;

    /// Shape of the output, without the batch.
    fn output_shape(&self) -> &[usize];

    /// The parameters that an optimiser changes, in the order of their declaration.
    fn trainable(&self) -> Vec<TensorId> {
        Vec::new()
    }

    /// How many layers with weights (linear or convolutional) the longest path through it crosses.
    fn depth(&self) -> usize {
        0
    }

    /// Forward rule.
    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved;

    /// Backward rule: what `dy`, the gradient of the output, makes of the gradients asked for.
    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients;

    /// Forward-mode rule: the tangent of the output. `dx` is the tangent of the input; none means zero.
    /// None comes back where it and the tangents of all of the layer's parameters are zero.
    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId>;

    /// What of the input meets in the output, in training. It decides how finely a derivative along random directions
    /// may be divided; the default is right for every layer that does not let examples meet.
    fn coupling(&self) -> Coupling {
        Coupling::EXAMPLE
    }

    /// What the layer is to the perturbation of the layer in front of it.
    fn kind(&self) -> Kind {
        Kind::Plain
    }

    /// The forward rule and the forward-mode rule side by side, with random directions added (see
    /// [`Perturbation`]): the tangent of the output along each comes back beside what is saved. A layer made of others
    /// goes layer by layer, so that nothing outlives the next layer that the method does not need.
    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dx: Along,
        perturb: Perturbation,
    ) -> (Saved, Along) {
        let mut saved = self.forward(step, x);
        let trainable = self.trainable();
        let dy = dx.into_iter().map(|dx| match perturb {
            _ if trainable.is_empty() => self.jvp(step, &saved, dx, &Tangents::new()),
            Perturbation::Nothing => self.jvp(step, &saved, dx, &Tangents::new()),
            Perturbation::Parameters => {
                let drawn = perturb::draw_parameters(step, &trainable, &mut saved);
                self.jvp(step, &saved, dx, &drawn)
            }
            Perturbation::Outputs { .. } => {
                let dy = self.jvp(step, &saved, dx, &Tangents::new());
                let drawn = perturb::draw_output(step, trainable[0], &mut saved, perturb);
                step.sum(dy, drawn)
            }
        });
        let dy = dy.collect();
        (saved, dy)
    }

    /// Writes the forward gradient of every parameter that [`jvp_with_noise`](Self::jvp_with_noise) reached: pairs
    /// of a parameter and its gradient. The layer's output passes through `gate`, if there is one, and nowhere else.
    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        derivative: &mut Derivative,
        gate: Option<Gate<'_>>,
    ) -> Vec<(TensorId, TensorId)> {
        match &saved.perturbed {
            None => Vec::new(),
            Some(Perturbed::Parameters(drawn)) => {
                perturb::estimate_parameters(step, drawn, derivative)
            }
            Some(Perturbed::Output { streams, behind }) => {
                let dy = derivative.estimate_output(step, saved.y, streams, *behind, gate);
                let needs_grad = NeedsGrad { input: false, parameters: true };
                self.backward(step, saved, dy, needs_grad).parameters
            }
        }
    }
}

// Defaults of settings.
fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}
