//! Softmax over runs of features: the output of every worker.

use super::{Map, Record, vector};
use crate::program::{Softmax, SoftmaxGrad, TensorId};
use crate::step::StepWriter;

/// Softmax over each run of `width` features.
#[derive(Debug)]
pub(crate) struct SoftmaxLayer {
    shape: Vec<usize>,
    width: usize,
}

impl SoftmaxLayer {
    pub(crate) fn new(input: &[usize], width: usize) -> Result<Self, String> {
        let features = vector(input)?;
        if width == 0 || !features.is_multiple_of(width) {
            return Err(format!(
                "a softmax over runs of {width} does not divide {features} features"
            ));
        }
        Ok(Self { shape: input.to_vec(), width })
    }

    /// The Jacobian is symmetric: one rule serves both directions.
    fn jacobian(&self, step: &mut StepWriter<'_>, y: TensorId, dy: TensorId) -> TensorId {
        let dx = step.like("softmax.gradient", y);
        step.push(SoftmaxGrad { y, dy, dx, width: self.width });
        dx
    }
}

impl Map for SoftmaxLayer {
    fn describe(&self) -> String {
        format!("softmax over {}", self.width)
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn apply(&self, step: &mut StepWriter<'_>, x: TensorId) -> Record {
        let y = step.like("softmax", x);
        step.push(Softmax { x, y, width: self.width });
        Record::new(x, y)
    }

    fn pull_back(&self, step: &mut StepWriter<'_>, record: &Record, dy: TensorId) -> TensorId {
        self.jacobian(step, record.y, dy)
    }

    fn push_forward(&self, step: &mut StepWriter<'_>, record: &Record, dx: TensorId) -> TensorId {
        self.jacobian(step, record.y, dx)
    }
}
