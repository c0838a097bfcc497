//! ReLU, sigmoid and tanh.

use super::{ParameterFreeLayer, Saved};
use crate::program::{Activate, ActivateGrad, Activation, TensorId};
use crate::step::StepBuilder;

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
    fn scale(&self, step: &mut StepBuilder<'_>, y: TensorId, dy: TensorId) -> TensorId {
        let dx = step.like("activation.gradient", y);
        step.push(ActivateGrad { y, dy, dx, function: self.function });
        dx
    }
}

impl ParameterFreeLayer for ActivationLayer {
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

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let y = step.like("activation", x);
        step.push(Activate { x, y, function: self.function });
        Saved::new(x, y)
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        self.scale(step, record.y, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, record: &Saved, dx: TensorId) -> TensorId {
        self.scale(step, record.y, dx)
    }
}
