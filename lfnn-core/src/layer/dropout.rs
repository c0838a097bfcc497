//! Dropout (Srivastava et al. 2014), inverted: the kept elements are scaled in training.

use serde::{Deserialize, Serialize};

use super::{BuildLayer, Built, Coupling, LayerBuilder, ParameterFreeLayer, Saved};
use crate::program::{Dropout, TensorId};
use crate::random::Stream;
use crate::step::{Mode, StepBuilder};

/// Random zeros in training; the identity in evaluation.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"dropout": {"rate": 0.1}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[100])?;
/// assert_eq!(layer.output_shape(), [100]);
/// assert!(layer.trainable().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DropoutConfig {
    /// Share of zeros, in [0, 1).
    pub rate: f64,
}

impl BuildLayer for DropoutConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let (rate, stream) = (self.rate, builder.dropout_stream());
        if !(0.0..1.0).contains(&rate) {
            let message = format!("a dropout rate of {rate}, expected at least 0 and below 1");
            return Err(message.into());
        }
        Ok(Box::new(DropoutLayer { shape: input.to_vec(), rate, stream }))
    }
}

#[derive(Debug)]
struct DropoutLayer {
    shape: Vec<usize>,
    rate: f64,
    stream: Stream,
}

impl DropoutLayer {
    /// Drops the same elements of whatever it is given: values, gradients or tangents.
    fn drop(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        if self.rate == 0.0 || step.mode() != Mode::Train {
            return x;
        }
        let y = step.like("dropout", x);
        let counter = step.counter();
        step.push(Dropout { x, counter, y, rate: self.rate, stream: self.stream });
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

    fn coupling(&self) -> Coupling {
        Coupling::NOTHING
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
