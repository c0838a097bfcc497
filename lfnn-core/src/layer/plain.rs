//! Layers without parameters, from three maps.

use std::fmt::Debug;

use super::{Gradients, Layer, Record, Want};
use crate::program::TensorId;
use crate::step::StepWriter;

/// What a layer without parameters must say.
pub(crate) trait Map: Debug + Send + Sync {
    /// See [`Layer::describe`].
    fn describe(&self) -> String;

    /// See [`Layer::output_shape`].
    fn output_shape(&self) -> &[usize];

    /// Writes the layer itself.
    fn apply(&self, step: &mut StepWriter<'_>, x: TensorId) -> Record;

    /// Writes the transposed Jacobian: the gradient of the input.
    fn pull_back(&self, step: &mut StepWriter<'_>, record: &Record, dy: TensorId) -> TensorId;

    /// Writes the Jacobian: the tangent of the output.
    fn push_forward(&self, step: &mut StepWriter<'_>, record: &Record, dx: TensorId) -> TensorId;
}

/// A layer without parameters.
#[derive(Debug)]
pub(crate) struct Plain<M>(pub(crate) M);

impl<M: Map> Layer for Plain<M> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn output_shape(&self) -> &[usize] {
        self.0.output_shape()
    }

    fn forward(&self, step: &mut StepWriter<'_>, _: &[TensorId], x: TensorId) -> Record {
        self.0.apply(step, x)
    }

    fn backward(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        record: &Record,
        dy: TensorId,
        want: Want,
    ) -> Gradients {
        let input = want.input.then(|| self.0.pull_back(step, record, dy));
        Gradients { input, ..Gradients::default() }
    }

    fn tangent(
        &self,
        step: &mut StepWriter<'_>,
        _: &[TensorId],
        record: &Record,
        dx: Option<TensorId>,
        _: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        dx.map(|dx| self.0.push_forward(step, record, dx))
    }
}
