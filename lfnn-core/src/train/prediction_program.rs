//! The predictor of a trained network: what is left of it when nothing is to be trained or judged.

use crate::config::{Augmentation, ConfigError, NetworkConfig};
use crate::network::{Network, write_probabilities};
use crate::program::{
    DType, Operation, Predictions, Program, ProgramId, ProgramSet, Role, TensorId, step_counter,
};
use crate::step::{Mode, StepBuilder};

use super::data::{DataLayout, DataTensors};
use super::state::{State, StateTensor, saved};

/// A network's predictor as a program, from the bytes of an image to the outputs, to be translated
/// into another format. Labels and losses are not part of it, and heads of workers that have no vote only on request.
#[derive(Debug)]
pub struct PredictionProgram {
    /// The network.
    pub network: Network,
    /// The tensors and the one program.
    pub set: ProgramSet,
    program: ProgramId,
    /// Logits, `[1, classifiers · classes]`.
    pub logits: TensorId,
    /// Outputs p, of the same shape: a softmax, or a sigmoid each for binary classifiers. In a regression
    /// they are the logits themselves.
    pub outputs: TensorId,
    /// Of each hidden unit whose workers predict: their outputs p, `[1, classifiers · workers · classes]`, and how they
    /// are divided.
    pub workers: Vec<(TensorId, Predictions)>,
}

impl PredictionProgram {
    /// The predictor for one example of a data set at a time, in which the workers of hidden units predict too if
    /// asked for.
    ///
    /// # Errors
    /// A configuration that cannot be.
    pub fn new(
        network: &NetworkConfig,
        layout: DataLayout,
        workers_predict: bool,
    ) -> Result<Self, ConfigError> {
        let mut set = ProgramSet::new();
        let network = Network::new(&mut set, network, &layout.shape, layout.classes)?;
        let data =
            DataTensors::declare(&mut set, DataLayout { count: 1, ..layout }, network.values());
        let counter =
            set.declare(Role::Evaluation, "step_counter", DType::U32, &[step_counter::LEN]);
        let order = set.declare(Role::Evaluation, "order", DType::U32, &[1]);
        let mut step = StepBuilder::new(&mut set, "predict", Mode::Evaluate, 1, counter, false);
        let x = data.load_images(&mut step, order, Augmentation::default());
        let (loss, layer) = (network.loss(0.0), network.output());
        let mut workers = Vec::new();
        let logits = network.write_prediction(&mut step, x, workers_predict, |step, unit, z| {
            let predictions = unit.predictions();
            let p = write_probabilities(step, z, loss, predictions.classes);
            workers.push((p, predictions));
        });
        let outputs = write_probabilities(&mut step, logits, loss, layer.predictions().classes);
        let (program, _) =
            step.finish().map_err(|error| ConfigError::new("network", error.to_string()))?;
        Ok(Self { network, set, program, logits, outputs, workers })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.set.programs()[self.program.0]
    }

    /// Every tensor of a saved state that the program reads, with its own: parameters, running
    /// statistics, and the factor and summand of normalisation, `input.scale` and `input.shift`.
    ///
    /// # Errors
    /// A state that lacks one of them, or has it in another shape or type.
    pub fn parameters<'s>(
        &self,
        state: &'s State,
    ) -> Result<Vec<(TensorId, &'s StateTensor)>, String> {
        let read: std::collections::BTreeSet<TensorId> =
            self.program().ops().iter().flat_map(Operation::reads).collect();
        let tensors = self.set.tensors();
        let index = state.index();
        let wanted = |id: &TensorId| tensors[*id].role.is_saved();
        read.into_iter().filter(wanted).map(|id| Ok((id, saved(&tensors[id], &index)?))).collect()
    }
}
