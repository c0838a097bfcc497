//! Layers one after the other.

use super::{Derivative, Gradients, Layer, NeedsGrad, Perturbation, Saved, Tangents};
use crate::program::TensorId;
use crate::step::StepBuilder;

/// Layers one after the other.
#[derive(Debug)]
pub struct Sequential {
    input: Vec<usize>,
    layers: Vec<Box<dyn Layer>>,
}

impl Sequential {
    /// One without layers, whose output is its input.
    pub fn new(input: &[usize]) -> Self {
        Self { input: input.to_vec(), layers: Vec::new() }
    }

    /// Appends a layer made for the output so far.
    pub fn push(&mut self, layer: Box<dyn Layer>) {
        self.layers.push(layer);
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl Layer for Sequential {
    fn describe(&self) -> String {
        let parts: Vec<String> = self.layers.iter().map(|layer| layer.describe()).collect();
        parts.join(", ")
    }

    fn output_shape(&self) -> &[usize] {
        self.layers.last().map_or(&self.input, |layer| layer.output_shape())
    }

    fn trainable(&self) -> Vec<TensorId> {
        self.layers.iter().flat_map(|layer| layer.trainable()).collect()
    }

    fn depth(&self) -> usize {
        self.layers.iter().map(|layer| layer.depth()).sum()
    }

    fn couples_batch(&self) -> bool {
        self.layers.iter().any(|layer| layer.couples_batch())
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let mut saved = Saved::new(x, x);
        for layer in &self.layers {
            let inner = layer.forward(step, saved.y);
            saved.y = inner.y;
            saved.inner.push(inner);
        }
        saved
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        // Below the first layer with parameters no gradient is needed unless the input's is.
        let first = if needs_grad.input {
            Some(0)
        } else if needs_grad.parameters {
            self.layers.iter().position(|layer| !layer.trainable().is_empty())
        } else {
            None
        };
        let first = first.unwrap_or(self.layers.len());
        let mut gradients = Gradients { input: Some(dy), parameters: Vec::new() };
        let layers = self.layers.iter().zip(&saved.inner).enumerate();
        for (index, (layer, inner)) in layers.skip(first).rev() {
            let Some(dy) = gradients.input else { break };
            let needs_grad = NeedsGrad { input: needs_grad.input || index > first, ..needs_grad };
            let part = layer.backward(step, inner, dy, needs_grad);
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
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        let layers = self.layers.iter().zip(&saved.inner);
        layers.fold(dx, |dx, (layer, inner)| layer.jvp(step, inner, dx, tangents))
    }

    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturbation,
    ) -> (Saved, Option<TensorId>) {
        let mut saved = Saved::new(x, x);
        let mut tangent = dx;
        let last = self.layers.iter().rposition(|layer| layer.couples_batch());
        for (index, layer) in self.layers.iter().enumerate() {
            let perturb = perturb.before(last.is_some_and(|last| last > index));
            let (inner, dy) = layer.jvp_with_noise(step, saved.y, tangent, perturb);
            (saved.y, tangent) = (inner.y, dy);
            saved.inner.push(inner);
        }
        (saved, tangent)
    }

    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        derivative: &mut Derivative,
    ) -> Vec<(TensorId, TensorId)> {
        let layers = self.layers.iter().zip(&saved.inner);
        layers.flat_map(|(layer, inner)| layer.forward_gradient(step, inner, derivative)).collect()
    }
}
