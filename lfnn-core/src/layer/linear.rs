//! Fully connected layers, in independent groups.

use serde::{Deserialize, Serialize};

use super::{Affine, BuildLayer, Built, Coupling, LayerBuilder, Parametric, vector, yes};
use crate::program::{Linear, LinearInputGrad, LinearWeightGrad, TensorId};
use crate::step::StepBuilder;

/// Fully connected layer on a vector.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"linear": {"features": 10}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[64])?;
/// assert_eq!(layer.output_shape(), [10]);
/// let shapes: Vec<_> = set.tensors().iter().map(|(_, tensor)| &tensor.shape[..]).collect();
/// assert_eq!(shapes, [&[10, 64][..], &[10]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LinearConfig {
    /// Output features.
    pub features: usize,
    /// Whether each feature has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
}

impl BuildLayer for LinearConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        builder.limit(&[("linear.features", self.features)])?;
        build(builder, input, self.features, 1, self.bias)
    }
}

/// A fully connected layer in which each group of inputs has its own outputs.
pub(crate) struct GroupedLinear {
    /// Outputs of all groups together.
    pub(crate) features: usize,
    /// Number of groups.
    pub(crate) groups: usize,
}

impl BuildLayer for GroupedLinear {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        build(builder, input, self.features, self.groups, true)
    }
}

fn build(
    builder: &mut LayerBuilder<'_>,
    input: &[usize],
    features: usize,
    groups: usize,
    bias: bool,
) -> Built {
    let inputs = vector(input)?;
    if features == 0 {
        return Err("0 features, expected at least 1".into());
    }
    if groups == 0 || !inputs.is_multiple_of(groups) || !features.is_multiple_of(groups) {
        let message =
            format!("{groups} groups do not divide {inputs} inputs and {features} outputs evenly");
        return Err(message.into());
    }
    let linear = LinearLayer { output: [features], groups };
    Parametric::build(builder, linear, &[features, inputs / groups], bias)
}

/// `y = x Wᵀ + b`.
#[derive(Debug)]
struct LinearLayer {
    output: [usize; 1],
    groups: usize,
}

impl Affine for LinearLayer {
    fn describe(&self) -> String {
        match self.groups {
            1 => format!("linear {}", self.output[0]),
            groups => format!("linear {groups} × {}", self.output[0] / groups),
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn coupling(&self) -> Coupling {
        Coupling::groups(self.groups)
    }

    fn product(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId {
        let y = step.activation("linear", &self.output);
        step.push(Linear { x, weight, bias, y, groups: self.groups });
        y
    }

    fn weight_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dy: TensorId,
        dweight: TensorId,
        dbias: Option<TensorId>,
    ) {
        step.push(LinearWeightGrad { x, dy, dweight, dbias, groups: self.groups });
    }

    fn input_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        dy: TensorId,
        weight: TensorId,
        dx: TensorId,
    ) {
        step.push(LinearInputGrad { dy, weight, dx, groups: self.groups });
    }
}
