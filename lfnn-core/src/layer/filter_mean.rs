//! Logits of filter workers: the head of a unit whose workers are filters.

use super::{ParameterFreeLayer, Saved, image};
use crate::program::{FilterLogits, FilterLogitsGrad, TensorId};
use crate::step::StepBuilder;

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

    fn logits(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let z = step.activation("filter_logits", &self.output);
        let Self { workers, width, scale, .. } = *self;
        step.push(FilterLogits { x, z, workers, width, scale });
        z
    }
}

impl ParameterFreeLayer for FilterMean {
    fn describe(&self) -> String {
        format!("mean activation × {}", self.scale)
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.logits(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("filter_logits.gradient", record.x);
        let Self { workers, width, scale, .. } = *self;
        step.push(FilterLogitsGrad { dz: dy, dx, workers, width, scale });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.logits(step, dx)
    }
}
