//! Layers without parameters, from three maps.

use std::fmt::Debug;

use super::{Coupling, Gradients, Kind, Layer, NeedsGrad, Saved, Tangents};
use crate::program::TensorId;
use crate::step::StepBuilder;

/// What a layer without parameters must say.
pub trait ParameterFreeLayer: Debug + Send + Sync {
    /// See [`Layer::describe`].
    fn describe(&self) -> String;

    /// See [`Layer::output_shape`].
    fn output_shape(&self) -> &[usize];

    /// See [`Layer::coupling`].
    fn coupling(&self) -> Coupling {
        Coupling::EXAMPLE
    }

    /// See [`Layer::kind`].
    fn kind(&self) -> Kind {
        Kind::Plain
    }

    /// Writes the layer itself.
    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved;

    /// Writes the transposed Jacobian: the gradient of the input.
    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId;

    /// Writes the Jacobian: the tangent of the output.
    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId;
}

impl<M: ParameterFreeLayer> Layer for M {
    fn describe(&self) -> String {
        ParameterFreeLayer::describe(self)
    }

    fn output_shape(&self) -> &[usize] {
        ParameterFreeLayer::output_shape(self)
    }

    fn coupling(&self) -> Coupling {
        ParameterFreeLayer::coupling(self)
    }

    fn kind(&self) -> Kind {
        ParameterFreeLayer::kind(self)
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        ParameterFreeLayer::forward(self, step, x)
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let input = needs_grad.input.then(|| self.vjp(step, saved, dy));
        Gradients { input, ..Gradients::default() }
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        _: &Tangents,
    ) -> Option<TensorId> {
        dx.map(|dx| ParameterFreeLayer::jvp(self, step, saved, dx))
    }
}
