//! A number added to each channel.

use super::{Gradients, Init, Layer, NeedsGrad, ParameterSpec, Saved};
use crate::program::{AddBias, BiasGrad, TensorId};
use crate::step::StepBuilder;

/// A number added to each channel.
#[derive(Debug)]
pub(super) struct BiasLayer {
    shape: Vec<usize>,
}

impl BiasLayer {
    pub(super) fn new(input: &[usize]) -> Self {
        Self { shape: input.to_vec() }
    }
}

impl Layer for BiasLayer {
    fn describe(&self) -> String {
        "bias".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let channels = self.shape.last().copied().unwrap_or(1);
        vec![ParameterSpec::weight("bias", &[channels], Init::Constant(0.0))]
    }

    fn forward(&self, step: &mut StepBuilder<'_>, parameters: &[TensorId], x: TensorId) -> Saved {
        let y = step.like("bias", x);
        step.push(AddBias { x, bias: parameters[0], y });
        Saved::new(x, y)
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        _: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let mut gradients =
            Gradients { input: needs_grad.input.then_some(dy), parameters: Vec::new() };
        if needs_grad.parameters {
            let dbias = step.gradient(parameters[0]);
            step.push(BiasGrad { dy, dbias });
            gradients.parameters.push((parameters[0], dbias));
        }
        gradients
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        _: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        let Some(&[dbias]) = dparameters else { return dx };
        // Where the input has no tangent there is no tensor to add to: start from zeros.
        let dx = dx.unwrap_or_else(|| step.zeros_like(record.x));
        let dy = step.like("bias.tangent", record.y);
        step.push(AddBias { x: dx, bias: dbias, y: dy });
        Some(dy)
    }
}
