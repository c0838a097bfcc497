//! A linear map over positions, shared by all channels (Tolstikhin et al. 2021).

use serde::{Deserialize, Serialize};

use super::{Affine, BuildLayer, Built, Coupling, LayerBuilder, Parametric, image};
use crate::program::{Linear, LinearInputGrad, LinearWeightGrad, SwapAxes, TensorId};
use crate::step::StepBuilder;

/// Linear map over the positions of an image, shared by all channels: `y[p, c] = Σ_q W[p, q] x[q, c] + b[p]`.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"token_mixing": {}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 512])?;
/// assert_eq!(layer.output_shape(), [8, 8, 512]);
/// let shapes: Vec<_> = set.tensors().iter().map(|(_, tensor)| &tensor.shape[..]).collect();
/// assert_eq!(shapes, [&[64, 64][..], &[64]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TokenMixingConfig {
    /// Whether each position has a bias.
    pub bias: bool,
}

impl Default for TokenMixingConfig {
    fn default() -> Self {
        Self { bias: true }
    }
}

impl BuildLayer for TokenMixingConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let image = image(input)?;
        let positions = image[0] * image[1];
        Parametric::build(builder, TokenMixingLayer { image }, &[positions, positions], self.bias)
    }
}

/// A linear map of the rows of `[batch · channels, positions]`.
#[derive(Debug)]
struct TokenMixingLayer {
    image: [usize; 3],
}

impl TokenMixingLayer {
    /// A new tensor of a row of positions for each channel of each image.
    fn rows(&self, step: &mut StepBuilder<'_>) -> TensorId {
        let [height, width, channels] = self.image;
        step.real("token_mixing.rows", &[step.batch() * channels, height * width])
    }

    fn to_rows(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let rows = self.rows(step);
        step.push(SwapAxes::channels_first(x, rows, &self.image));
        rows
    }

    fn to_image(&self, step: &mut StepBuilder<'_>, rows: TensorId, y: TensorId) {
        step.push(SwapAxes::channels_last(rows, y, &self.image));
    }
}

impl Affine for TokenMixingLayer {
    fn describe(&self) -> String {
        let [height, width, _] = self.image;
        format!("token mixing {}", height * width)
    }

    fn output_shape(&self) -> &[usize] {
        &self.image
    }

    fn coupling(&self) -> Coupling {
        Coupling::POSITIONS
    }

    fn product(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId {
        let (x, product) = (self.to_rows(step, x), self.rows(step));
        step.push(Linear { x, weight, bias, y: product, groups: 1 });
        let y = step.activation("token_mixing", &self.image);
        self.to_image(step, product, y);
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
        let (x, dy) = (self.to_rows(step, x), self.to_rows(step, dy));
        step.push(LinearWeightGrad { x, dy, dweight, dbias, groups: 1 });
    }

    fn input_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        dy: TensorId,
        weight: TensorId,
        dx: TensorId,
    ) {
        let (dy, product) = (self.to_rows(step, dy), self.rows(step));
        step.push(LinearInputGrad { dy, weight, dx: product, groups: 1 });
        self.to_image(step, product, dx);
    }
}
