//! Layers one after the other.

use super::{Derivative, Gradients, Layer, NeedsGrad, ParameterSpec, Perturbation, Saved};
use crate::program::TensorId;
use crate::step::StepBuilder;

/// Layers one after the other, each with the prefix of its parameters' names (empty for none).
#[derive(Debug)]
pub struct Sequential {
    input: Vec<usize>,
    layers: Vec<(String, Box<dyn Layer>)>,
}

impl Sequential {
    /// A chain without layers, which hands its input on.
    pub fn new(input: &[usize]) -> Self {
        Self { input: input.to_vec(), layers: Vec::new() }
    }

    /// Appends a layer made for the chain's output so far.
    pub fn push(&mut self, prefix: impl Into<String>, layer: Box<dyn Layer>) {
        self.layers.push((prefix.into(), layer));
    }

    /// The layers in order.
    pub fn layers(&self) -> impl Iterator<Item = &dyn Layer> {
        self.layers.iter().map(|(_, layer)| layer.as_ref())
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Each layer with its part of the chain's tensors.
    fn split<'a>(
        &'a self,
        mut parameters: &'a [TensorId],
    ) -> impl DoubleEndedIterator<Item = (&'a dyn Layer, &'a [TensorId])> {
        let parts: Vec<_> = self
            .layers()
            .map(|layer| {
                let (own, rest) = parameters.split_at(layer.parameters().len());
                parameters = rest;
                (layer, own)
            })
            .collect();
        parts.into_iter()
    }
}

impl Layer for Sequential {
    fn describe(&self) -> String {
        let parts: Vec<String> = self.layers().map(Layer::describe).collect();
        parts.join(", ")
    }

    fn output_shape(&self) -> &[usize] {
        self.layers.last().map_or(&self.input, |(_, layer)| layer.output_shape())
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        self.layers
            .iter()
            .flat_map(|(prefix, layer)| {
                layer.parameters().into_iter().map(move |mut spec| {
                    if !prefix.is_empty() {
                        spec.name = format!("{prefix}.{}", spec.name);
                    }
                    spec
                })
            })
            .collect()
    }

    fn depth(&self) -> usize {
        self.layers().map(Layer::depth).sum()
    }

    fn forward(&self, step: &mut StepBuilder<'_>, parameters: &[TensorId], x: TensorId) -> Saved {
        let mut record = Saved::new(x, x);
        for (layer, own) in self.split(parameters) {
            let inner = layer.forward(step, own, record.y);
            record.y = inner.y;
            record.inner.push(inner);
        }
        record
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        // Below the first layer with parameters no gradient is needed unless the input's is.
        let first = if needs_grad.input {
            0
        } else if needs_grad.parameters {
            self.layers()
                .position(|layer| layer.parameters().iter().any(|spec| spec.trainable))
                .unwrap_or(self.layers.len())
        } else {
            self.layers.len()
        };
        let mut gradients = Gradients { input: Some(dy), parameters: Vec::new() };
        let layers: Vec<_> = self.split(parameters).zip(&record.inner).collect();
        for (index, ((layer, own), inner)) in layers.into_iter().enumerate().skip(first).rev() {
            let Some(dy) = gradients.input else { break };
            let needs_grad = NeedsGrad { input: needs_grad.input || index > first, ..needs_grad };
            let part = layer.backward(step, own, inner, dy, needs_grad);
            gradients.input = part.input;
            gradients.parameters.extend(part.parameters);
        }
        if !needs_grad.input {
            gradients.input = None;
        }
        gradients
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        let mut tangent = dx;
        let mut rest = dparameters;
        for ((layer, own), inner) in self.split(parameters).zip(&record.inner) {
            let trainable = layer.parameters().iter().filter(|spec| spec.trainable).count();
            let down = rest.map(|all| {
                let (own, others) = all.split_at(trainable);
                rest = Some(others);
                own
            });
            tangent = layer.jvp(step, own, inner, tangent, down.filter(|d| !d.is_empty()));
        }
        tangent
    }

    fn couples_batch(&self) -> bool {
        self.layers().any(Layer::couples_batch)
    }

    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturbation,
    ) -> (Saved, Option<TensorId>) {
        let mut record = Saved::new(x, x);
        let mut tangent = dx;
        let last = self.layers.iter().rposition(|(_, layer)| layer.couples_batch());
        for (index, (layer, own)) in self.split(parameters).enumerate() {
            let mixes = last.is_some_and(|last| last > index);
            let (inner, dy) =
                layer.jvp_with_noise(step, own, record.y, tangent, perturb.before(mixes));
            (record.y, tangent) = (inner.y, dy);
            record.inner.push(inner);
        }
        (record, tangent)
    }

    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        derivative: &mut Derivative,
    ) -> Vec<(TensorId, TensorId)> {
        let layers = self.split(parameters).zip(&record.inner);
        layers
            .flat_map(|((layer, own), inner)| layer.forward_gradient(step, own, inner, derivative))
            .collect()
    }
}
