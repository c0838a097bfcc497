//! Layer normalisation over the channels of each position.

use serde::{Deserialize, Serialize};

use super::{
    BuildLayer, Built, Coupling, Gradients, Init, Kind, Layer, LayerBuilder, NeedsGrad, Saved,
    Tangents, check_epsilon,
};
use crate::program::{BatchNormInference, BiasGrad, LayerNorm, LayerNormGrad, ScaleGrad, TensorId};
use crate::step::StepBuilder;

/// Layer normalisation over the channels of each position, or of each group of them.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"layer_norm": {"groups": 4}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 40])?;
/// assert_eq!(layer.output_shape(), [8, 8, 40]);
/// let shapes: Vec<_> = set.tensors().iter().map(|(_, tensor)| &tensor.shape[..]).collect();
/// assert_eq!(shapes, [[40], [40]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LayerNormConfig {
    /// Groups of consecutive channels, each with a mean and a variance of its own.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether each channel has a gain and an offset.
    pub affine: bool,
}

impl Default for LayerNormConfig {
    fn default() -> Self {
        Self { groups: 1, epsilon: 1e-5, affine: true }
    }
}

impl BuildLayer for LayerNormConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        builder.limit(&[("layer_norm.groups", self.groups)])?;
        let (groups, epsilon) = (self.groups, self.epsilon);
        check_epsilon(epsilon)?;
        let channels = input.last().copied().unwrap_or(1);
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(format!("{groups} groups do not divide {channels} channels evenly").into());
        }
        let affine = self.affine.then(|| Gain {
            weight: builder.parameter("weight", &[channels], Init::Constant(1.0)),
            bias: builder.parameter("bias", &[channels], Init::Constant(0.0)),
        });
        Ok(Box::new(LayerNormLayer { shape: input.to_vec(), groups, epsilon, affine }))
    }
}

/// A gain and an offset for each channel.
#[derive(Clone, Copy, Debug)]
struct Gain {
    weight: TensorId,
    bias: TensorId,
}

impl Gain {
    /// `y[…, c] = weight[c] x[…, c] + bias[c]`, where none is zero.
    fn apply(
        step: &mut StepBuilder<'_>,
        x: TensorId,
        weight: Option<TensorId>,
        bias: Option<TensorId>,
    ) -> Option<TensorId> {
        let zeros = step.zeros_like(weight.or(bias)?);
        let y = step.like("layer_norm.scaled", x);
        // The normalisation of prediction with a mean of 0 and a variance of 1, which is ε.
        step.push(BatchNormInference {
            x,
            gamma: weight.unwrap_or(zeros),
            beta: bias.unwrap_or(zeros),
            running_mean: zeros,
            running_var: zeros,
            y,
            epsilon: 1.0,
        });
        Some(y)
    }
}

#[derive(Debug)]
struct LayerNormLayer {
    shape: Vec<usize>,
    groups: usize,
    epsilon: f64,
    affine: Option<Gain>,
}

impl LayerNormLayer {
    /// Channels of a group.
    fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1) / self.groups
    }

    /// The Jacobian of the normalisation is symmetric: one rule serves both directions.
    fn jacobian(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let [y, inv_std] = [saved.tensors[0], saved.tensors[1]];
        let dx = step.like("layer_norm.gradient", saved.x);
        step.push(LayerNormGrad { y, inv_std, dy, dx, width: self.width() });
        dx
    }

    /// Gain and derivative of the gain.
    fn scale(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let weight = self.affine.map(|gain| gain.weight);
        Gain::apply(step, x, weight, None).unwrap_or(x)
    }
}

impl Layer for LayerNormLayer {
    fn describe(&self) -> String {
        match self.groups {
            1 => "layer norm".into(),
            groups => format!("layer norm in {groups} groups"),
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn coupling(&self) -> Coupling {
        Coupling::groups(self.groups)
    }

    fn kind(&self) -> Kind {
        Kind::Normalization
    }

    fn trainable(&self) -> Vec<TensorId> {
        self.affine.iter().flat_map(|gain| [gain.weight, gain.bias]).collect()
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let normalized = step.like("layer_norm", x);
        let runs = step.shape(x).iter().product::<usize>() / self.width();
        let inv_std = step.vector("layer_norm.inv_std", runs);
        let (width, epsilon) = (self.width(), self.epsilon);
        step.push(LayerNorm { x, y: normalized, inv_std, width, epsilon });
        let gain = self.affine;
        let y =
            gain.and_then(|gain| Gain::apply(step, normalized, Some(gain.weight), Some(gain.bias)));
        Saved { tensors: vec![normalized, inv_std], ..Saved::new(x, y.unwrap_or(normalized)) }
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let mut gradients = Gradients::default();
        if let Some(Gain { weight, bias }) = self.affine.filter(|_| needs_grad.parameters) {
            let (dscale, dbias) = (step.gradient(weight), step.gradient(bias));
            step.push(ScaleGrad { x: saved.tensors[0], dy, dscale });
            step.push(BiasGrad { dy, dbias });
            gradients.parameters = vec![(weight, dscale), (bias, dbias)];
        }
        if needs_grad.input {
            let dy = self.scale(step, dy);
            gradients.input = Some(self.jacobian(step, saved, dy));
        }
        gradients
    }

    /// `γ ẋ' + (γ̇ x̂ + β̇)` with the tangent ẋ' of the normalised input x̂.
    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        let through = dx.map(|dx| {
            let dx = self.jacobian(step, saved, dx);
            self.scale(step, dx)
        });
        let own = self.affine.and_then(|gain| {
            let [weight, bias] = [gain.weight, gain.bias].map(|id| tangents.get(&id).copied());
            Gain::apply(step, saved.tensors[0], weight, bias)
        });
        step.sum(through, own)
    }
}
