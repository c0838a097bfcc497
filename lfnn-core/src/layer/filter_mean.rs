//! Logits of filter workers: the head of a unit whose workers are filters.

use super::{Map, Record, image};
use crate::program::{FilterLogits, FilterLogitsGrad, TensorId};
use crate::step::StepWriter;

/// A worker's logit for a class is `scale` times the mean activation of its filters of that class.
#[derive(Debug)]
pub(crate) struct FilterMean {
    output: [usize; 1],
    workers: usize,
    width: usize,
    scale: f64,
}

impl FilterMean {
    pub(crate) fn new(
        input: &[usize],
        workers: usize,
        width: usize,
        scale: f64,
    ) -> Result<Self, String> {
        let [.., channels] = image(input)?;
        if workers == 0 || !channels.is_multiple_of(workers * width) {
            return Err(format!(
                "{channels} filters cannot be shared by {workers} workers of {width} classes: \
                 expected a multiple of {}",
                workers.max(1) * width
            ));
        }
        if !scale.is_finite() || scale == 0.0 {
            return Err(format!("a scale of {scale}, expected a finite number other than 0"));
        }
        Ok(Self { output: [workers * width], workers, width, scale })
    }

    fn logits(&self, step: &mut StepWriter<'_>, x: TensorId) -> TensorId {
        let z = step.activation("filter_logits", &self.output);
        let Self { workers, width, scale, .. } = *self;
        step.push(FilterLogits { x, z, workers, width, scale });
        z
    }
}

impl Map for FilterMean {
    fn describe(&self) -> String {
        format!("mean activation × {}", self.scale)
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn apply(&self, step: &mut StepWriter<'_>, x: TensorId) -> Record {
        Record::new(x, self.logits(step, x))
    }

    fn pull_back(&self, step: &mut StepWriter<'_>, record: &Record, dy: TensorId) -> TensorId {
        let dx = step.like("filter_logits.gradient", record.x);
        let Self { workers, width, scale, .. } = *self;
        step.push(FilterLogitsGrad { dz: dy, dx, workers, width, scale });
        dx
    }

    fn push_forward(&self, step: &mut StepWriter<'_>, _: &Record, dx: TensorId) -> TensorId {
        self.logits(step, dx)
    }
}
