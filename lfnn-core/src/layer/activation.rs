//! ReLU, sigmoid and tanh.

use super::{Map, Record};
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

impl Map for ActivationLayer {
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

    fn apply(&self, step: &mut StepWriter<'_>, x: TensorId) -> Record {
        let y = step.like("activation", x);
        step.push(Activate { x, y, function: self.function });
        Record::new(x, y)
    }

    fn pull_back(&self, step: &mut StepWriter<'_>, record: &Record, dy: TensorId) -> TensorId {
        self.scale(step, record.y, dy)
    }

    fn push_forward(&self, step: &mut StepWriter<'_>, record: &Record, dx: TensorId) -> TensorId {
        self.scale(step, record.y, dx)
    }
}
