//! From an image to a vector.

use super::{Map, Record, image};
use crate::program::{Flatten, TensorId, Unflatten};
use crate::step::StepWriter;

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

    fn flatten(&self, step: &mut StepWriter<'_>, x: TensorId) -> TensorId {
        let y = step.activation("flatten", &self.shape);
        step.push(Flatten { x, y });
        y
    }
}

impl Map for FlattenLayer {
    fn describe(&self) -> String {
        "flatten".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn apply(&self, step: &mut StepWriter<'_>, x: TensorId) -> Record {
        Record::new(x, self.flatten(step, x))
    }

    fn pull_back(&self, step: &mut StepWriter<'_>, record: &Record, dy: TensorId) -> TensorId {
        let dx = step.like("flatten.gradient", record.x);
        step.push(Unflatten { x: dy, y: dx });
        dx
    }

    fn push_forward(&self, step: &mut StepWriter<'_>, _: &Record, dx: TensorId) -> TensorId {
        self.flatten(step, dx)
    }
}
