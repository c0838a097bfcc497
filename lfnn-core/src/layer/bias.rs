//! A number added to each channel.

use super::{Gradients, Init, Layer, ParameterSpec, Record, Want};
use crate::program::{AddBias, BiasGrad, TensorId};
use crate::step::StepWriter;

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

    fn forward(&self, step: &mut StepWriter<'_>, parameters: &[TensorId], x: TensorId) -> Record {
        let y = step.like("bias", x);
        step.push(AddBias { x, bias: parameters[0], y });
        Record::new(x, y)
    }

    fn backward(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        _: &Record,
        dy: TensorId,
        want: Want,
    ) -> Gradients {
        let mut gradients = Gradients { input: want.input.then_some(dy), parameters: Vec::new() };
        if want.parameters {
            let dbias = step.gradient(parameters[0]);
            step.push(BiasGrad { dy, dbias });
            gradients.parameters.push((parameters[0], dbias));
        }
        gradients
    }

    fn tangent(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        record: &Record,
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
