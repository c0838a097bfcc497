//! Units: the smallest parts of a network with a local loss, and the workers inside them.
//!
//! A unit's layers produce features, on which its workers predict; what it hands on then passes
//! through the parameter-free layers of `then` to the next unit. A local gradient enters at the
//! workers' logits and ends at the unit's own parameters. A global gradient enters at the unit's
//! output and, if asked for, leaves at its input.

mod leadership;
mod workers;

pub use leadership::{Leaders, Leadership, UnitState, WorkerOutputs, WorkerSums};

use crate::config::{ConfigError, UnitConfig};
use crate::layer::{
    Derivative, Gradients, Layer, LayerBuilder, NeedsGrad, ParameterSpec, Perturbation, Saved,
    Sequential,
};
use crate::program::{Concat, MaskFollowers, Part, Predictions, Split, TensorId};
use crate::step::StepBuilder;

/// The kinds of workers (paper, Section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerKind {
    /// Runs of neurons of a fully connected layer.
    Neurons,
    /// Runs of filters of a convolution.
    Filters,
    /// Groups of features with a linear readout.
    Readout,
    /// Whole blocks with a linear readout.
    Block,
}

/// Layers that one or several workers share, with what turns their features into logits.
#[derive(Debug)]
pub(crate) struct Body {
    /// Prefix of the parameters' names: empty, or `block{n}.`.
    prefix: String,
    layers: Sequential,
    head: Sequential,
}

/// A hidden unit for inputs of one shape.
#[derive(Debug)]
pub struct Unit {
    /// Position among the units, from 1.
    number: usize,
    kind: WorkerKind,
    predictions: Predictions,
    bodies: Vec<Body>,
    output_activation: Sequential,
    transition: Sequential,
}

/// What a unit's forward rule leaves.
#[derive(Clone, Debug)]
pub struct UnitSaved {
    bodies: Vec<(Saved, Option<Saved>)>,
    output_activation: Saved,
    transition: Saved,
    /// The workers' logits, if they were asked to predict.
    pub logits: Option<TensorId>,
    /// What the unit hands on.
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

/// A parameter of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitParameter {
    /// The parameter, with its full name.
    pub spec: ParameterSpec,
    /// Whether it belongs to a readout, which prediction with the trained network does not need.
    pub readout: bool,
}

/// What a unit is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPlace<'a> {
    /// Position among the units, from 0.
    pub(crate) index: usize,
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
        builder: &mut LayerBuilder,
        config: &UnitConfig,
        place: UnitPlace<'_>,
    ) -> Result<Self, ConfigError> {
        let path = format!("network.units[{}]", place.index);
        let parts = workers::build(builder, config, place, &path)?;
        let transition_path = format!("{path}.transition");
        let transition = builder.sequential(
            &config.transition,
            &parts.features,
            "transition",
            &transition_path,
        )?;
        if !transition.parameters().is_empty() {
            return Err(ConfigError::new(
                transition_path,
                "holds a layer with parameters, which no local loss would train; \
                 put it into the `layers` of this unit or the next",
            ));
        }
        Ok(Self {
            number: place.index + 1,
            kind: parts.kind,
            predictions: Predictions {
                classifiers: place.classifiers,
                workers: parts.workers,
                classes: place.classes,
            },
            bodies: parts.bodies,
            output_activation: parts.output_activation,
            transition,
        })
    }

    /// Position among the units, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The kind of its workers.
    pub fn kind(&self) -> WorkerKind {
        self.kind
    }

    /// How its logits fall into classifiers, workers and classes.
    pub fn predictions(&self) -> Predictions {
        self.predictions
    }

    /// Shape of what it hands on, without the batch.
    pub fn output_shape(&self) -> &[usize] {
        self.transition.output_shape()
    }

    /// How many layers with weights a local gradient crosses inside the unit, readouts left aside: 1
    /// in a layer-wise unit.
    pub fn depth(&self) -> usize {
        self.bodies[0].layers.depth()
    }

    /// The layers of one block (all layers, where there are no blocks), described.
    pub fn describe_layers(&self) -> String {
        self.bodies[0].layers.describe()
    }

    /// How a worker's features become logits, described; empty for neurons.
    pub fn describe_head(&self) -> String {
        self.bodies[0].head.describe()
    }

    /// The layers between the workers and the next unit, described.
    pub fn describe_transition(&self) -> String {
        self.transition.describe()
    }

    /// All parameters, with full names, in the order in which the rules expect their tensors.
    pub fn parameters(&self) -> Vec<UnitParameter> {
        let mut all = Vec::new();
        for body in &self.bodies {
            for (chain, readout) in [(&body.layers, false), (&body.head, true)] {
                all.extend(chain.parameters().into_iter().map(|mut spec| {
                    spec.name = format!("unit{}.{}{}", self.number, body.prefix, spec.name);
                    UnitParameter { spec, readout }
                }));
            }
        }
        all
    }

    /// Each body with the tensors of its layers and of its head.
    fn split<'a>(
        &'a self,
        mut tensors: &'a [TensorId],
    ) -> Vec<(&'a Body, &'a [TensorId], &'a [TensorId])> {
        self.bodies
            .iter()
            .map(|body| {
                let (layers, rest) = tensors.split_at(body.layers.parameters().len());
                let (head, rest) = rest.split_at(body.head.parameters().len());
                tensors = rest;
                (body, layers, head)
            })
            .collect()
    }

    /// Writes the forward rule; with `predict` the workers' logits too.
    pub fn forward(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        x: TensorId,
        predict: bool,
    ) -> UnitSaved {
        step.part(Part::Unit(self.number));
        let mut bodies = Vec::with_capacity(self.bodies.len());
        for (body, layers, head) in self.split(tensors) {
            let record = body.layers.forward(step, layers, x);
            let logits = predict.then(|| body.head.forward(step, head, record.y));
            bodies.push((record, logits));
        }
        self.join(step, bodies)
    }

    /// Writes the forward rule with random directions added, layer by layer (see [`Perturbation`]), from the
    /// input's tangent `dx`; none stands for zero. With `predict` the tangent of the workers' logits
    /// comes back, otherwise that of the output.
    pub fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        (x, dx): (TensorId, Option<TensorId>),
        predict: bool,
        perturb: Perturbation,
    ) -> (UnitSaved, Option<TensorId>) {
        step.part(Part::Unit(self.number));
        let mut bodies = Vec::with_capacity(self.bodies.len());
        let mut tangents = Vec::with_capacity(self.bodies.len());
        for (body, layers, head) in self.split(tensors) {
            let behind = predict && body.head.couples_batch();
            let (record, dy) =
                body.layers.jvp_with_noise(step, layers, x, dx, perturb.before(behind));
            if predict {
                let (logits, dz) = body.head.jvp_with_noise(step, head, record.y, dy, perturb);
                tangents.push((logits.y, dz));
                bodies.push((record, Some(logits)));
            } else {
                tangents.push((record.y, dy));
                bodies.push((record, None));
            }
        }
        let tangent = concat_tangents(step, &tangents);
        let record = self.join(step, bodies);
        if predict {
            return (record, tangent);
        }
        let tangent =
            self.output_activation.jvp(step, &[], &record.output_activation, tangent, None);
        let tangent = self.transition.jvp(step, &[], &record.transition, tangent, None);
        (record, tangent)
    }

    /// Writes the forward gradient of every parameter that [`jvp_with_noise`](Self::jvp_with_noise) reached.
    pub fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        record: &UnitSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let mut gradients = Gradients::default();
        for ((body, layers, head), (layer_record, head_record)) in
            self.split(tensors).into_iter().zip(&record.bodies)
        {
            let own = body.layers.forward_gradient(step, layers, layer_record, derivative);
            gradients.parameters.extend(own);
            if let Some(record) = head_record {
                let own = body.head.forward_gradient(step, head, record, derivative);
                gradients.parameters.extend(own);
            }
        }
        gradients
    }

    /// Whether what the unit hands on of a sample depends on other samples, in training.
    pub fn couples_batch(&self) -> bool {
        self.bodies.iter().any(|body| body.layers.couples_batch())
    }

    /// Writes what follows the bodies.
    fn join(&self, step: &mut StepBuilder<'_>, bodies: Vec<(Saved, Option<Saved>)>) -> UnitSaved {
        let features = concat(step, bodies.iter().map(|(record, _)| record.y).collect());
        let logits: Option<Vec<TensorId>> =
            bodies.iter().map(|(_, head)| head.as_ref().map(|record| record.y)).collect();
        let logits = logits.map(|parts| concat(step, parts));
        let output_activation = self.output_activation.forward(step, &[], features);
        let transition = self.transition.forward(step, &[], output_activation.y);
        let output = transition.y;
        UnitSaved { bodies, output_activation, transition, logits, output }
    }

    /// Writes the backward rule: the gradient of every parameter that a signal reaches, and with
    /// `needs_input_grad` the global gradient of the input. The local signal never leaves the unit.
    pub fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        tensors: &[TensorId],
        record: &UnitSaved,
        signals: Signals,
        needs_input_grad: bool,
    ) -> Gradients {
        step.part(Part::Unit(self.number));
        let needs_grad = NeedsGrad { input: true, parameters: false };
        // The global gradient at the features: what updates the unit, and what passes through it.
        let (mut updating, mut passing) = (None, None);
        if let Some(dy) = signals.global {
            let handed = |step: &mut StepBuilder<'_>, d: TensorId| {
                self.output_activation
                    .backward(step, &[], &record.output_activation, d, needs_grad)
                    .input
            };
            let arrived = self
                .transition
                .backward(step, &[], &record.transition, dy, needs_grad)
                .input
                .unwrap_or(dy);
            let masked = match signals.leaders {
                Some(leaders) => {
                    let y = step.like("masked", arrived);
                    step.push(MaskFollowers { x: arrived, leaders, y });
                    y
                }
                None => arrived,
            };
            updating = handed(step, masked);
            passing = if signals.gradient_through_followers && masked != arrived && needs_input_grad
            {
                handed(step, arrived)
            } else {
                updating
            };
        }
        let updating = split(step, record, updating);
        let passing = split(step, record, passing);
        let local = signals.local.map(|dz| {
            let parts: Vec<TensorId> =
                record.bodies.iter().filter_map(|(_, head)| Some(head.as_ref()?.y)).collect();
            split_like(step, dz, &parts)
        });

        let mut gradients = Gradients::default();
        for (index, (body, layers, head)) in self.split(tensors).into_iter().enumerate() {
            let (layer_record, head_record) = &record.bodies[index];
            let mut own = updating.as_ref().map(|parts| parts[index]);
            if let (Some(local), Some(head_record)) = (&local, head_record) {
                let needs_grad = NeedsGrad { input: true, parameters: true };
                let part = body.head.backward(step, head, head_record, local[index], needs_grad);
                gradients.parameters.extend(part.parameters);
                own = step.sum(own, part.input);
            }
            let pass = passing.as_ref().map(|parts| parts[index]).filter(|_| needs_input_grad);
            let together = own.is_some() && own == pass;
            if let Some(dy) = own {
                let needs_grad = NeedsGrad { input: together, parameters: true };
                let part = body.layers.backward(step, layers, layer_record, dy, needs_grad);
                gradients.parameters.extend(part.parameters);
                gradients.input = step.sum(gradients.input, part.input);
            }
            if let Some(dy) = pass.filter(|_| !together) {
                let part = body.layers.backward(step, layers, layer_record, dy, needs_grad);
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

/// The tangent of [`concat`], from each part with its tangent; none stands for zero.
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

/// A gradient at the unit's features, as one part per body.
fn split(
    step: &mut StepBuilder<'_>,
    record: &UnitSaved,
    gradient: Option<TensorId>,
) -> Option<Vec<TensorId>> {
    let features: Vec<TensorId> = record.bodies.iter().map(|(body, _)| body.y).collect();
    gradient.map(|gradient| split_like(step, gradient, &features))
}
