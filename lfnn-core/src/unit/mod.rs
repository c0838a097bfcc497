//! Units: the smallest parts of a network with a local loss, and the workers inside them.
//!
//! A unit's layers produce features, on which its workers predict; its output then passes through the
//! parameter-free layers of the transition to the next unit. A local gradient enters at the workers'
//! logits and ends at the unit's own parameters. A global gradient enters at the unit's output and, if
//! asked for, leaves at its input.

mod block;
mod filters;
mod leadership;
mod neurons;
mod readout;
mod workers;

pub use block::BlockConfig;
pub use filters::FiltersConfig;
pub use leadership::{Leaders, Leadership, UnitState, WorkerOutputs, WorkerSums};
pub use neurons::{NeuronsConfig, OutputActivation};
pub use readout::ReadoutConfig;
pub use workers::WorkersConfig;

use crate::config::{ConfigError, UnitConfig};
use crate::layer::{
    Derivative, Gradients, Layer, LayerBuilder, LayerConfig, NeedsGrad, Perturbation, Saved,
    Sequential, Tangents,
};
use crate::program::{Concat, MaskFollowers, Part, Predictions, Split, TensorId};
use crate::step::StepBuilder;

/// Layers that one or several workers share, with what turns their features into logits.
#[derive(Debug)]
struct Branch {
    layers: Sequential,
    head: Sequential,
}

/// A hidden unit for inputs of one shape.
#[derive(Debug)]
pub struct Unit {
    /// Position among the units, from 1.
    number: usize,
    kind: &'static str,
    frozen: bool,
    predictions: Predictions,
    branches: Vec<Branch>,
    output_activation: Sequential,
    transition: Sequential,
}

/// What a unit's forward rule leaves for the others.
#[derive(Clone, Debug)]
pub struct UnitSaved {
    branches: Vec<(Saved, Option<Saved>)>,
    output_activation: Saved,
    transition: Saved,
    /// What the frozen units in front of it saved, where a step trains.
    pub(crate) frozen_before: Vec<UnitSaved>,
    /// The workers' logits, if they were asked to predict.
    pub logits: Option<TensorId>,
    /// The unit's output.
    pub output: TensorId,
}

/// The gradients that reach a unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// Gradient of the local losses with respect to the workers' logits.
    pub local: Option<TensorId>,
    /// Gradient of the global loss with respect to the unit's output.
    pub global: Option<TensorId>,
    /// Mask that keeps the global gradient from followers.
    pub leaders: Option<TensorId>,
    /// Whether the global gradient passes through followers to earlier units all the same.
    pub gradient_through_followers: bool,
}

/// What a unit is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPlace<'a> {
    /// Position among the units, from 0.
    pub(crate) index: usize,
    /// The configuration of the unit's layers.
    pub(crate) layers: &'a [LayerConfig],
    /// Shape of the input.
    pub(crate) input: &'a [usize],
    /// Whether each classifier has its own part of the input (one-vs-all, after the first unit).
    pub(crate) input_per_classifier: bool,
    /// Independent classifiers.
    pub(crate) classifiers: usize,
    /// Numbers that one worker predicts.
    pub(crate) classes: usize,
    /// Whether outputs are probabilities, and not the logits themselves.
    pub(crate) probabilities: bool,
}

impl Unit {
    pub(crate) fn new(
        builder: &mut LayerBuilder<'_>,
        config: &UnitConfig,
        place: &UnitPlace<'_>,
    ) -> Result<Self, ConfigError> {
        let number = place.index + 1;
        (builder.part, builder.frozen) = (Part::Unit(number), config.frozen);
        let (path, name) = (format!(".units[{}]", place.index), format!("unit{number}."));
        builder.within(&path, &name, |builder| {
            let workers = config.workers.build(builder, place)?;
            let transition = builder.within(".transition", "", |builder| {
                let layers =
                    builder.sequential(&config.transition, &workers.features, "transition")?;
                if !layers.trainable().is_empty() {
                    return Err(builder.error(
                        "holds a layer with parameters, which no local loss would train; \
                         put it into the `layers` of this unit or the next",
                    ));
                }
                Ok(layers)
            })?;
            Ok(Self {
                number,
                kind: config.workers.kind(),
                frozen: config.frozen,
                predictions: Predictions {
                    classifiers: place.classifiers,
                    workers: config.workers.count(),
                    classes: place.classes,
                },
                branches: workers.branches,
                output_activation: workers.output_activation,
                transition,
            })
        })
    }

    /// Position among the units, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The kind of its workers: see [`WorkersConfig::kind`].
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether training leaves it as it is.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// How its logits fall into classifiers, workers and classes.
    pub fn predictions(&self) -> Predictions {
        self.predictions
    }

    /// Shape of its output, without the batch.
    pub fn output_shape(&self) -> &[usize] {
        self.transition.output_shape()
    }

    /// How many layers with weights a local gradient crosses inside the unit, heads left aside: 1
    /// in a layer-wise unit.
    pub fn depth(&self) -> usize {
        self.branches[0].layers.depth()
    }

    /// The layers of one block (all layers, where there are no blocks), described.
    pub fn describe_layers(&self) -> String {
        self.branches[0].layers.describe()
    }

    /// How a worker's features become logits, described; empty for neurons.
    pub fn describe_head(&self) -> String {
        self.branches[0].head.describe()
    }

    /// The layers between the workers and the next unit, described.
    pub fn describe_transition(&self) -> String {
        self.transition.describe()
    }

    /// Writes the forward rule; with `predict` the workers' logits too.
    pub fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId, predict: bool) -> UnitSaved {
        step.part(Part::Unit(self.number));
        let mut branches = Vec::with_capacity(self.branches.len());
        for Branch { layers, head } in &self.branches {
            let saved = layers.forward(step, x);
            let logits = predict.then(|| head.forward(step, saved.y));
            branches.push((saved, logits));
        }
        self.join(step, branches)
    }

    /// Writes the forward rule with random directions added, layer by layer (see [`Perturbation`]), from the
    /// input's tangent `dx`; none means zero. With `predict` the tangent of the workers' logits
    /// comes back, otherwise that of the output.
    pub fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        (x, dx): (TensorId, Option<TensorId>),
        predict: bool,
        perturb: Perturbation,
    ) -> (UnitSaved, Option<TensorId>) {
        step.part(Part::Unit(self.number));
        let mut branches = Vec::with_capacity(self.branches.len());
        let mut tangents = Vec::with_capacity(self.branches.len());
        for Branch { layers, head } in &self.branches {
            let before = perturb.before(predict && head.couples_batch());
            let (saved, dy) = layers.jvp_with_noise(step, x, dx, before);
            if predict {
                let (logits, dz) = head.jvp_with_noise(step, saved.y, dy, perturb);
                tangents.push((logits.y, dz));
                branches.push((saved, Some(logits)));
            } else {
                tangents.push((saved.y, dy));
                branches.push((saved, None));
            }
        }
        let tangent = concat_tangents(step, &tangents);
        let saved = self.join(step, branches);
        if predict {
            return (saved, tangent);
        }
        let none = Tangents::new();
        let tangent = self.output_activation.jvp(step, &saved.output_activation, tangent, &none);
        let tangent = self.transition.jvp(step, &saved.transition, tangent, &none);
        (saved, tangent)
    }

    /// Writes the forward gradient of every parameter that [`jvp_with_noise`](Self::jvp_with_noise) reached.
    pub fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &UnitSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let mut gradients = Gradients::default();
        for (branch, (layers, head)) in self.branches.iter().zip(&saved.branches) {
            gradients.parameters.extend(branch.layers.forward_gradient(step, layers, derivative));
            if let Some(head) = head {
                gradients.parameters.extend(branch.head.forward_gradient(step, head, derivative));
            }
        }
        gradients
    }

    /// Whether the unit's output for a sample depends on other samples, in training.
    pub fn couples_batch(&self) -> bool {
        !self.frozen && self.branches.iter().any(|branch| branch.layers.couples_batch())
    }

    /// Writes what follows the branches.
    fn join(&self, step: &mut StepBuilder<'_>, branches: Vec<(Saved, Option<Saved>)>) -> UnitSaved {
        let features = concat(step, branches.iter().map(|(layers, _)| layers.y).collect());
        let logits: Option<Vec<TensorId>> =
            branches.iter().map(|(_, head)| head.as_ref().map(|head| head.y)).collect();
        let logits = logits.map(|parts| concat(step, parts));
        let output_activation = self.output_activation.forward(step, features);
        let transition = self.transition.forward(step, output_activation.y);
        let output = transition.y;
        let frozen_before = Vec::new();
        UnitSaved { branches, output_activation, transition, frozen_before, logits, output }
    }

    /// Writes the backward rule: the gradient of every parameter that a signal reaches, none in a frozen unit, and
    /// with `needs_input_grad` the global gradient of the input. The local signal never leaves the unit.
    pub fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &UnitSaved,
        signals: Signals,
        needs_input_grad: bool,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let needs_grad = NeedsGrad { input: true, parameters: false };
        // The global gradient at the features: what updates the unit, and what passes through it.
        let (mut updating, mut passing) = (None, None);
        if let Some(dy) = signals.global {
            let through_activation = |step: &mut StepBuilder<'_>, d: TensorId| {
                self.output_activation.backward(step, &saved.output_activation, d, needs_grad).input
            };
            let transition = self.transition.backward(step, &saved.transition, dy, needs_grad);
            let arrived = transition.input.unwrap_or(dy);
            let masked = match signals.leaders {
                Some(leaders) => {
                    let y = step.like("masked", arrived);
                    step.push(MaskFollowers { x: arrived, leaders, y });
                    y
                }
                None => arrived,
            };
            updating = through_activation(step, masked);
            passing = if signals.gradient_through_followers && masked != arrived && needs_input_grad
            {
                through_activation(step, arrived)
            } else {
                updating
            };
        }
        let updating = split(step, saved, updating);
        let passing = split(step, saved, passing);
        let local = signals.local.map(|dz| {
            let parts: Vec<TensorId> =
                saved.branches.iter().filter_map(|(_, head)| Some(head.as_ref()?.y)).collect();
            split_like(step, dz, &parts)
        });

        let mut gradients = Gradients::default();
        for (index, branch) in self.branches.iter().enumerate() {
            let (layers, head) = &saved.branches[index];
            let mut own = updating.as_ref().map(|parts| parts[index]);
            if let (Some(local), Some(head)) = (&local, head) {
                let needs_grad = NeedsGrad { input: true, parameters: true };
                let part = branch.head.backward(step, head, local[index], needs_grad);
                gradients.parameters.extend(part.parameters);
                own = step.sum(own, part.input);
            }
            let pass = passing.as_ref().map(|parts| parts[index]).filter(|_| needs_input_grad);
            let together = own.is_some() && own == pass;
            if let Some(dy) = own {
                let needs_grad = NeedsGrad { input: together, parameters: !self.frozen };
                let part = branch.layers.backward(step, layers, dy, needs_grad);
                gradients.parameters.extend(part.parameters);
                gradients.input = step.sum(gradients.input, part.input);
            }
            if let Some(dy) = pass.filter(|_| !together) {
                let part = branch.layers.backward(step, layers, dy, needs_grad);
                gradients.input = step.sum(gradients.input, part.input);
            }
        }
        gradients
    }
}

/// Tensors side by side along the last axis; one alone is itself.
fn concat(step: &mut StepBuilder<'_>, inputs: Vec<TensorId>) -> TensorId {
    let [first, _, ..] = inputs[..] else { return inputs[0] };
    let mut shape = step.shape(first).to_vec();
    if let Some(last) = shape.last_mut() {
        *last *= inputs.len();
    }
    let y = step.real("concat", &shape);
    step.push(Concat { inputs, y });
    y
}

/// The tangent of [`concat`], from each part with its tangent; none means zero.
fn concat_tangents(
    step: &mut StepBuilder<'_>,
    parts: &[(TensorId, Option<TensorId>)],
) -> Option<TensorId> {
    if parts.iter().all(|(_, tangent)| tangent.is_none()) {
        return None;
    }
    let whole = |&(value, tangent): &(TensorId, Option<TensorId>)| {
        tangent.unwrap_or_else(|| step.zeros_like(value))
    };
    let tangents = parts.iter().map(whole).collect();
    Some(concat(step, tangents))
}

/// The inverse of [`concat`]: parts of `x` with the shapes of `parts`.
fn split_like(step: &mut StepBuilder<'_>, x: TensorId, parts: &[TensorId]) -> Vec<TensorId> {
    if parts.len() == 1 {
        return vec![x];
    }
    let outputs: Vec<TensorId> = parts.iter().map(|&part| step.like("split", part)).collect();
    step.push(Split { x, outputs: outputs.clone() });
    outputs
}

/// A gradient at the unit's features, as one part per branch.
fn split(
    step: &mut StepBuilder<'_>,
    saved: &UnitSaved,
    gradient: Option<TensorId>,
) -> Option<Vec<TensorId>> {
    let features: Vec<TensorId> = saved.branches.iter().map(|(layers, _)| layers.y).collect();
    gradient.map(|gradient| split_like(step, gradient, &features))
}
