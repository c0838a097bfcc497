//! Layers one after the other.

use std::ops::Range;

use super::{
    Coupling, Cut, Derivative, Gate, Gradients, Kind, Layer, NeedsGrad, Perturbation, Perturbed,
    Saved, Tangents, perturb,
};
use crate::program::TensorId;
use crate::step::StepBuilder;

/// Layers one after the other.
///
/// The last ones may be a *readout*: they are linear, and no layer but the last has parameters. The gradient of a loss
/// of the output then leads to the readout's parameters and to its input without a derivative that passes through
/// another layer, and forward gradients use it.
#[derive(Debug)]
pub struct Sequential {
    input: Vec<usize>,
    layers: Vec<Box<dyn Layer>>,
    /// Where the readout begins, if there is one.
    readout: Option<usize>,
}

impl Sequential {
    /// One without layers, whose output is its input.
    pub fn new(input: &[usize]) -> Self {
        Self { input: input.to_vec(), layers: Vec::new(), readout: None }
    }

    /// Appends a layer made for the output so far.
    pub fn push(&mut self, layer: Box<dyn Layer>) {
        self.layers.push(layer);
    }

    /// Makes what is appended from here on the readout.
    pub(crate) fn begin_readout(&mut self) {
        self.readout = Some(self.layers.len());
    }

    /// Where the exact gradient is taken: in front of the readout, or behind the last layer.
    fn cut(&self) -> usize {
        self.readout.unwrap_or(self.layers.len())
    }

    /// What meets in front of the readout.
    pub(crate) fn coupling_before_readout(&self) -> Coupling {
        Coupling::of(self.layers[..self.cut()].iter().map(|layer| layer.coupling()))
    }

    /// The gradients of the readout's parameters, and the cut, from the gradient of the output and the tangent that
    /// [`jvp_with_noise`](Layer::jvp_with_noise) gave for perturbed outputs.
    pub(crate) fn readout_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        (tangent, groups): (Option<TensorId>, usize),
    ) -> (Vec<(TensorId, TensorId)>, Cut) {
        let needs_grad = NeedsGrad { input: true, parameters: true };
        let readout = self.cut()..self.layers.len();
        let gradients = self.backward_through(readout, step, saved, dy, needs_grad);
        (gradients.parameters, Cut { gradient: gradients.input.unwrap_or(dy), tangent, groups })
    }

    /// What meets behind a layer, in front of the readout.
    fn coupling_behind(&self, index: usize) -> Coupling {
        let behind = index + 1..self.cut().max(index + 1);
        Coupling::of(self.layers[behind].iter().map(|layer| layer.coupling()))
    }

    /// Whether the output of a layer is perturbed behind the next one, a normalisation.
    fn perturbed_behind_next(&self, index: usize) -> bool {
        let next = self.layers[..self.cut()].get(index + 1);
        let layer = &self.layers[index];
        layer.kind() == Kind::Plain
            && layer.depth() > 0
            && next.is_some_and(|next| next.kind() == Kind::Normalization)
    }

    /// The backward rule of some of the layers.
    fn backward_through(
        &self,
        range: Range<usize>,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let layers = &self.layers[range.clone()];
        // Below the first layer with parameters no gradient is needed unless the input's is.
        let first = if needs_grad.input {
            Some(0)
        } else if needs_grad.parameters {
            layers.iter().position(|layer| !layer.trainable().is_empty())
        } else {
            None
        };
        let first = first.unwrap_or(layers.len());
        let mut gradients = Gradients { input: Some(dy), parameters: Vec::new() };
        let layers = layers.iter().zip(&saved.inner[range]).enumerate();
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

    fn coupling(&self) -> Coupling {
        Coupling::of(self.layers.iter().map(|layer| layer.coupling()))
    }

    fn kind(&self) -> Kind {
        Kind::Composite
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
        self.backward_through(0..self.layers.len(), step, saved, dy, needs_grad)
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

    /// For perturbed outputs the tangent is that at the cut.
    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturbation,
    ) -> (Saved, Option<TensorId>) {
        let mut saved = Saved::new(x, x);
        let mut tangent = dx;
        let outputs = matches!(perturb, Perturbation::Outputs { .. });
        // The name of a layer that waits for its normalisation.
        let mut waiting: Option<TensorId> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            if outputs && index >= self.cut() {
                saved.inner.push(layer.forward(step, saved.y));
            } else if outputs && (waiting.is_some() || self.perturbed_behind_next(index)) {
                let mut inner = layer.forward(step, saved.y);
                tangent = layer.jvp(step, &inner, tangent, &Tangents::new());
                let parameter = waiting.take();
                if let Some(parameter) = parameter {
                    let behind = perturb.before(self.coupling_behind(index));
                    let drawn = perturb::draw_output(step, parameter, &mut inner, behind);
                    tangent = step.sum(tangent, drawn);
                } else {
                    waiting = layer.trainable().first().copied();
                }
                saved.inner.push(inner);
            } else {
                let perturb = perturb.before(self.coupling_behind(index));
                let (inner, dy) = layer.jvp_with_noise(step, saved.y, tangent, perturb);
                tangent = dy;
                saved.inner.push(inner);
            }
            saved.y = saved.inner[index].y;
        }
        (saved, tangent)
    }

    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        derivative: &mut Derivative,
        gate: Option<Gate<'_>>,
    ) -> Vec<(TensorId, TensorId)> {
        let mut gradients = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(index + 1).zip(saved.inner.get(index + 1));
            let next = next.filter(|(layer, _)| layer.kind() == Kind::Gate);
            let gate = match next {
                Some((layer, saved)) => Some(Gate { layer: layer.as_ref(), saved }),
                None => gate.filter(|_| index + 1 == self.layers.len()),
            };
            let inner = &saved.inner[index];
            match inner.perturbed {
                // From behind the normalisation back to the weights in front of it.
                Some(Perturbed::Output { stream, behind })
                    if index > 0 && self.perturbed_behind_next(index - 1) =>
                {
                    let dy = derivative.estimate_output(step, inner.y, stream, behind, gate);
                    let needs_grad = NeedsGrad { input: false, parameters: true };
                    let range = index - 1..index + 1;
                    let own = self.backward_through(range, step, saved, dy, needs_grad);
                    gradients.extend(own.parameters);
                }
                _ => gradients.extend(layer.forward_gradient(step, inner, derivative, gate)),
            }
        }
        gradients
    }
}
