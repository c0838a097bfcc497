//! Dropout (Srivastava et al. 2014), inverted: the kept elements are scaled in training.

use super::{ParameterFreeLayer, Saved};
use crate::program::{Dropout, TensorId};
use crate::random::Stream;
use crate::step::{Mode, StepBuilder};

/// Random zeros in training; the identity in evaluation.
#[derive(Debug)]
pub(super) struct DropoutLayer {
    shape: Vec<usize>,
    rate: f64,
    stream: Stream,
}

impl DropoutLayer {
    pub(super) fn new(input: &[usize], rate: f64, stream: Stream) -> Result<Self, String> {
        if !(0.0..1.0).contains(&rate) {
            return Err(format!("a dropout rate of {rate}, expected at least 0 and below 1"));
        }
        Ok(Self { shape: input.to_vec(), rate, stream })
    }

    /// Drops the same elements of whatever it is given: values, gradients or tangents.
    fn drop(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        if self.rate == 0.0 || step.mode() == Mode::Evaluate {
            return x;
        }
        let y = step.like("dropout", x);
        let clock = step.clock();
        step.push(Dropout { x, clock, y, rate: self.rate, stream: self.stream });
        y
    }
}

impl ParameterFreeLayer for DropoutLayer {
    fn describe(&self) -> String {
        format!("dropout {}", self.rate)
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.drop(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, _: &Saved, dy: TensorId) -> TensorId {
        self.drop(step, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.drop(step, dx)
    }
}
