//! Forward gradients: random directions added on the way forward, and what a directional derivative
//! makes of them.
//!
//! With a direction v ~ N(0, I), `(∇L·v) v` is `∇L` in the mean (Baydin et al. 2022). v is a direction in the
//! space of the parameters, or in that of the layers' outputs a (Ren et al. 2022), where
//! `(∂L/∂a·v) v` takes the place of `∂L/∂a` and the layer's own rule leads to its parameters. All
//! layers get their directions in one pass. They are drawn again when the derivative is known, and
//! not kept.
//!
//! Where no sample of a batch meets another between a layer's output and the loss, `∂L/∂a` of a
//! sample is the derivative of that sample's own term of the loss. The product is then taken per
//! sample: the mean is the same, and the noise of the other samples' directions stays out. Batch
//! normalisation lets samples meet: outputs before it get the product over the batch.

use super::{Saved, Tangents};
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
    /// The output of every layer with trainable parameters.
    Outputs {
        /// Whether samples meet between here and the loss.
        couples_batch: bool,
    },
}

impl Perturbation {
    /// The outputs of layers, with no layer in between where samples meet.
    pub const OUTPUTS: Self = Perturbation::Outputs { couples_batch: false };

    /// The same for a layer that is followed by others.
    pub fn before(self, next_couples: bool) -> Self {
        match self {
            Perturbation::Outputs { couples_batch } => {
                Perturbation::Outputs { couples_batch: couples_batch || next_couples }
            }
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
        /// Whether samples meet between here and the loss.
        couples_batch: bool,
    },
}

/// The derivative of a loss along the directions of a pass: `∂L/∂z · ż`, where the loss is a sum
/// over the samples of functions of the logits z. A loss of the batch as a whole may come to it.
#[derive(Clone, Debug)]
pub struct Derivative {
    gradient: TensorId,
    tangent: TensorId,
    /// Gradient and tangent of a loss of the batch as a whole.
    coupled: Option<(TensorId, TensorId)>,
    whole: Option<TensorId>,
    per_sample: Option<TensorId>,
}

impl Derivative {
    /// The derivative of a loss whose gradient with respect to the logits is `gradient`, where
    /// `tangent` is the logits' tangent, both `[batch, features]`.
    pub fn new(gradient: TensorId, tangent: TensorId) -> Self {
        Self { gradient, tangent, coupled: None, whole: None, per_sample: None }
    }

    /// The same with another loss beside it, of the batch as a whole: its gradient with respect to what it takes, and
    /// the tangent of that. It counts for outputs whose samples meet before the loss: no other may lead to it.
    #[must_use]
    pub fn with_coupled(self, coupled: Option<(TensorId, TensorId)>) -> Self {
        Self { coupled, ..self }
    }

    /// Of the batch, `[1]`.
    fn whole(&mut self, step: &mut StepBuilder<'_>) -> TensorId {
        let Self { gradient, tangent, coupled, .. } = *self;
        *self.whole.get_or_insert_with(|| {
            let mut product = |(a, b)| {
                let y = step.vector("derivative", 1);
                step.push(InnerProduct { a, b, y });
                y
            };
            let own = product((gradient, tangent));
            match coupled.map(&mut product) {
                Some(coupled) => step.add(own, coupled),
                None => own,
            }
        })
    }

    /// Of each sample's term of the loss, `[batch]`.
    fn per_sample(&mut self, step: &mut StepBuilder<'_>) -> TensorId {
        let Self { gradient: a, tangent: b, .. } = *self;
        *self.per_sample.get_or_insert_with(|| {
            let y = step.vector("derivatives", step.batch());
            step.push(InnerProduct { a, b, y });
            y
        })
    }

    /// A new tensor: the estimated gradient of an output.
    pub(super) fn forward_gradient_output(
        &mut self,
        step: &mut StepBuilder<'_>,
        output: TensorId,
        stream: Stream,
        couples_batch: bool,
    ) -> TensorId {
        let factor = if couples_batch { self.whole(step) } else { self.per_sample(step) };
        let dy = step.like("output.estimate", output);
        let counter = step.counter();
        step.push(Gaussian { counter, factor: Some(factor), y: dy, stream });
        dy
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

/// Draws a direction for the output and notes it. It is named after the layer: like one of its
/// parameters, without the last part.
pub(super) fn draw_output(
    step: &mut StepBuilder<'_>,
    parameter: TensorId,
    saved: &mut Saved,
    couples_batch: bool,
) -> TensorId {
    let parameter = step.name_of(parameter);
    let name = parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer).to_owned();
    let (drawn, stream) = step.direction(&name, saved.y);
    saved.perturbed = Some(Perturbed::Output { stream, couples_batch });
    drawn
}

/// The directions again, times the derivative.
pub(super) fn estimate_parameters(
    step: &mut StepBuilder<'_>,
    drawn: &[(TensorId, Stream)],
    derivative: &mut Derivative,
) -> Vec<(TensorId, TensorId)> {
    let factor = Some(derivative.whole(step));
    let counter = step.counter();
    let estimate = |&(parameter, stream): &(TensorId, Stream)| {
        let y = step.gradient(parameter);
        step.push(Gaussian { counter, factor, y, stream });
        (parameter, y)
    };
    drawn.iter().map(estimate).collect()
}
