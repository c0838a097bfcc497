//! The parts of which a method writes a training step.

use crate::config::LeadershipConfig;
use crate::layer::{Derivative, Gradients, NeedsGrad, Perturbation};
use crate::metric::MetricSum;
use crate::network::{Network, NetworkTensors, OutputSaved, OutputState};
use crate::optim::Optimizer;
use crate::program::{AdvanceClock, LocalLoss, ProgramError, ProgramId, TensorId};
use crate::step::StepBuilder;
use crate::unit::{Leaders, Leadership, Signals, Unit, UnitSaved, UnitState, WorkerOutputs};

/// The parts of which a method writes a training step. Units are named by their position from 0.
#[derive(Debug)]
pub struct TrainingStep<'a, 'm> {
    pub(crate) writer: StepBuilder<'m>,
    pub(crate) network: &'a Network,
    pub(crate) tensors: &'a NetworkTensors,
    pub(crate) leadership: &'a Leadership,
    pub(crate) units: &'a [UnitState],
    pub(crate) output: &'a OutputState,
    /// None where the step ends with the gradients.
    pub(crate) optimizer: Option<Optimizer<'a>>,
    pub(crate) input: TensorId,
    pub(crate) target: TensorId,
    /// Whether each group of gradients is clipped by itself.
    pub(crate) local: bool,
    pub(crate) waiting: Vec<(TensorId, TensorId)>,
}

impl TrainingStep<'_, '_> {
    /// The batch.
    pub fn input(&self) -> TensorId {
        self.input
    }

    /// Positions of the hidden units.
    pub fn units(&self) -> std::ops::Range<usize> {
        0..self.network.units().len()
    }

    /// The settings of leadership.
    pub fn leadership(&self) -> LeadershipConfig {
        self.leadership.config
    }

    /// Forward rule of a unit without its workers' predictions.
    pub fn forward(&mut self, unit: usize, x: TensorId) -> UnitSaved {
        self.network.units()[unit].forward(&mut self.writer, &self.tensors.units[unit], x, false)
    }

    /// Forward rule of a unit, and the losses of its workers.
    pub fn forward_with_losses(&mut self, unit: usize, x: TensorId) -> (UnitSaved, WorkerOutputs) {
        let tensors = &self.tensors.units[unit];
        let record = self.network.units()[unit].forward(&mut self.writer, tensors, x, true);
        let outputs = self.worker_losses(unit, &record);
        (record, outputs)
    }

    fn worker_losses(&mut self, unit: usize, record: &UnitSaved) -> WorkerOutputs {
        let (state, target) = (&self.units[unit], self.target);
        let unit = &self.network.units()[unit];
        let logits = record.logits.unwrap_or(record.output);
        let (number, predictions) = (unit.number(), unit.predictions());
        self.leadership.worker_losses(&mut self.writer, state, number, predictions, logits, target)
    }

    /// Forward rule of a unit, the losses of its workers, and the selection of leaders.
    pub fn forward_and_select(&mut self, unit: usize, x: TensorId) -> (UnitSaved, Leaders) {
        let (record, outputs) = self.forward_with_losses(unit, x);
        let (state, number) = (&self.units[unit], self.network.units()[unit].number());
        let leaders = self.leadership.select(&mut self.writer, state, number, outputs);
        (record, leaders)
    }

    /// Forward rule of a unit with random directions added, without its workers' predictions, from
    /// the input and its tangent; gives the tangent of the output. The loss is the global one.
    pub fn jvp_with_noise(
        &mut self,
        unit: usize,
        x: (TensorId, Option<TensorId>),
        perturb: Perturbation,
    ) -> (UnitSaved, Option<TensorId>) {
        let network = self.network;
        let mut behind = network.units()[unit + 1..].iter();
        let mixes = behind.any(Unit::couples_batch) || network.output().couples_batch();
        let (tensors, perturb) = (&self.tensors.units[unit], perturb.before(mixes));
        network.units()[unit].jvp_with_noise(&mut self.writer, tensors, x, false, perturb)
    }

    /// Forward rule of a unit with random directions added, and the derivative of the sum (or mean)
    /// of its own workers' losses along them.
    pub fn perturb_with_losses(
        &mut self,
        unit: usize,
        x: TensorId,
        perturb: Perturbation,
    ) -> (UnitSaved, Derivative) {
        let (layers, tensors) = (&self.network.units()[unit], &self.tensors.units[unit]);
        let (record, dz) =
            layers.jvp_with_noise(&mut self.writer, tensors, (x, None), true, perturb);
        let outputs = self.worker_losses(unit, &record);
        let gradient = self.loss_gradient(outputs);
        let derivative = self.derivative(gradient, dz);
        (record, derivative)
    }

    /// Forward rule of the output layer with random directions added, from the input and its tangent,
    /// and the derivative of the global loss along all directions so far.
    pub fn jvp_with_noise_output(
        &mut self,
        x: (TensorId, Option<TensorId>),
        perturb: Perturbation,
    ) -> (OutputSaved, Derivative) {
        let (output, tensors) = (self.network.output(), &self.tensors.output);
        let (state, target, loss) = (self.output, self.target, self.leadership.loss);
        let writer = &mut self.writer;
        let (record, dz) = output.jvp_with_noise(writer, tensors, state, x, target, loss, perturb);
        let gradient = output.gradient(writer, &record, loss);
        let derivative = self.derivative(gradient, dz);
        (record, derivative)
    }

    fn derivative(&mut self, gradient: TensorId, tangent: Option<TensorId>) -> Derivative {
        let tangent = tangent.unwrap_or_else(|| self.writer.zeros_like(gradient));
        Derivative::new(gradient, tangent)
    }

    /// Forward gradients of a unit's parameters.
    pub fn forward_gradient(
        &mut self,
        unit: usize,
        record: &UnitSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        let (layers, tensors) = (&self.network.units()[unit], &self.tensors.units[unit]);
        layers.forward_gradient(&mut self.writer, tensors, record, derivative)
    }

    /// Forward gradients of the output layer's parameters.
    pub fn forward_gradient_output(
        &mut self,
        record: &OutputSaved,
        derivative: &mut Derivative,
    ) -> Gradients {
        let output = self.network.output();
        output.forward_gradient(&mut self.writer, &self.tensors.output, record, derivative)
    }

    /// From here on fixed random matrices carry gradients back in the place of weights.
    pub fn use_feedback(&mut self) {
        self.writer.use_feedback();
    }

    /// Gradient of the sum (or mean) of all workers' losses with respect to a unit's logits.
    pub fn loss_gradient(&mut self, outputs: WorkerOutputs) -> TensorId {
        self.leadership.loss_gradient(&mut self.writer, outputs)
    }

    /// Gradient of a local loss with respect to a unit's logits; none where its weights are 0.
    pub fn local_loss_gradient(&mut self, leaders: &Leaders, loss: LocalLoss) -> Option<TensorId> {
        self.leadership.local_loss_gradient(&mut self.writer, leaders, loss)
    }

    /// Backward rule of a unit; with `needs_input_grad` the global gradient of its input too.
    pub fn backward(
        &mut self,
        unit: usize,
        record: &UnitSaved,
        signals: Signals,
        needs_input_grad: bool,
    ) -> Gradients {
        let tensors = &self.tensors.units[unit];
        self.network.units()[unit].backward(
            &mut self.writer,
            tensors,
            record,
            signals,
            needs_input_grad,
        )
    }

    /// Forward rule of the output layer and the global loss.
    pub fn forward_output(&mut self, x: TensorId) -> OutputSaved {
        let output = self.network.output();
        let (tensors, loss) = (&self.tensors.output, self.leadership.loss);
        output.forward(&mut self.writer, tensors, self.output, x, self.target, loss)
    }

    /// Backward rule of the output layer from the global loss; with `needs_input_grad` the gradient of its
    /// input too.
    pub fn backward_output(&mut self, record: &OutputSaved, needs_input_grad: bool) -> Gradients {
        let output = self.network.output();
        let dz = output.gradient(&mut self.writer, record, self.leadership.loss);
        let needs_grad = NeedsGrad { input: needs_input_grad, parameters: true };
        output.backward(&mut self.writer, &self.tensors.output, record, dz, needs_grad)
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
            optimizer.write(&mut self.writer, &group);
        }
    }

    /// Ends the step: the updates that still wait, then the clock.
    pub(crate) fn finish(mut self) -> Result<WrittenStep, ProgramError> {
        self.apply();
        let clock = self.writer.clock();
        self.writer.push(AdvanceClock { clock });
        let (feedback, directions) = (self.writer.feedback(), self.writer.directions().to_vec());
        let metrics = self.writer.metrics().to_vec();
        let (program, gradients) = self.writer.finish()?;
        Ok(WrittenStep { program, gradients, feedback, directions, metrics })
    }
}

/// A step that was written.
#[derive(Clone, Debug)]
pub(crate) struct WrittenStep {
    pub(crate) program: ProgramId,
    /// Each parameter that the method trains, with its gradient.
    pub(crate) gradients: Vec<(TensorId, TensorId)>,
    /// Weights with the matrices that stand for them on the way back.
    pub(crate) feedback: Vec<(TensorId, TensorId)>,
    /// Directions of forward gradients.
    pub(crate) directions: Vec<TensorId>,
    /// What it adds up.
    pub(crate) metrics: Vec<MetricSum>,
}
