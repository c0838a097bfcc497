//! Layers without parameters, from three maps.

use std::fmt::Debug;

use super::{Gradients, Layer, NeedsGrad, Saved};
use crate::program::TensorId;
use crate::step::StepBuilder;

/// What a layer without parameters must say.
pub(crate) trait ParameterFreeLayer: Debug + Send + Sync {
    /// See [`Layer::describe`].
    fn describe(&self) -> String;

    /// See [`Layer::output_shape`].
    fn output_shape(&self) -> &[usize];

    /// Writes the layer itself.
    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved;

    /// Writes the transposed Jacobian: the gradient of the input.
    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId;

    /// Writes the Jacobian: the tangent of the output.
    fn jvp(&self, step: &mut StepBuilder<'_>, record: &Saved, dx: TensorId) -> TensorId;
}

/// A layer without parameters.
#[derive(Debug)]
pub(crate) struct ParameterFree<M>(pub(crate) M);

impl<M: ParameterFreeLayer> Layer for ParameterFree<M> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn output_shape(&self) -> &[usize] {
        self.0.output_shape()
    }

    fn forward(&self, step: &mut StepBuilder<'_>, _: &[TensorId], x: TensorId) -> Saved {
        self.0.forward(step, x)
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        _: &[TensorId],
        record: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let input = needs_grad.input.then(|| self.0.vjp(step, record, dy));
        Gradients { input, ..Gradients::default() }
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        _: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        _: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        dx.map(|dx| self.0.jvp(step, record, dx))
    }
}
