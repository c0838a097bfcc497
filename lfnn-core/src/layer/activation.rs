//! ReLU, sigmoid and tanh.

use super::{BuildLayer, Built, LayerBuilder, ParameterFreeLayer, Saved};
use crate::program::{Activate, ActivateGrad, Activation, TensorId};
use crate::step::StepBuilder;

/// A pointwise nonlinearity.
#[derive(Debug)]
struct ActivationLayer {
    shape: Vec<usize>,
    function: Activation,
}

impl BuildLayer for Activation {
    fn build(&self, _: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        Ok(Box::new(ActivationLayer { shape: input.to_vec(), function: *self }))
    }
}

impl ActivationLayer {
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

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        self.scale(step, saved.y, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId {
        self.scale(step, saved.y, dx)
    }
}
