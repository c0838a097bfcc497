//! From an image to a vector.

use super::{BuildLayer, Built, Coupling, LayerBuilder, ParameterFreeLayer, Saved, image};
use crate::program::{Flatten, TensorId, Unflatten};
use crate::step::StepBuilder;

/// `flatten`: an image as a vector, in channels-first order.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#""flatten""#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 3])?;
/// assert_eq!(layer.output_shape(), [192]);
/// assert!(layer.trainable().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub(crate) struct FlattenConfig;

impl BuildLayer for FlattenConfig {
    fn build(&self, _: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let [height, width, channels] = image(input)?;
        Ok(Box::new(FlattenLayer { shape: vec![channels * height * width] }))
    }
}

#[derive(Debug)]
struct FlattenLayer {
    shape: Vec<usize>,
}

impl FlattenLayer {
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

    fn coupling(&self) -> Coupling {
        Coupling::POSITIONS
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.flatten(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("flatten.gradient", saved.x);
        step.push(Unflatten { x: dy, y: dx });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.flatten(step, dx)
    }
}
