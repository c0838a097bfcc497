//! Early exit: a prediction stops at the first unit whose best worker is sure enough, and what lies behind that unit is
//! not computed.
//!
//! A network of leader-follower units has a prediction at every unit. Which worker of a unit speaks for it is chosen on
//! examples with labels: the one with the lowest error. Examples that go on are gathered in full batches again, so that
//! the arithmetic of a prediction is that of the units that it needs.

use ndarray::Array2;

use super::data::{DataTensors, Images, Labels};
use super::error::TrainError;
use super::prediction_program::PredictionProgram;
use super::setup::SetupError;
use super::state::{fit, load};
use crate::backend::{Backend, BackendError, Executable, TensorData};
use crate::config::{Augmentation, ConfigError};
use crate::data::{Dataset, Inputs};
use crate::model::{Model, ModelDescription, ModelTarget};
use crate::network::{Network, write_probabilities};
use crate::program::{
    DType, Operation, Predictions, Program, ProgramId, ProgramSet, Role, TensorId, step_counter,
};
use crate::step::{Mode, StepBuilder};

/// A network on a device whose predictions may stop at any unit.
#[derive(Debug)]
pub struct EarlyExit {
    description: ModelDescription,
    executable: Box<dyn Executable>,
    data: DataTensors,
    counter: TensorId,
    stages: Vec<Stage>,
    batch: usize,
    /// Multiplications and additions of a prediction without workers.
    whole: f64,
}

/// The part of the network up to a unit's workers, or to the output layer, from what the part before it gives.
#[derive(Clone, Copy, Debug)]
struct Stage {
    program: ProgramId,
    /// Where its input lies; none where it reads the data.
    input: Option<TensorId>,
    /// What it gives to the next, and how many numbers that are of each example; none at the end.
    output: Option<(TensorId, usize)>,
    /// Outputs p of the workers, or of the network.
    probabilities: TensorId,
    predictions: Predictions,
    /// The worker that speaks for the unit.
    worker: usize,
    /// Multiplications and additions of one example.
    flops: f64,
}

/// Predictions, and where each of them stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyPredictions {
    /// Probabilities of the classes, `[inputs, classes]`.
    pub probabilities: Array2<f32>,
    /// The hidden unit at which each prediction stopped, from 0; the number of hidden units stands for the output layer.
    pub exits: Vec<usize>,
    /// Share of the multiplications and additions that predictions without workers take. It is above 1 where all
    /// predictions go to the end: workers are computed too.
    pub arithmetic: f64,
}

/// What a threshold is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct ExitPoint {
    /// The probability from which a prediction stops.
    pub threshold: f32,
    /// Share of wrong predictions in percent.
    pub error: f64,
    /// As in [`EarlyPredictions`].
    pub arithmetic: f64,
    /// How many predictions stop at each hidden unit and at the output layer.
    pub exits: Vec<usize>,
}

impl Model {
    /// Prepares predictions that may stop early, so many at a time. The worker that speaks for a unit is the one with
    /// the lowest error on `examples`, which should not be those of a test.
    ///
    /// # Errors
    /// A network that predicts no classes or whose method trains no workers, examples that do not fit, or a failure of
    /// the backend.
    pub fn early_exit(
        &self,
        backend: &dyn Backend,
        batch: usize,
        examples: &Dataset<'_>,
    ) -> Result<EarlyExit, TrainError> {
        let description = self.description.clone();
        if let ModelTarget::Values { .. } = description.target {
            return Err(TrainError::NoClasses);
        }
        if !description.workers_predict() {
            return Err(TrainError::NoWorkers { method: description.method });
        }
        let metrics = self.on(backend, batch)?.evaluate(examples)?;
        let best = metrics.units.iter().map(|unit| {
            let errors = unit.workers("worker_errors");
            let least = (0..errors.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b]));
            least.unwrap_or_default()
        });
        EarlyExit::new(self, backend, batch.max(1), &best.collect::<Vec<_>>())
    }
}

impl EarlyExit {
    fn new(
        model: &Model,
        backend: &dyn Backend,
        batch: usize,
        workers: &[usize],
    ) -> Result<Self, TrainError> {
        let description = model.description.clone();
        let (mut set, layout) = (ProgramSet::new(), description.layout(batch));
        let network = Network::new(&mut set, &description.network, &layout.shape, layout.classes)?;
        let fits = network.check_batch(batch, Mode::Evaluate);
        fits.map_err(|message| ConfigError::new("training.batch_size", message))?;
        let data = DataTensors::declare(&mut set, layout, None);
        let role = Role::Evaluation;
        let counter = set.declare(role, "step_counter", DType::U32, &[step_counter::LEN]);
        let order = set.declare(role, "order", DType::U32, &[batch]);
        let loss = network.loss(0.0);

        let mut stages: Vec<Stage> = Vec::new();
        let units = network.units().iter().map(Some).chain([None]);
        for (number, unit) in units.enumerate() {
            let input = stages.last().and_then(|stage| stage.output).map(|(tensor, _)| tensor);
            let mut step =
                StepBuilder::new(&mut set, "predict", Mode::Evaluate, batch, counter, false);
            let x = match input {
                Some(x) => x,
                None => data.load_images(&mut step, order, Augmentation::default()),
            };
            let (z, output, predictions) = match unit {
                Some(unit) => {
                    let saved = unit.forward(&mut step, x, true);
                    let shape = step.shape(saved.output).to_vec();
                    let output =
                        step.declare(role, &format!("exit{number}.output"), DType::Real, &shape);
                    step.copy(saved.output, output);
                    let features = shape[1..].iter().product();
                    let z = saved.logits.unwrap_or(saved.output);
                    (z, Some((output, features)), unit.predictions())
                }
                None => {
                    let z = network.output().forward(&mut step, x).y;
                    (z, None, network.output().predictions())
                }
            };
            let p = write_probabilities(&mut step, z, loss, predictions.classes);
            let shape = [batch, predictions.features()];
            let probabilities =
                step.declare(role, &format!("exit{number}.probabilities"), DType::Real, &shape);
            step.copy(p, probabilities);
            let (program, _) = step.finish()?;
            let worker = workers.get(number).copied().unwrap_or_default();
            let stage =
                Stage { program, input, output, probabilities, predictions, worker, flops: 0.0 };
            stages.push(stage);
        }
        let flops = |set: &ProgramSet, program: &Program| -> f64 {
            program.ops().iter().map(|op| op.cost(set.tensors()).flops).sum::<u64>() as f64
        };
        for stage in &mut stages {
            stage.flops = flops(&set, &set.programs()[stage.program.0]) / batch as f64;
        }
        let alone = PredictionProgram::new(&description.network, layout, false)?;
        let whole = flops(&alone.set, alone.program()).max(1.0);
        let fit = fit(&set, &model.state, false).map_err(SetupError::State)?;
        let mut executable = backend.compile(&set).map_err(TrainError::Backend)?;
        load(&set, &mut *executable, &fit)?;
        let identity: Vec<u32> = (0..batch as u32).collect();
        executable.upload(order, TensorData::U32(&identity)).map_err(TrainError::Backend)?;
        Ok(Self { description, executable, data, counter, stages, batch, whole })
    }

    /// Positions, from 0, of the workers that speak for the hidden units.
    pub fn workers(&self) -> Vec<usize> {
        self.stages[..self.stages.len() - 1].iter().map(|stage| stage.worker).collect()
    }

    /// Predicts, and stops each prediction at the first unit whose worker gives a class at least this probability.
    ///
    /// # Errors
    /// Inputs that do not fit, or a failure of the backend.
    pub fn predict<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        threshold: f32,
    ) -> Result<EarlyPredictions, TrainError> {
        let inputs = inputs.into();
        let mut probabilities = Array2::zeros((inputs.len(), self.description.names().len()));
        let mut exits = vec![0; inputs.len()];
        self.run(&inputs, |stage, at, prediction| {
            let stops = largest(prediction) >= threshold;
            let mut row = probabilities.row_mut(at);
            row.iter_mut().zip(prediction).for_each(|(to, &from)| *to = from);
            exits[at] = stage;
            stops
        })?;
        let arithmetic = self.arithmetic(&exits);
        Ok(EarlyPredictions { probabilities, exits, arithmetic })
    }

    /// What each threshold is worth on examples with labels.
    ///
    /// # Errors
    /// Examples that do not fit, or a failure of the backend.
    pub fn evaluate(
        &mut self,
        data: &Dataset<'_>,
        thresholds: &[f32],
    ) -> Result<Vec<ExitPoint>, TrainError> {
        let (labels, count) = (data.labels(), data.len());
        let (found, expected) = (data.names().len(), self.description.names().len());
        if labels.len() != count {
            return Err(TrainError::NumbersInClassification);
        }
        if found != expected {
            return Err(TrainError::Outputs { found, expected });
        }
        // Nobody stops: how sure each stage is of each example, and whether it is right.
        let mut seen = vec![Vec::with_capacity(self.stages.len()); count];
        self.run(&data.inputs(), |_, at, prediction| {
            let (sure, label) = (largest(prediction), labels[at] as usize);
            let first = prediction.iter().position(|&p| p == sure);
            seen[at].push((sure, first == Some(label)));
            false
        })?;
        let last = self.stages.len() - 1;
        let point = |&threshold: &f32| {
            let stop = |stages: &Vec<(f32, bool)>| {
                stages.iter().position(|&(sure, _)| sure >= threshold).unwrap_or(last)
            };
            let stops: Vec<usize> = seen.iter().map(stop).collect();
            let wrong = stops.iter().zip(&seen).filter(|(stop, stages)| !stages[**stop].1).count();
            let mut exits = vec![0; last + 1];
            stops.iter().for_each(|&stop| exits[stop] += 1);
            let error = 100.0 * wrong as f64 / count.max(1) as f64;
            ExitPoint { threshold, error, arithmetic: self.arithmetic(&stops), exits }
        };
        Ok(thresholds.iter().map(point).collect())
    }

    /// The share of the arithmetic of whole predictions that these take.
    fn arithmetic(&self, exits: &[usize]) -> f64 {
        let cost = |exit: usize| self.stages[..=exit].iter().map(|stage| stage.flops).sum::<f64>();
        let costs: Vec<f64> = (0..self.stages.len()).map(cost).collect();
        let spent: f64 = exits.iter().map(|&exit| costs[exit]).sum();
        spent / (self.whole * exits.len().max(1) as f64)
    }

    /// Runs stage after stage. `visit` sees the stage, the position of an input and its prediction there, and says
    /// whether it stops.
    fn run(
        &mut self,
        inputs: &Inputs<'_>,
        mut visit: impl FnMut(usize, usize, &[f32]) -> bool,
    ) -> Result<(), TrainError> {
        self.description.check(inputs)?;
        let mut going: Vec<usize> = (0..inputs.len()).collect();
        // What the stage before gave for each of them.
        let mut given: Vec<f32> = Vec::new();
        for stage in 0..self.stages.len() {
            let (mut still_going, mut gives) = (Vec::new(), Vec::new());
            let features = given.len() / going.len().max(1);
            for (chunk, first) in going.chunks(self.batch).zip((0..).step_by(self.batch)) {
                let x = &given[first * features..(first + chunk.len()) * features];
                self.run_batch(stage, inputs, chunk, x).map_err(TrainError::Backend)?;
                let Stage { output, probabilities, predictions, worker, .. } = self.stages[stage];
                let width = predictions.features();
                let download = |tensor, features: usize| {
                    self.executable.download_reals(tensor, self.batch * features)
                };
                let p = download(probabilities, width).map_err(TrainError::Backend)?;
                let output = output.map(|(tensor, features)| {
                    download(tensor, features).map(|output| (output, features))
                });
                let output = output.transpose().map_err(TrainError::Backend)?;
                for ((row, &at), p) in chunk.iter().enumerate().zip(p.chunks(width)) {
                    let of_worker = of_worker(p, predictions, worker);
                    if visit(stage, at, &self.description.target.prediction(&of_worker)) {
                        continue;
                    }
                    still_going.push(at);
                    if let Some((output, features)) = &output {
                        gives.extend_from_slice(&output[row * features..][..*features]);
                    }
                }
            }
            (going, given) = (still_going, gives);
        }
        Ok(())
    }

    /// Runs a stage on these inputs, from what the stage before gave for them.
    fn run_batch(
        &mut self,
        stage: usize,
        inputs: &Inputs<'_>,
        rows: &[usize],
        given: &[f32],
    ) -> Result<(), BackendError> {
        let Stage { program, input, .. } = self.stages[stage];
        match input {
            Some(tensor) => {
                let mut padded = given.to_vec();
                padded.resize(given.len() / rows.len() * self.batch, 0.0);
                self.executable.upload(tensor, TensorData::Real(&padded))?;
            }
            None => {
                // All inputs are still there, in their order.
                let classes = self.description.names().len();
                let (pixels, labels) = (inputs.pixels(), Labels::Classes(&[]));
                let images = Images { pixels, labels, shape: inputs.shape(), classes };
                let rows = rows[0]..rows[0] + rows.len();
                self.data.upload_rows(&mut *self.executable, images, rows, self.batch)?;
            }
        }
        let now = step_counter::of_examples(rows.len());
        self.executable.upload(self.counter, TensorData::U32(&now))?;
        self.executable.run(program)
    }
}

/// What one worker predicts, of what all workers of all classifiers do: `[classifiers, workers, classes]`.
fn of_worker(p: &[f32], predictions: Predictions, worker: usize) -> Vec<f32> {
    let Predictions { classifiers, workers, classes } = predictions;
    let at = |classifier: usize| (classifier * workers + worker) * classes;
    (0..classifiers).flat_map(|classifier| &p[at(classifier)..][..classes]).copied().collect()
}

fn largest(prediction: &[f32]) -> f32 {
    prediction.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
