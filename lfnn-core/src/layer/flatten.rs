//! From an image to a vector.

use super::{ParameterFreeLayer, Saved, image};
use crate::program::{Flatten, TensorId, Unflatten};
use crate::step::StepBuilder;

/// An image as a vector, in channels-first order.
#[derive(Debug)]
pub(crate) struct FlattenLayer {
    shape: Vec<usize>,
}

impl FlattenLayer {
    pub(crate) fn new(input: &[usize]) -> Result<Self, String> {
        let [height, width, channels] = image(input)?;
        Ok(Self { shape: vec![channels * height * width] })
    }

    fn flatten(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let y = step.activation("flatten", &self.shape);
        step.push(Flatten { x, y });
        y
    }
}

impl ParameterFreeLayer for FlattenLayer {
    fn describe(&self) -> String {
        "flatten".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.flatten(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("flatten.gradient", record.x);
        step.push(Unflatten { x: dy, y: dx });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.flatten(step, dx)
    }
}
