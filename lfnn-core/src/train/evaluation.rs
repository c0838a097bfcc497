//! Loss and error of a trained network on chosen images, and its predictions.

use crate::backend::{Backend, Executable, TensorData};
use crate::config::{Augmentation, ConfigError, NetworkConfig};
use crate::network::{Network, NetworkTensors, OutputState};
use crate::program::{
    AccumulateRows, AdvanceClock, CountErrors, DType, Loss, ProgramError, ProgramId, ProgramSet,
    TensorId, WorkerLoss, clock,
};
use crate::step::{Mode, StepBuilder};
use crate::unit::worker_decision;

use super::data::{DataTensors, Images};
use super::error::TrainError;
use super::metrics::{clear, read, read_means};
use super::state::{State, fit, load};

/// Result of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Images evaluated.
    pub examples: usize,
    /// Mean global loss.
    pub loss: f64,
    /// Share of wrong predictions, in percent; none in regression.
    pub error: Option<f64>,
    /// For each hidden unit, where workers predict.
    pub units: Vec<UnitEvaluation>,
}

/// Evaluation of a hidden unit's workers.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitEvaluation {
    /// Mean loss of each worker (of each classifier).
    pub worker_losses: Vec<f64>,
    /// Share of wrong predictions of each worker, in percent; 0 in regression.
    pub worker_errors: Vec<f64>,
}

/// What an evaluation covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct EvaluationScope {
    /// ℓ.
    pub(super) loss: Loss,
    /// Images in a batch.
    pub(super) batch: usize,
    /// The largest number of images in one evaluation.
    pub(super) images: usize,
    /// Whether the workers of hidden units predict too.
    pub(super) workers_predict: bool,
}

/// Takes the outputs of a batch, `[rows, outputs]`.
type EachBatch<'a> = &'a mut dyn FnMut(&[f32]);

/// The evaluation program of a network in a module.
#[derive(Debug)]
pub(super) struct EvaluationProgram {
    program: ProgramId,
    clock: TensorId,
    order: TensorId,
    output: OutputState,
    probabilities: TensorId,
    classifiers: usize,
    features: usize,
    has_error: bool,
    batch: usize,
    images: usize,
    /// For each unit whose workers predict.
    units: Vec<UnitSums>,
}

/// Tensors of a unit's workers that outlive a batch of an evaluation.
#[derive(Clone, Copy, Debug)]
struct UnitSums {
    losses: TensorId,
    wrong: TensorId,
    /// `[batch, features]`: what the workers put out for the last batch.
    outputs: TensorId,
    predictors: usize,
    features: usize,
}

impl EvaluationProgram {
    /// Writes the program.
    pub(super) fn write(
        set: &mut ProgramSet,
        network: &Network,
        tensors: &NetworkTensors,
        data: &DataTensors,
        scope: EvaluationScope,
    ) -> Result<Self, ProgramError> {
        let EvaluationScope { loss, batch, workers_predict, .. } = scope;
        let clock = set.persistent("evaluation/clock", DType::U32, &[clock::LEN]);
        let order = set.persistent("evaluation/order", DType::U32, &[scope.images.max(1)]);
        let output = network.output().declare_state(set, "evaluation");
        let sums: Vec<UnitSums> = network
            .units()
            .iter()
            .filter(|_| workers_predict)
            .map(|unit| {
                let predictions = unit.predictions();
                let (predictors, features) = (predictions.predictors(), predictions.features());
                let mut declare = |name: &str, shape: &[usize]| {
                    let name = format!("evaluation/unit{}.{name}", unit.number());
                    set.persistent(name, DType::Real, shape)
                };
                UnitSums {
                    losses: declare("errors", &[predictors]),
                    wrong: declare("wrong", &[predictors]),
                    outputs: declare("outputs", &[batch, features]),
                    predictors,
                    features,
                }
            })
            .collect();
        let mut step = StepBuilder::new(set, "evaluate", Mode::Evaluate, batch, clock, false);
        let (mut x, target) = data.load(&mut step, order, Augmentation::default());
        for (index, unit) in network.units().iter().enumerate() {
            let record = unit.forward(&mut step, &tensors.units[index], x, workers_predict);
            if let (Some(z), Some(sums)) = (record.logits, sums.get(index)) {
                let predictions = unit.predictions();
                let &UnitSums { outputs: output, wrong, predictors, .. } = sums;
                let losses = step.activation("workers.losses", &[predictors]);
                step.push(WorkerLoss { z, target, output, losses, predictions, loss });
                step.push(AccumulateRows { x: losses, clock, total: sums.losses });
                if let Some(decision) = worker_decision(loss) {
                    step.push(CountErrors { output, target, clock, wrong, predictions, decision });
                }
            }
            x = record.output;
        }
        let layer = network.output();
        let record = layer.forward(&mut step, &tensors.output, &output, x, target, loss);
        let features = layer.predictions().features();
        let name = "evaluation/probabilities";
        let probabilities = step.persistent(name, DType::Real, &[batch, features]);
        step.copy(record.probabilities(), probabilities);
        step.push(AdvanceClock { clock });
        let (program, _) = step.finish()?;
        Ok(Self {
            program,
            clock,
            order,
            output,
            probabilities,
            classifiers: layer.predictions().classifiers,
            features,
            has_error: layer.decision(loss).is_some(),
            batch,
            images: scope.images,
            units: sums,
        })
    }

    /// Evaluates the images with these indices; `each` is given the outputs of each batch.
    ///
    /// # Errors
    /// An index of no image, more indices than images, or a failure of the backend.
    pub(super) fn run<E: Executable>(
        &self,
        executable: &mut E,
        indices: &[u32],
        each: Option<EachBatch<'_>>,
    ) -> Result<Evaluation, TrainError<E::Error>> {
        let count = self.images;
        // A device gathers images by these indices without looking.
        if let Some(&index) = indices.iter().find(|&&index| index as usize >= count) {
            return Err(TrainError::NoImage { index, count });
        }
        if indices.len() > count {
            let message = format!("{} indices, expected at most the {count} images", indices.len());
            return Err(TrainError::Data(message));
        }
        self.compute(executable, indices, each).map_err(TrainError::Backend)
    }

    fn compute<E: Executable>(
        &self,
        executable: &mut E,
        indices: &[u32],
        mut each: Option<EachBatch<'_>>,
    ) -> Result<Evaluation, E::Error> {
        let mut order = indices.to_vec();
        order.resize(self.images.max(1), 0);
        executable.upload(self.order, TensorData::U32(&order))?;
        let mut now = [0; clock::LEN];
        now[clock::COUNT] = indices.len() as u32;
        executable.upload(self.clock, TensorData::U32(&now))?;
        executable.upload(self.output.nonfinite, TensorData::U32(&[0]))?;
        let mut sums = vec![(self.output.loss, self.classifiers), (self.output.wrong, 1)];
        for unit in &self.units {
            sums.extend([(unit.losses, unit.predictors), (unit.wrong, unit.predictors)]);
        }
        clear(executable, &sums)?;
        for start in (0..indices.len()).step_by(self.batch) {
            executable.run(self.program)?;
            if let Some(each) = &mut each {
                let outputs = read(executable, self.probabilities, self.batch * self.features)?;
                let rows = self.batch.min(indices.len() - start);
                each(&outputs[..rows * self.features]);
            }
        }
        let per_example = 1.0 / indices.len().max(1) as f64;
        let executable = &*executable;
        let means = |tensor, len, factor| read_means(executable, tensor, len, factor);
        let losses = means(self.output.loss, self.classifiers, per_example)?;
        let wrong = means(self.output.wrong, 1, 100.0 * per_example)?;
        let units = self
            .units
            .iter()
            .map(|unit| {
                Ok(UnitEvaluation {
                    worker_losses: means(unit.losses, unit.predictors, per_example)?,
                    worker_errors: means(unit.wrong, unit.predictors, 100.0 * per_example)?,
                })
            })
            .collect::<Result<_, E::Error>>()?;
        Ok(Evaluation {
            examples: indices.len(),
            loss: losses.iter().sum(),
            error: self.has_error.then(|| wrong[0]),
            units,
        })
    }
}

impl EvaluationProgram {
    /// What the workers of each unit put out for these images: `[images, classifiers · workers · classes]`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) fn worker_outputs<E: Executable>(
        &self,
        executable: &mut E,
        indices: &[u32],
    ) -> Result<Vec<Vec<f32>>, TrainError<E::Error>> {
        let mut all = vec![Vec::new(); self.units.len()];
        for batch in indices.chunks(self.batch) {
            self.run(executable, batch, None)?;
            for (unit, outputs) in self.units.iter().zip(&mut all) {
                let rows = read(executable, unit.outputs, self.batch * unit.features)
                    .map_err(TrainError::Backend)?;
                outputs.extend_from_slice(&rows[..batch.len() * unit.features]);
            }
        }
        Ok(all)
    }
}

/// Evaluates a trained network, without the means to train it.
#[derive(Debug)]
pub struct Evaluator<B: Backend> {
    executable: B::Executable,
    program: EvaluationProgram,
    outputs: usize,
}

impl<B: Backend> Evaluator<B> {
    /// Prepares the evaluation of a network on images, with parameters from a saved state.
    ///
    /// # Errors
    /// A configuration, data or state that does not fit, or a failure of the backend.
    pub fn new(
        backend: &B,
        network: &NetworkConfig,
        images: Images<'_>,
        state: &State,
        batch: usize,
        workers_predict: bool,
    ) -> Result<Self, TrainError<B::Error>> {
        let network = Network::new(network, &images.shape, images.classes)?;
        let loss = network.loss(0.0);
        images.validate(loss.takes_labels()).map_err(TrainError::Data)?;
        let mut set = ProgramSet::new();
        let count = images.count();
        let batch = batch.clamp(1, count);
        let fits = network.check_batch(batch, Mode::Evaluate);
        fits.map_err(|message| ConfigError::new("training.batch_size", message))?;
        let data = DataTensors::declare(&mut set, count, images.shape, network.values());
        let tensors = network.declare(&mut set);
        let program = EvaluationProgram::write(
            &mut set,
            &network,
            &tensors,
            &data,
            EvaluationScope { loss, batch, images: count, workers_predict },
        )?;
        // Before memory is asked for: a file may say anything of its network.
        let fit = fit(&set, state, false).map_err(TrainError::State)?;
        let mut executable = backend.compile(&set).map_err(TrainError::Backend)?;
        data.upload_images(&mut executable, images).map_err(TrainError::Backend)?;
        load(&set, &mut executable, &fit)?;
        let outputs = network.output().predictions().features();
        Ok(Self { executable, program, outputs })
    }

    /// Loss and error on the images with these indices.
    ///
    /// # Errors
    /// An index of no image, more indices than images, or a failure of the backend.
    pub fn evaluate(&mut self, indices: &[u32]) -> Result<Evaluation, TrainError<B::Error>> {
        self.program.run(&mut self.executable, indices, None)
    }

    /// The outputs p for each of these images: class probabilities, or numbers in regression.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn predict(&mut self, indices: &[u32]) -> Result<Vec<Vec<f32>>, TrainError<B::Error>> {
        let mut rows = Vec::with_capacity(indices.len());
        let outputs = self.outputs;
        let mut collect = |batch: &[f32]| rows.extend(batch.chunks(outputs).map(<[f32]>::to_vec));
        self.program.run(&mut self.executable, indices, Some(&mut collect))?;
        Ok(rows)
    }
}
