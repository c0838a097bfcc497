//! ReLU, sigmoid and tanh.

use super::{Gradients, Layer, Record, Want};
use crate::program::{Activate, ActivateGrad, Activation, TensorId};
use crate::step::StepWriter;

/// A pointwise nonlinearity.
#[derive(Debug)]
pub(super) struct ActivationLayer {
    shape: Vec<usize>,
    function: Activation,
}

impl ActivationLayer {
    pub(super) fn new(input: &[usize], function: Activation) -> Self {
        Self { shape: input.to_vec(), function }
    }

    /// The Jacobian is diagonal: one rule serves both directions.
    fn scale(&self, step: &mut StepWriter<'_>, y: TensorId, dy: TensorId) -> TensorId {
        let dx = step.like("activation.gradient", y);
        step.push(ActivateGrad { y, dy, dx, function: self.function });
        dx
    }
}

impl Layer for ActivationLayer {
    fn describe(&self) -> String {
        match self.function {
            Activation::Relu => "relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
        }
        .into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(&self, step: &mut StepWriter<'_>, _: &[TensorId], x: TensorId) -> Record {
        let y = step.like("activation", x);
        step.push(Activate { x, y, function: self.function });
        Record::new(x, y)
    }

    fn backward(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        record: &Record,
        dy: TensorId,
        want: Want,
    ) -> Gradients {
        let input = want.input.then(|| self.scale(step, record.y, dy));
        Gradients { input, ..Gradients::default() }
    }

    fn tangent(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        record: &Record,
        dx: Option<TensorId>,
        _: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        dx.map(|dx| self.scale(step, record.y, dx))
    }
}
