//! From an image to a vector.

use super::{Gradients, Layer, Record, Want, image};
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

impl Layer for FlattenLayer {
    fn describe(&self) -> String {
        "flatten".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(&self, step: &mut StepWriter<'_>, _: &[TensorId], x: TensorId) -> Record {
        Record::new(x, self.flatten(step, x))
    }

    fn backward(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        record: &Record,
        dy: TensorId,
        want: Want,
    ) -> Gradients {
        let input = want.input.then(|| {
            let dx = step.like("flatten.gradient", record.x);
            step.push(Unflatten { x: dy, y: dx });
            dx
        });
        Gradients { input, ..Gradients::default() }
    }

    fn tangent(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        _: &Record,
        dx: Option<TensorId>,
        _: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        dx.map(|dx| self.flatten(step, dx))
    }
}
