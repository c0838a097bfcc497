//! ReLU, sigmoid and tanh.

use super::{BuildLayer, Built, Coupling, Kind, LayerBuilder, ParameterFreeLayer, Saved};
use crate::program::{Activate, ActivateGrad, Activation, TensorId};
use crate::step::StepBuilder;

/// A pointwise nonlinearity.
#[derive(Debug)]
struct ActivationLayer {
    shape: Vec<usize>,
    function: Activation,
}

/// `relu`, `sigmoid` and `tanh`.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let mut set = ProgramSet::new();
/// for name in [r#""relu""#, r#""sigmoid""#, r#""tanh""#] {
///     let config: LayerConfig = serde_json::from_str(name)?;
///     let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 3])?;
///     assert_eq!(layer.output_shape(), [8, 8, 3]);
///     assert!(layer.trainable().is_empty());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl BuildLayer for Activation {
    fn build(&self, _: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        Ok(Box::new(ActivationLayer { shape: input.to_vec(), function: *self }))
    }
}

impl ActivationLayer {
    /// The Jacobian is diagonal: one rule serves both directions.
    fn scale(&self, step: &mut StepBuilder<'_>, y: TensorId, dy: TensorId) -> TensorId {
        let dx = step.like("activation.gradient", y);
        step.push(ActivateGrad { y, dy, dx, function: self.function });
        dx
    }
}

impl ParameterFreeLayer for ActivationLayer {
    fn describe(&self) -> String {
        match self.function {
            Activation::Relu => "relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
        }
        .into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn coupling(&self) -> Coupling {
        Coupling::NOTHING
    }

    fn kind(&self) -> Kind {
        if self.function == Activation::Relu { Kind::Gate } else { Kind::Plain }
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let y = step.like("activation", x);
        step.push(Activate { x, y, function: self.function });
        Saved::new(x, y)
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        self.scale(step, saved.y, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId {
        self.scale(step, saved.y, dx)
    }
}
