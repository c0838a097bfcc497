//! Layers with a weight and perhaps a bias: `y = W x + b`, whatever the product is.

use std::fmt::Debug;

use super::{Built, Coupling, Gradients, Init, Layer, LayerBuilder, NeedsGrad, Saved, Tangents};
use crate::program::TensorId;
use crate::sizes;
use crate::step::StepBuilder;

/// What a layer with a weight must say.
pub(super) trait Affine: Debug + Send + Sync + Sized + 'static {
    /// See [`Layer::describe`].
    fn describe(&self) -> String;

    /// See [`Layer::output_shape`].
    fn output_shape(&self) -> &[usize];

    /// See [`Layer::coupling`].
    fn coupling(&self) -> Coupling;

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
pub(super) struct Parametric<A> {
    map: A,
    weight: TensorId,
    bias: Option<TensorId>,
}

impl<A: Affine> Parametric<A> {
    /// The layer, if its weight is not too large. The first axis of the weight is the bias's.
    pub(super) fn build(
        builder: &mut LayerBuilder<'_>,
        map: A,
        weight: &[usize],
        bias: bool,
    ) -> Built {
        sizes::elements("a weight", weight, sizes::MAX_ELEMENTS)?;
        let init = Init::for_fan_in(weight[1..].iter().product());
        let (bias_shape, weight) = (&weight[..1], builder.parameter("weight", weight, init));
        let bias = bias.then(|| builder.parameter("bias", bias_shape, init));
        Ok(Box::new(Self { map, weight, bias }))
    }
}

impl<A: Affine> Layer for Parametric<A> {
    fn describe(&self) -> String {
        self.map.describe()
    }

    fn output_shape(&self) -> &[usize] {
        self.map.output_shape()
    }

    fn trainable(&self) -> Vec<TensorId> {
        [self.weight].into_iter().chain(self.bias).collect()
    }

    fn depth(&self) -> usize {
        1
    }

    fn coupling(&self) -> Coupling {
        self.map.coupling()
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.map.product(step, x, self.weight, self.bias))
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let mut gradients = Gradients::default();
        if needs_grad.parameters {
            let dweight = step.gradient(self.weight);
            let dbias = self.bias.map(|bias| step.gradient(bias));
            self.map.weight_gradient(step, saved.x, dy, dweight, dbias);
            gradients.parameters.push((self.weight, dweight));
            gradients.parameters.extend(self.bias.zip(dbias));
        }
        if needs_grad.input {
            let dx = step.like("input.gradient", saved.x);
            let backward_weight = step.backward_weight(self.weight);
            self.map.input_gradient(step, dy, backward_weight, dx);
            gradients.input = Some(dx);
        }
        gradients
    }

    /// `W ẋ + (Ẇ x + ḃ)`.
    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        let through = dx.map(|dx| self.map.product(step, dx, self.weight, None));
        let dbias = self.bias.and_then(|bias| tangents.get(&bias).copied());
        let own = tangents.get(&self.weight);
        let own = own.map(|&dweight| self.map.product(step, saved.x, dweight, dbias));
        step.sum(through, own)
    }
}
