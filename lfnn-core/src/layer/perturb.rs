//! Forward gradients: random directions added on the way forward, and what a directional derivative
//! makes of them.
//!
//! With a direction v ~ N(0, I), `(∇L·v) v` is `∇L` in the mean (Baydin et al. 2022). v is a direction in the
//! space of the parameters, or in that of the layers' outputs a (Ren et al. 2022), where
//! `(∂L/∂a·v) v` takes the place of `∂L/∂a` and the layer's own rule leads to its parameters. All
//! layers get their directions in one pass. They are drawn again when the derivative is known, and
//! not kept.
//!
//! A layer with weights is perturbed behind the normalisation that follows it, as in the networks of Ren et al., and the
//! estimate goes back through that normalisation by its exact rule. Where a ReLU comes next, the gradient of what does not
//! pass is 0, and so is its estimate.
//!
//! The derivative of a loss along all directions is a sum over the places that lead to it. It is taken at a [`Cut`]: in
//! front of the readout, a linear map whose exact gradient follows from the loss. Where nothing that lies between a layer's
//! output and the cut lets examples, positions or groups of channels meet, what a part of the output changes in the loss
//! stays in its part of the cut. The product is then taken part by part: the mean is the same, and the noise of all other
//! directions stays out. [`Coupling`] says what meets.

use super::{Coupling, Layer, NeedsGrad, Saved, Tangents};
use crate::program::{Gaussian, InnerProduct, TensorId};
use crate::random::Stream;
use crate::step::StepBuilder;

/// What a random direction is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perturbation {
    /// Nothing: tangents pass through layers that do not train.
    Nothing,
    /// Every trainable parameter.
    Parameters,
    /// The output of every layer with trainable parameters, or of the normalisation behind it.
    Outputs {
        /// What meets between here and the cut.
        behind: Coupling,
    },
}

impl Perturbation {
    /// The outputs of layers, with nothing in between where parts of them meet.
    pub const OUTPUTS: Self = Perturbation::Outputs { behind: Coupling::NOTHING };

    /// The same for a layer that is followed by others.
    pub fn before(self, next: Coupling) -> Self {
        match self {
            Perturbation::Outputs { behind } => Perturbation::Outputs { behind: behind.and(next) },
            Perturbation::Nothing | Perturbation::Parameters => self,
        }
    }
}

/// A direction that was added, as it can be drawn again.
#[derive(Clone, Debug)]
pub enum Perturbed {
    /// To each of these parameters.
    Parameters(Vec<(TensorId, Stream)>),
    /// To the output.
    Output {
        /// The direction.
        stream: Stream,
        /// What meets between the output and the cut.
        behind: Coupling,
    },
}

/// A layer through which alone the output of another passes, of [`Kind::Gate`](super::Kind::Gate).
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// The layer.
    pub layer: &'a dyn Layer,
    /// What its forward rule saved.
    pub saved: &'a Saved,
}

/// A tensor between the perturbed layers and the loss.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The exact gradient of the loss with respect to it, `[batch, …, channels]`.
    pub gradient: TensorId,
    /// Its tangent, of the same shape; none means zero.
    pub tangent: Option<TensorId>,
    /// The groups of channels that have losses of their own: they are apart where no layer divides the channels.
    pub groups: usize,
}

/// The derivative of a loss along the directions of a pass: the sum over cuts of `∂L/∂h · ḣ`. A loss of the batch as a
/// whole may come to it.
#[derive(Clone, Debug)]
pub struct Derivative {
    cuts: Vec<Cut>,
    /// Of a loss of the batch as a whole.
    coupled: Option<Cut>,
    products: Vec<([usize; 3], TensorId)>,
}

/// The parts of the whole.
const WHOLE: [usize; 3] = [1, 1, 1];

impl Derivative {
    /// The derivative of a loss to which these cuts lead, each directly.
    pub fn new(cuts: Vec<Cut>) -> Self {
        Self { cuts, coupled: None, products: Vec::new() }
    }

    /// The same with another loss beside it, of the batch as a whole. It counts for outputs whose examples meet before
    /// the loss: no other may lead to it.
    #[must_use]
    pub fn with_coupled(self, coupled: Option<Cut>) -> Self {
        Self { coupled, ..self }
    }

    /// Of each part of the cuts, `[examples, positions, groups]`.
    fn product(&mut self, step: &mut StepBuilder<'_>, parts: [usize; 3]) -> TensorId {
        if let Some((_, product)) = self.products.iter().find(|(of, _)| *of == parts) {
            return *product;
        }
        let coupled = self.coupled.filter(|_| parts == WHOLE);
        let mut products = Vec::new();
        for Cut { gradient: a, tangent, .. } in self.cuts.iter().copied().chain(coupled) {
            let Some(b) = tangent else { continue };
            let y = step.real("derivative", &parts);
            step.push(InnerProduct { a, b, y });
            products.push(y);
        }
        let product = step.total(products);
        let product = product.unwrap_or_else(|| {
            let nothing = step.real("derivative", &parts);
            step.zeros_like(nothing)
        });
        self.products.push((parts, product));
        product
    }

    /// Into how many `[examples, positions, groups]` the derivative falls for an output, where `behind` says what meets
    /// between it and the cuts.
    fn parts(&self, step: &StepBuilder<'_>, output: TensorId, behind: Coupling) -> [usize; 3] {
        let extents = |id: TensorId| -> (usize, usize) {
            let shape = &step.shape(id)[1..];
            let channels = shape.last().copied().unwrap_or(1);
            (shape.iter().product::<usize>() / channels.max(1), channels)
        };
        let (positions, channels) = extents(output);
        let all = |fits: &dyn Fn((usize, usize)) -> bool| {
            self.cuts.iter().all(|cut| fits(extents(cut.gradient)))
        };
        let apart = !behind.examples && !behind.positions && all(&|(p, _)| p == positions);
        let own = self.cuts.iter().map(|cut| cut.groups).reduce(|a, b| if a == b { a } else { 1 });
        let groups = behind.groups.or(own).unwrap_or(1);
        let divides = |c: usize| groups > 0 && c.is_multiple_of(groups);
        let divided = divides(channels) && all(&|(_, c)| divides(c));
        // A loss that compares examples does not fall into parts.
        let whole = behind.examples && self.coupled.is_some();
        [
            if behind.examples { 1 } else { step.batch() },
            if apart { positions } else { 1 },
            if divided && !whole { groups } else { 1 },
        ]
    }

    /// A new tensor: the estimated gradient of an output.
    pub(super) fn estimate_output(
        &mut self,
        step: &mut StepBuilder<'_>,
        output: TensorId,
        stream: Stream,
        behind: Coupling,
        gate: Option<Gate<'_>>,
    ) -> TensorId {
        let parts = self.parts(step, output, behind);
        let factor = Some(self.product(step, parts));
        let dy = step.like("output.estimate", output);
        let counter = step.counter();
        step.push(Gaussian { counter, factor, y: dy, stream });
        let needs_grad = NeedsGrad { input: true, parameters: false };
        let passing =
            gate.and_then(|gate| gate.layer.backward(step, gate.saved, dy, needs_grad).input);
        passing.unwrap_or(dy)
    }
}

/// Draws a direction for each parameter and notes it.
pub(super) fn draw_parameters(
    step: &mut StepBuilder<'_>,
    trainable: &[TensorId],
    saved: &mut Saved,
) -> Tangents {
    let draw = |&id: &TensorId| {
        let name = step.name_of(id).to_owned();
        let (drawn, stream) = step.direction(&name, id);
        ((id, drawn), (id, stream))
    };
    let (tangents, streams) = trainable.iter().map(draw).unzip();
    saved.perturbed = Some(Perturbed::Parameters(streams));
    tangents
}

/// Draws a direction for the output, if outputs are perturbed, and notes it. It is named after the layer: like one of its
/// parameters, without the last part.
pub(super) fn draw_output(
    step: &mut StepBuilder<'_>,
    parameter: TensorId,
    saved: &mut Saved,
    perturb: Perturbation,
) -> Option<TensorId> {
    let Perturbation::Outputs { behind } = perturb else { return None };
    let parameter = step.name_of(parameter);
    let name = parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer).to_owned();
    let (drawn, stream) = step.direction(&name, saved.y);
    saved.perturbed = Some(Perturbed::Output { stream, behind });
    Some(drawn)
}

/// The directions again, times the derivative.
pub(super) fn estimate_parameters(
    step: &mut StepBuilder<'_>,
    drawn: &[(TensorId, Stream)],
    derivative: &mut Derivative,
) -> Vec<(TensorId, TensorId)> {
    let factor = Some(derivative.product(step, WHOLE));
    let counter = step.counter();
    let estimate = |&(parameter, stream): &(TensorId, Stream)| {
        let y = step.gradient(parameter);
        step.push(Gaussian { counter, factor, y, stream });
        (parameter, y)
    };
    drawn.iter().map(estimate).collect()
}
