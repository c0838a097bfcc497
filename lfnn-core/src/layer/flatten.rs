//! From an image to a vector.

use super::{BuildLayer, Built, Coupling, LayerBuilder, ParameterFreeLayer, Saved, image};
use crate::program::{SwapAxes, TensorId};
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
        let image = image(input)?;
        Ok(Box::new(FlattenLayer { image, shape: [image.iter().product()] }))
    }
}

#[derive(Debug)]
struct FlattenLayer {
    image: [usize; 3],
    shape: [usize; 1],
}

impl FlattenLayer {
    fn flatten(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let y = step.activation("flatten", &self.shape);
        step.push(SwapAxes::channels_first(x, y, &self.image));
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
        step.push(SwapAxes::channels_last(dy, dx, &self.image));
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.flatten(step, dx)
    }
}
