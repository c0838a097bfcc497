//! Softmax over runs of features: the output of every worker.

use super::{ParameterFreeLayer, Saved, vector};
use crate::program::{Softmax, SoftmaxGrad, TensorId};
use crate::step::StepBuilder;

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
    fn jacobian(&self, step: &mut StepBuilder<'_>, y: TensorId, dy: TensorId) -> TensorId {
        let dx = step.like("softmax.gradient", y);
        step.push(SoftmaxGrad { y, dy, dx, width: self.width });
        dx
    }
}

impl ParameterFreeLayer for SoftmaxLayer {
    fn describe(&self) -> String {
        format!("softmax over {}", self.width)
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let y = step.like("softmax", x);
        step.push(Softmax { x, y, width: self.width });
        Saved::new(x, y)
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        self.jacobian(step, record.y, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, record: &Saved, dx: TensorId) -> TensorId {
        self.jacobian(step, record.y, dx)
    }
}
