//! Softmax over runs of features: the output of every worker.

use serde::{Deserialize, Serialize};

use super::{BuildLayer, Built, Coupling, LayerBuilder, ParameterFreeLayer, Saved, vector};
use crate::program::{Softmax, SoftmaxGrad, TensorId};
use crate::step::StepBuilder;

/// Softmax over each run of features.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"softmax": {"width": 10}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[40])?;
/// assert_eq!(layer.output_shape(), [40]);
/// assert!(layer.trainable().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SoftmaxConfig {
    /// Length of a run.
    pub width: usize,
}

impl BuildLayer for SoftmaxConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let width = self.width;
        builder.limit(&[("softmax.width", width)])?;
        let features = vector(input)?;
        if width == 0 || !features.is_multiple_of(width) {
            let message =
                format!("a softmax over runs of {width} does not divide {features} features");
            return Err(message.into());
        }
        Ok(Box::new(SoftmaxLayer { shape: input.to_vec(), width }))
    }
}

#[derive(Debug)]
struct SoftmaxLayer {
    shape: Vec<usize>,
    width: usize,
}

impl SoftmaxLayer {
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

    fn coupling(&self) -> Coupling {
        Coupling::groups(self.shape.iter().product::<usize>() / self.width)
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let y = step.like("softmax", x);
        step.push(Softmax { x, y, width: self.width });
        Saved::new(x, y)
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        self.jacobian(step, saved.y, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId {
        self.jacobian(step, saved.y, dx)
    }
}
