//! The parts of which a method builds a training step.
//!
//! A method sees the units that train. A frozen unit is a fixed map in front of the next unit that trains, or of the
//! output layer: it is written with that one's forward rule, and the global gradient passes through it with that one's
//! backward rule.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::LeadershipConfig;
use crate::layer::{Along, Coupling, Derivative, Gradients, NeedsGrad, Perturbation, Saved};
use crate::method::Method;
use crate::metric::MetricSum;
use crate::network::{GlobalLoss, Network, OutputState};
use crate::optim::Optimizer;
use crate::program::{
    AdvanceStepCounter, Linear, LocalLoss, Part, ProgramError, ProgramId, Role, SwapAxes, TensorId,
};
use crate::sizes;
use crate::step::{FeedbackPath, StepBuilder};
use crate::unit::{
    Leaders, Leadership, LocalGradient, Signals, Unit, UnitSaved, UnitState, WorkerOutputs,
};

/// The parts of which a method builds a training step. Units are named by their position from 0, frozen ones counted.
#[derive(Debug)]
pub struct TrainingStep<'a, 'm> {
    builder: StepBuilder<'m>,
    network: &'a Network,
    leadership: &'a Leadership,
    /// None where the step ends with the gradients.
    optimizer: Option<Optimizer<'a>>,
    input: TensorId,
    target: TensorId,
    /// Factors on the losses of the classes.
    class_weights: Option<TensorId>,
    /// Whether each group of gradients is clipped by itself.
    local: bool,
    waiting: Vec<(TensorId, TensorId)>,
    units: Vec<UnitState>,
    output: OutputState,
    leaders: Vec<Leaders>,
    loss: Option<GlobalLoss>,
    error: Option<TensorId>,
}

/// What the output layer's forward rule leaves for the others.
#[derive(Clone, Debug)]
pub struct OutputSaved {
    layers: Saved,
    loss: GlobalLoss,
    /// The exact gradients of the readout, where outputs are perturbed.
    readout: Vec<(TensorId, TensorId)>,
    frozen_before: Vec<UnitSaved>,
}

impl<'a, 'm> TrainingStep<'a, 'm> {
    /// Builds the training step of a method. `batch` is the input and the target, with the weights of its classes if
    /// they have any. Without an optimiser the step ends with the gradients.
    pub(crate) fn build(
        method: &Method,
        mut builder: StepBuilder<'m>,
        network: &'a Network,
        leadership: &'a Leadership,
        (input, target, class_weights): (TensorId, TensorId, Option<TensorId>),
        optimizer: Option<Optimizer<'a>>,
    ) -> Result<BuiltStep, ProgramError> {
        let declare = |unit| leadership.declare(&mut builder, unit);
        let units = network.units().iter().map(declare).collect();
        let output = network.output().declare_state(&mut builder, Role::Metric);
        let mut step = Self {
            builder,
            network,
            leadership,
            optimizer,
            input,
            target,
            class_weights,
            local: method.local,
            waiting: Vec::new(),
            units,
            output,
            leaders: Vec::new(),
            loss: None,
            error: None,
        };
        (method.write)(&mut step);
        step.finish()
    }
}

impl<'m> TrainingStep<'_, 'm> {
    /// The inputs of the batch.
    pub fn input(&self) -> TensorId {
        self.input
    }

    /// A tangent for each direction of the step, all zero: of what nothing in front of has perturbed.
    pub fn still(&self) -> Along {
        vec![None; self.builder.direction_count()]
    }

    /// The targets of the batch: labels `[batch]`, or numbers `[batch, values]`.
    pub fn target(&self) -> TensorId {
        self.target
    }

    /// The builder, for operations that are not among these parts.
    pub fn builder(&mut self) -> &mut StepBuilder<'m> {
        &mut self.builder
    }

    /// Positions of the hidden units that train.
    pub fn units(&self) -> Vec<usize> {
        let units = self.network.units();
        (0..units.len()).filter(|&unit| !units[unit].is_frozen()).collect()
    }

    /// Positions of the frozen units directly in front of the unit at a position; the output layer's is behind the
    /// last.
    fn frozen_before(&self, unit: usize) -> Range<usize> {
        let before = &self.network.units()[..unit];
        let trained = before.iter().rposition(|unit| !unit.is_frozen());
        trained.map_or(0, |trained| trained + 1)..unit
    }

    /// Forward rules of the frozen units in front of a position, with the tangent, if there is one.
    fn forward_frozen(
        &mut self,
        unit: usize,
        (mut x, mut dx): (TensorId, Along),
    ) -> (Vec<UnitSaved>, TensorId, Along) {
        let units = &self.network.units()[self.frozen_before(unit)];
        let all_saved = units.iter().map(|unit| {
            let (saved, tangent) = self.builder.frozen(|builder| {
                let dx = std::mem::take(&mut dx);
                unit.jvp_with_noise(builder, (x, dx), false, Perturbation::Nothing)
            });
            (x, dx) = (saved.output, tangent);
            saved
        });
        (all_saved.collect(), x, dx)
    }

    /// The global gradient, from behind the frozen units in front of a position to before them.
    fn backward_frozen(&mut self, unit: usize, all_saved: &[UnitSaved], gradients: &mut Gradients) {
        let units = &self.network.units()[self.frozen_before(unit)];
        for (unit, saved) in units.iter().zip(all_saved).rev() {
            let signals = Signals { global: gradients.input, ..Signals::default() };
            let passed =
                self.builder.frozen(|builder| unit.backward(builder, saved, signals, true));
            gradients.input = passed.input;
        }
        // What follows belongs to what trains.
        let trained = self.network.units().get(unit);
        self.builder.part(trained.map_or(Part::Output, |unit| Part::Unit(unit.number())));
    }

    /// The settings of leadership.
    pub fn leadership(&self) -> LeadershipConfig {
        self.leadership.config
    }

    /// Forward rule of a unit without its workers' predictions.
    pub fn forward(&mut self, unit: usize, x: TensorId) -> UnitSaved {
        self.forward_unit(unit, x, false)
    }

    fn forward_unit(&mut self, unit: usize, x: TensorId, predict: bool) -> UnitSaved {
        let (frozen_before, x, _) = self.forward_frozen(unit, (x, Along::new()));
        let mut saved = self.network.units()[unit].forward(&mut self.builder, x, predict);
        saved.frozen_before = frozen_before;
        saved
    }

    /// Forward rule of a unit, and the losses of its workers.
    pub fn forward_with_losses(&mut self, unit: usize, x: TensorId) -> (UnitSaved, WorkerOutputs) {
        let saved = self.forward_unit(unit, x, true);
        let outputs = self.worker_losses(unit, &saved);
        (saved, outputs)
    }

    fn worker_losses(&mut self, unit: usize, saved: &UnitSaved) -> WorkerOutputs {
        let of = (&self.network.units()[unit], saved);
        let target = (self.target, self.class_weights);
        self.leadership.worker_losses(&mut self.builder, &self.units[unit], of, target)
    }

    /// Forward rule of a unit, the losses of its workers, and the selection of leaders.
    pub fn forward_and_select(&mut self, unit: usize, x: TensorId) -> (UnitSaved, Leaders) {
        let (saved, outputs) = self.forward_with_losses(unit, x);
        let leaders = self.leadership.select(&mut self.builder, &self.units[unit], outputs);
        self.leaders.push(leaders);
        (saved, leaders)
    }

    /// Forward rule of a unit with random directions added, without its workers' predictions, from
    /// the input and its tangent; gives the tangent of the output. The loss is the global one.
    pub fn jvp_with_noise(
        &mut self,
        unit: usize,
        x: (TensorId, Along),
        perturb: Perturbation,
    ) -> (UnitSaved, Along) {
        let (units, output) = (self.network.units(), self.network.output());
        let later = Coupling::of(units[unit + 1..].iter().map(Unit::coupling));
        let perturb = perturb.before(later.and(output.coupling()));
        let (frozen_before, x, dx) = self.forward_frozen(unit, x);
        let (mut saved, tangent) =
            units[unit].jvp_with_noise(&mut self.builder, (x, dx), false, perturb);
        saved.frozen_before = frozen_before;
        (saved, tangent)
    }

    /// Forward rule of a unit with random directions added, and the forward gradients of its own losses: of the sum (or
    /// mean) of its workers', and of similarity matching.
    pub fn forward_gradient_of_losses(
        &mut self,
        unit: usize,
        x: TensorId,
        perturb: Perturbation,
    ) -> (UnitSaved, Gradients) {
        let layers = &self.network.units()[unit];
        let (frozen_before, x, _) = self.forward_frozen(unit, (x, Along::new()));
        let still = self.still();
        let (mut saved, _) = layers.jvp_with_noise(&mut self.builder, (x, still), true, perturb);
        saved.frozen_before = frozen_before;
        let outputs = self.worker_losses(unit, &saved);
        let gradient = self.loss_gradient(outputs);
        let gradients =
            layers.forward_gradient_of_losses(&mut self.builder, &saved, gradient, perturb);
        (saved, gradients)
    }

    /// Forward rule of the output layer with random directions added, from the input and its tangent,
    /// and the derivative of the global loss along all directions so far.
    pub fn jvp_with_noise_output(
        &mut self,
        x: (TensorId, Along),
        perturb: Perturbation,
    ) -> (OutputSaved, Derivative) {
        let output = self.network.output();
        let (frozen_before, x, dx) = self.forward_frozen(self.network.units().len(), x);
        let (layers, tangent) = output.jvp_with_noise(&mut self.builder, (x, dx), perturb);
        let mut saved = self.global_loss(layers, frozen_before);
        let along = (self.output_error(&saved), tangent);
        let (derivative, readout) =
            output.derivative(&mut self.builder, &saved.layers, along, perturb);
        saved.readout = readout;
        (saved, derivative)
    }

    fn global_loss(&mut self, layers: Saved, frozen_before: Vec<UnitSaved>) -> OutputSaved {
        let (output, loss) = (self.network.output(), self.leadership.loss);
        let target = (self.target, self.class_weights);
        let loss = output.global_loss(&mut self.builder, &self.output, layers.y, target, loss);
        self.loss = Some(loss);
        OutputSaved { layers, loss, readout: Vec::new(), frozen_before }
    }

    /// Forward gradients of a unit's parameters.
    pub fn forward_gradient(
        &mut self,
        unit: usize,
        saved: &UnitSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        self.network.units()[unit].forward_gradient(&mut self.builder, saved, derivative)
    }

    /// Forward gradients of the output layer's parameters.
    pub fn forward_gradient_output(
        &mut self,
        saved: &OutputSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        let output = self.network.output();
        let mut gradients = output.forward_gradient(&mut self.builder, &saved.layers, derivative);
        gradients.parameters.extend(&saved.readout);
        gradients
    }

    /// From here on, fixed random matrices replace the weights in the backward pass.
    pub fn use_feedback(&mut self) {
        self.builder.use_feedback();
    }

    /// Gradient of a unit's losses where all of its workers train on the targets: of the sum (or mean) of theirs, and of
    /// similarity matching.
    pub fn loss_gradient(&mut self, outputs: WorkerOutputs) -> LocalGradient {
        let logits = Some(self.leadership.loss_gradient(&mut self.builder, outputs));
        LocalGradient { logits, similarity: outputs.similarity_gradient(&mut self.builder) }
    }

    /// Gradient of a unit's local losses: of leaders and followers, and of similarity matching; none where it has
    /// neither.
    pub fn local_loss_gradient(
        &mut self,
        leaders: &Leaders,
        loss: LocalLoss,
    ) -> Option<LocalGradient> {
        let logits = self.leadership.local_loss_gradient(&mut self.builder, leaders, loss);
        let similarity = leaders.outputs.similarity_gradient(&mut self.builder);
        (logits.is_some() || similarity.is_some()).then_some(LocalGradient { logits, similarity })
    }

    /// Backward rule of a unit; with `needs_input_grad` the global gradient of the input of its forward rule too.
    pub fn backward(
        &mut self,
        unit: usize,
        saved: &UnitSaved,
        signals: Signals,
        needs_input_grad: bool,
    ) -> Gradients {
        let layers = &self.network.units()[unit];
        let mut gradients = layers.backward(&mut self.builder, saved, signals, needs_input_grad);
        if needs_input_grad {
            self.backward_frozen(unit, &saved.frozen_before, &mut gradients);
        }
        gradients
    }

    /// Forward rule of the output layer and the global loss.
    pub fn forward_output(&mut self, x: TensorId) -> OutputSaved {
        let (frozen_before, x, _) =
            self.forward_frozen(self.network.units().len(), (x, Along::new()));
        let layers = self.network.output().forward(&mut self.builder, x);
        self.global_loss(layers, frozen_before)
    }

    /// Backward rule of the output layer from the global loss; with `needs_input_grad` the gradient of the input of
    /// its forward rule too.
    pub fn backward_output(&mut self, saved: &OutputSaved, needs_input_grad: bool) -> Gradients {
        let dz = self.output_error(saved);
        let needs_grad = NeedsGrad { input: needs_input_grad, parameters: true };
        let output = self.network.output();
        let mut gradients = output.backward(&mut self.builder, &saved.layers, dz, needs_grad);
        if needs_input_grad {
            let behind = self.network.units().len();
            self.backward_frozen(behind, &saved.frozen_before, &mut gradients);
        }
        gradients
    }

    /// The error of the output layer, `[batch, logits]`: the gradient of the global loss with respect to the logits.
    pub fn output_error(&mut self, saved: &OutputSaved) -> TensorId {
        let (output, builder) = (self.network.output(), &mut self.builder);
        *self.error.get_or_insert_with(|| output.gradient(builder, &saved.loss))
    }

    /// `B e`: the error of the output layer, carried to a unit's output by a fixed random matrix, in the shape of that
    /// output. With one-vs-all, B carries each classifier's error to that classifier's features alone.
    pub fn direct_feedback(&mut self, unit: usize, error: TensorId) -> TensorId {
        let layers = &self.network.units()[unit];
        let predictions = self.network.output().predictions();
        let output = layers.output_shape();
        let shape = [output.iter().product(), predictions.classes];
        let builder = &mut self.builder;
        builder.part(Part::Unit(layers.number()));
        let path = FeedbackPath::Error { unit, shape };
        let weight =
            builder.feedback_matrix(path, &format!("unit{}.output", layers.number()), &shape);
        let y = builder.activation("direct_feedback", &shape[..1]);
        let groups = predictions.classifiers;
        builder.push(Linear { x: error, weight, bias: None, y, groups });
        if output.len() == 1 {
            return y;
        }
        let image = builder.activation("direct_feedback.image", output);
        builder.push(SwapAxes::channels_last(y, image, output));
        image
    }

    /// One optimiser step on these gradients. Where gradients are clipped, those of one call are a
    /// group in a local method; in any other the whole network's are one.
    pub fn update(&mut self, gradients: Gradients) {
        self.waiting.extend(gradients.parameters);
        if self.local || self.optimizer.as_ref().is_some_and(|optimizer| !optimizer.clips()) {
            self.apply();
        }
    }

    fn apply(&mut self) {
        let group = std::mem::take(&mut self.waiting);
        if let Some(optimizer) = &mut self.optimizer {
            optimizer.write(&mut self.builder, &group);
        }
    }

    /// Ends the step: the updates that still wait, then the step counter.
    fn finish(mut self) -> Result<BuiltStep, ProgramError> {
        self.apply();
        let counter = self.builder.counter();
        self.builder.push(AdvanceStepCounter { counter });
        let feedback = self.builder.feedback().clone();
        for &matrix in feedback.values() {
            let (tensor, shape) = (self.builder.name_of(matrix), self.builder.shape(matrix));
            sizes::elements(tensor, shape, sizes::MAX_ELEMENTS).map_err(|_| {
                let (tensor, shape) = (tensor.to_owned(), shape.to_vec());
                ProgramError::TooManyElements { tensor, shape }
            })?;
        }
        let directions = self.builder.directions().to_vec();
        let metrics = self.builder.metrics().to_vec();
        let Self { units, output, leaders, loss, .. } = self;
        let (program, gradients) = self.builder.finish()?;
        Ok(BuiltStep {
            program,
            gradients,
            feedback,
            directions,
            metrics,
            units,
            output,
            leaders,
            loss,
        })
    }
}

/// A step that was built.
#[derive(Clone, Debug)]
pub(crate) struct BuiltStep {
    pub(crate) program: ProgramId,
    /// Each parameter that the method trains, with its gradient.
    pub(crate) gradients: Vec<(TensorId, TensorId)>,
    /// The fixed random matrices that carry gradients back.
    pub(crate) feedback: BTreeMap<FeedbackPath, TensorId>,
    /// Directions of forward gradients.
    pub(crate) directions: Vec<TensorId>,
    /// What it adds up.
    pub(crate) metrics: Vec<MetricSum>,
    /// What outlives the step, for each hidden unit and for the output layer.
    pub(crate) units: Vec<UnitState>,
    pub(crate) output: OutputState,
    /// The leaders of each hidden unit that trains, where the method has any.
    pub(crate) leaders: Vec<Leaders>,
    /// The global loss, which every method computes.
    pub(crate) loss: Option<GlobalLoss>,
}
