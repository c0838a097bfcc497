//! Logits of filter workers: the head of a unit whose workers are filters.

use super::{BuildLayer, Built, LayerBuilder, ParameterFreeLayer, Saved, image};
use crate::program::{FilterLogits, FilterLogitsGrad, TensorId};
use crate::step::StepBuilder;

/// A worker's logit for a class is `scale` times the mean activation of its filters of that class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilterMeanConfig {
    /// Number of workers.
    pub(crate) workers: usize,
    /// Number of classes.
    pub(crate) width: usize,
    /// Factor on the mean activations.
    pub(crate) scale: f64,
}

impl BuildLayer for FilterMeanConfig {
    fn build(&self, _: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let Self { workers, width, scale } = *self;
        let [.., channels] = image(input)?;
        if workers == 0 || !channels.is_multiple_of(workers * width) {
            let message = format!(
                "{channels} filters cannot be shared by {workers} workers of {width} classes: \
                 expected a multiple of {}",
                workers.max(1) * width
            );
            return Err(message.into());
        }
        if !scale.is_finite() || scale == 0.0 {
            let message = format!("a scale of {scale}, expected a finite number other than 0");
            return Err(message.into());
        }
        Ok(Box::new(FilterMean { output: [workers * width], config: *self }))
    }
}

#[derive(Debug)]
struct FilterMean {
    output: [usize; 1],
    config: FilterMeanConfig,
}

impl FilterMean {
    fn logits(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let z = step.activation("filter_logits", &self.output);
        let FilterMeanConfig { workers, width, scale } = self.config;
        step.push(FilterLogits { x, z, workers, width, scale });
        z
    }
}

impl ParameterFreeLayer for FilterMean {
    fn describe(&self) -> String {
        format!("mean activation × {}", self.config.scale)
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.logits(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("filter_logits.gradient", saved.x);
        let FilterMeanConfig { workers, width, scale } = self.config;
        step.push(FilterLogitsGrad { dz: dy, dx, workers, width, scale });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.logits(step, dx)
    }
}
