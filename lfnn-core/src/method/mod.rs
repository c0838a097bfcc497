//! Training methods: which error signal reaches which parameter.
//!
//! A method is one file here. It sees units as wholes and writes a training step out of
//! [`TrainingStep`]'s parts; no layer and no backend knows the methods.

mod bp;
mod lfnn;
mod lfnn_l;

use std::fmt::Debug;

use crate::config::LeadershipConfig;
use crate::layer::{Gradients, Want};
use crate::network::{Network, NetworkTensors, OutputRecord, OutputState};
use crate::optim::Optimizer;
use crate::program::{AdvanceClock, ProgramError, ProgramId, TensorId};
use crate::step::StepWriter;
use crate::unit::{Leaders, Leadership, Signals, UnitRecord, UnitState};

/// A training method.
pub trait Method: Debug + Send + Sync {
    /// The name by which users choose it.
    fn name(&self) -> &'static str;

    /// One line for people.
    fn describe(&self) -> &'static str;

    /// Whether no derivative passes from one unit to another.
    fn is_local(&self) -> bool;

    /// Whether the workers of hidden units predict and are divided into leaders and followers.
    fn has_leaders(&self) -> bool;

    /// Writes the training step, from the batch to the updates.
    fn write(&self, step: &mut TrainingStep<'_, '_>);
}

/// Every method, in the order of the paper's Table 1.
pub const METHODS: [&dyn Method; 3] = [&bp::Bp, &lfnn::Lfnn, &lfnn_l::LfnnL];

/// The method with this name.
pub fn by_name(name: &str) -> Option<&'static dyn Method> {
    METHODS.into_iter().find(|method| method.name() == name)
}

/// The parts of which a method writes a training step. Units are named by their position from 0.
#[derive(Debug)]
pub struct TrainingStep<'a, 'm> {
    pub(crate) writer: StepWriter<'m>,
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
    pub fn forward(&mut self, unit: usize, x: TensorId) -> UnitRecord {
        self.network.units()[unit].forward(&mut self.writer, &self.tensors.units[unit], x, false)
    }

    /// Forward rule of a unit, the errors of its workers, and the selection of leaders.
    pub fn forward_and_select(&mut self, unit: usize, x: TensorId) -> (UnitRecord, Leaders) {
        let network = self.network;
        let layers = &network.units()[unit];
        let writer = &mut self.writer;
        let record = layers.forward(writer, &self.tensors.units[unit], x, true);
        let logits = record.logits.unwrap_or(record.output);
        let state = &self.units[unit];
        let (number, heads) = (layers.number(), layers.heads());
        let leaders = self.leadership.select(writer, state, number, heads, logits, self.target);
        (record, leaders)
    }

    /// Gradient of `leader_weight · L^δ + follower_weight · L^δ̄` with respect to a unit's logits.
    pub fn local_gradient(
        &mut self,
        leaders: &Leaders,
        leader_weight: f64,
        follower_weight: f64,
    ) -> Option<TensorId> {
        self.leadership.gradient(&mut self.writer, leaders, leader_weight, follower_weight)
    }

    /// Backward rule of a unit; with `want_input` the global gradient of its input too.
    pub fn backward(
        &mut self,
        unit: usize,
        record: &UnitRecord,
        signals: Signals,
        want_input: bool,
    ) -> Gradients {
        let tensors = &self.tensors.units[unit];
        self.network.units()[unit].backward(&mut self.writer, tensors, record, signals, want_input)
    }

    /// Forward rule of the output layer and the global loss.
    pub fn forward_output(&mut self, x: TensorId) -> OutputRecord {
        let output = self.network.output();
        let (tensors, loss) = (&self.tensors.output, self.leadership.loss);
        output.forward(&mut self.writer, tensors, self.output, x, self.target, loss)
    }

    /// Backward rule of the output layer from the global loss; with `want_input` the gradient of its
    /// input too.
    pub fn backward_output(&mut self, record: &OutputRecord, want_input: bool) -> Gradients {
        let output = self.network.output();
        let dz = output.gradient(&mut self.writer, record, self.leadership.loss);
        let want = Want { input: want_input, parameters: true };
        output.backward(&mut self.writer, &self.tensors.output, record, dz, want)
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
    pub(crate) fn finish(mut self) -> Result<(ProgramId, Vec<(TensorId, TensorId)>), ProgramError> {
        self.apply();
        let clock = self.writer.clock();
        self.writer.push(AdvanceClock { clock });
        self.writer.finish()
    }
}
