//! A number added to each channel.

use super::{
    BuildLayer, Built, Coupling, Gradients, Init, Layer, LayerBuilder, NeedsGrad, Saved, Tangents,
};
use crate::program::{AddBias, BiasGrad, TensorId};
use crate::step::StepBuilder;

/// `bias`: a number added to each channel.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#""bias""#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 3])?;
/// assert_eq!(layer.output_shape(), [8, 8, 3]);
/// let shapes: Vec<_> = set.tensors().iter().map(|(_, tensor)| &tensor.shape[..]).collect();
/// assert_eq!(shapes, [[3]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub(super) struct BiasConfig;

impl BuildLayer for BiasConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let channels = input.last().copied().unwrap_or(1);
        let bias = builder.parameter("bias", &[channels], Init::Constant(0.0));
        Ok(Box::new(BiasLayer { shape: input.to_vec(), bias }))
    }
}

/// A number added to each channel.
#[derive(Debug)]
struct BiasLayer {
    shape: Vec<usize>,
    bias: TensorId,
}

impl Layer for BiasLayer {
    fn describe(&self) -> String {
        "bias".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn coupling(&self) -> Coupling {
        Coupling::NOTHING
    }

    fn trainable(&self) -> Vec<TensorId> {
        vec![self.bias]
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let y = step.like("bias", x);
        step.push(AddBias { x, bias: self.bias, y });
        Saved::new(x, y)
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        _: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let mut gradients =
            Gradients { input: needs_grad.input.then_some(dy), parameters: Vec::new() };
        if needs_grad.parameters {
            let dbias = step.gradient(self.bias);
            step.push(BiasGrad { dy, dbias });
            gradients.parameters.push((self.bias, dbias));
        }
        gradients
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        let Some(&bias) = tangents.get(&self.bias) else { return dx };
        // Where the input has no tangent there is no tensor to add to: start from zeros.
        let dx = dx.unwrap_or_else(|| step.zeros_like(saved.x));
        let dy = step.like("bias.tangent", saved.y);
        step.push(AddBias { x: dx, bias, y: dy });
        Some(dy)
    }
}
