//! Dropout (Srivastava et al. 2014), inverted: the kept elements are scaled in training.

use super::{Map, Record};
use crate::program::{Dropout, TensorId};
use crate::random::Stream;
use crate::step::{Mode, StepWriter};

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
    fn drop(&self, step: &mut StepWriter<'_>, x: TensorId) -> TensorId {
        if self.rate == 0.0 || step.mode() == Mode::Evaluate {
            return x;
        }
        let y = step.like("dropout", x);
        let clock = step.clock();
        step.push(Dropout { x, clock, y, rate: self.rate, stream: self.stream });
        y
    }
}

impl Map for DropoutLayer {
    fn describe(&self) -> String {
        format!("dropout {}", self.rate)
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn apply(&self, step: &mut StepWriter<'_>, x: TensorId) -> Record {
        Record::new(x, self.drop(step, x))
    }

    fn pull_back(&self, step: &mut StepWriter<'_>, _: &Record, dy: TensorId) -> TensorId {
        self.drop(step, dy)
    }

    fn push_forward(&self, step: &mut StepWriter<'_>, _: &Record, dx: TensorId) -> TensorId {
        self.drop(step, dx)
    }
}
