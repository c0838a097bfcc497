//! Layers with a weight and perhaps a bias: `y = W x + b`, whatever the product is.

use std::fmt::Debug;

use super::{Gradients, Init, Layer, NeedsGrad, ParameterSpec, Saved};
use crate::program::TensorId;
use crate::sizes;
use crate::step::StepBuilder;

/// What a layer with a weight must say.
pub(crate) trait Affine: Debug + Send + Sync {
    /// See [`Layer::describe`].
    fn describe(&self) -> String;

    /// See [`Layer::output_shape`].
    fn output_shape(&self) -> &[usize];

    /// Shape of the weight; its first axis is the bias's.
    fn weight_shape(&self) -> &[usize];

    /// Whether there is a bias.
    fn has_bias(&self) -> bool;

    /// Writes `W x + b`.
    fn product(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId;

    /// Writes the gradients of weight and bias into the tensors given.
    fn weight_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dy: TensorId,
        dweight: TensorId,
        dbias: Option<TensorId>,
    );

    /// Writes the gradient of the input into the tensor given. `weight` is whatever carries it back:
    /// see [`StepBuilder::backward_weight`].
    fn input_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        dy: TensorId,
        weight: TensorId,
        dx: TensorId,
    );
}

/// A layer with a weight.
#[derive(Debug)]
pub(crate) struct Parametric<A>(A);

impl<A: Affine> Parametric<A> {
    /// The layer, if its weight is not too large.
    ///
    /// # Errors
    /// See [`sizes::elements`], as a message.
    pub(crate) fn new(affine: A) -> Result<Self, String> {
        sizes::elements("a weight", affine.weight_shape(), sizes::MAX_ELEMENTS)?;
        Ok(Self(affine))
    }
}

impl<A: Affine> Layer for Parametric<A> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn output_shape(&self) -> &[usize] {
        self.0.output_shape()
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let shape = self.0.weight_shape();
        let init = Init::for_fan_in(shape[1..].iter().product());
        let mut specs = vec![ParameterSpec::weight("weight", shape, init)];
        if self.0.has_bias() {
            specs.push(ParameterSpec::weight("bias", &shape[..1], init));
        }
        specs
    }

    fn depth(&self) -> usize {
        1
    }

    fn forward(&self, step: &mut StepBuilder<'_>, parameters: &[TensorId], x: TensorId) -> Saved {
        Saved::new(x, self.0.product(step, x, parameters[0], parameters.get(1).copied()))
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let mut gradients = Gradients::default();
        if needs_grad.parameters {
            let dweight = step.gradient(parameters[0]);
            let dbias = parameters.get(1).map(|&bias| step.gradient(bias));
            self.0.weight_gradient(step, record.x, dy, dweight, dbias);
            gradients.parameters =
                parameters.iter().copied().zip([dweight].into_iter().chain(dbias)).collect();
        }
        if needs_grad.input {
            let dx = step.like("input.gradient", record.x);
            let backward_weight = step.backward_weight(parameters[0]);
            self.0.input_gradient(step, dy, backward_weight, dx);
            gradients.input = Some(dx);
        }
        gradients
    }

    /// `W ẋ + (Ẇ x + ḃ)`.
    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        let through = dx.map(|dx| self.0.product(step, dx, parameters[0], None));
        let own = dparameters.map(|d| self.0.product(step, record.x, d[0], d.get(1).copied()));
        step.sum(through, own)
    }
}
