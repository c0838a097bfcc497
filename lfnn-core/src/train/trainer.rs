//! The trainer: epochs of steps, evaluation, and a state from which training resumes.

use std::time::Duration;

use crate::backend::{
    Backend, BackendError, Executable, Memory, StepTime, TensorData, TensorDataMut,
};
use crate::metric::{self, MetricSums, Metrics};
use crate::network::Network;
use crate::optim::{Rates, learning_rate};
use crate::program::{Cost, Operation, Part, ProgramSet, step_counter};
use crate::random::{Purpose, Stream, permutation};

use super::data::{DataLayout, Images, Labels, Normalization};
use super::error::TrainError;
use super::evaluation::{EvaluationProgram, EvaluationScope};
use super::selection::Selection;
use super::setup::{Setup, SetupError, TrainingPrograms, feedback_values};
use super::state::{self, State, StateData};
use crate::config::{ConfigError, Limits, Task, TrainingConfig};
use crate::data::Dataset;
use crate::model::{Model, ModelDescription, ModelTarget};

/// What one operation of a training step, or several done as one, took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfiledStep {
    /// The operation or operations.
    pub name: &'static str,
    /// The part of the network that it is done for.
    pub part: Part,
    /// What it cannot do without.
    pub cost: Cost,
    /// The time that it took.
    pub time: Duration,
}

/// Trains a network on a backend.
#[derive(Debug)]
pub struct Trainer {
    pub(super) executable: Box<dyn Executable>,
    pub(super) built: TrainingPrograms,
    evaluation: EvaluationProgram,
    pub(super) training: TrainingConfig,
    limits: Limits,
    seed: u64,
    /// Indices of the training examples.
    examples: Vec<u32>,
    pub(super) steps_per_epoch: usize,
    /// Epochs that are over, and steps of the one under way.
    pub(super) epoch: usize,
    pub(super) step: usize,
    /// The examples of the epoch under way, batch after batch.
    order: Vec<u32>,
    /// What the trained network will be.
    description: ModelDescription,
    /// The data set on the device, where it is one of [`Dataset`]'s.
    pub(super) data: Option<u64>,
}

/// The training step and the evaluation for a data set, `steps` batches per epoch.
fn with_evaluation(
    setup: &Setup<'_>,
    layout: DataLayout,
    steps: usize,
) -> Result<(TrainingPrograms, EvaluationProgram), SetupError> {
    let mut built = TrainingPrograms::new(setup, layout, steps)?;
    let evaluation = EvaluationProgram::write(
        &mut built.set,
        &built.network,
        &built.data,
        EvaluationScope {
            loss: built.loss,
            batch: setup.training.batch_size,
            images: layout.count,
            workers_predict: setup.method.workers.learn(),
        },
    )?;
    Ok((built, evaluation))
}

/// All that a [`Trainer`] has a backend compile, for a data set of which `examples` are trained on: the data set,
/// the training step and the evaluation.
///
/// # Errors
/// A configuration that cannot be.
pub fn trainer_programs(
    setup: &Setup<'_>,
    layout: DataLayout,
    examples: usize,
) -> Result<ProgramSet, ConfigError> {
    let steps = setup.steps_per_epoch(examples);
    let programs = with_evaluation(setup, layout, steps);
    programs.map(|(built, _)| built.set).map_err(SetupError::into_config)
}

impl Trainer {
    /// Prepares the training of a new network on a part of a data set. All of the data set is copied to the device, so
    /// that other parts of it can be evaluated. Values to predict are standardised by those of the part.
    ///
    /// # Errors
    /// A configuration or data that cannot be, or a failure of the backend.
    pub fn new(
        backend: &dyn Backend,
        setup: &Setup<'_>,
        data: &Dataset<'_>,
    ) -> Result<Self, TrainError> {
        let (mut images, rows) = data.images();
        let (target, values) = data.standardized();
        if let ModelTarget::Values { .. } = target {
            images.labels = Labels::Values(&values);
        }
        let mut trainer = Self::from_images(backend, setup, images, rows)?;
        trainer.description.target = target;
        trainer.data = Some(data.identity());
        Ok(trainer)
    }

    /// Prepares the training of a new network on the images with the indices `examples`. Values to predict are taken
    /// as they are.
    ///
    /// # Errors
    /// A configuration or data that cannot be, or a failure of the backend.
    pub fn from_images(
        backend: &dyn Backend,
        setup: &Setup<'_>,
        images: Images<'_>,
        examples: &[u32],
    ) -> Result<Self, TrainError> {
        let takes_labels = setup.network.task != Task::Regression;
        images.validate(takes_labels)?;
        let count = images.count();
        if let Some(&index) = examples.iter().find(|&&index| index as usize >= count) {
            return Err(TrainError::NoImage { index, count });
        }
        setup.validate(examples.len())?;
        let steps_per_epoch = setup.steps_per_epoch(examples.len());
        let (built, evaluation) = with_evaluation(setup, images.layout(), steps_per_epoch)?;
        let executable = backend.compile(&built.set).map_err(TrainError::Backend)?;
        let mut trainer = Self {
            executable,
            built,
            evaluation,
            training: setup.training.clone(),
            limits: setup.limits,
            seed: setup.seed,
            examples: examples.to_vec(),
            steps_per_epoch,
            epoch: 0,
            step: 0,
            order: Vec::new(),
            description: images.describe(setup),
            data: None,
        };
        trainer.initialize(setup, images).map_err(TrainError::Backend)?;
        trainer.upload_class_weights(images)?;
        Ok(trainer)
    }

    fn initialize(&mut self, setup: &Setup<'_>, images: Images<'_>) -> Result<(), BackendError> {
        let built = &self.built;
        built.data.upload_images(&mut *self.executable, images)?;
        let normalization = setup.normalization.clone();
        let normalization =
            normalization.unwrap_or_else(|| Normalization::of(&images, &self.examples));
        built.data.upload_normalization(&mut *self.executable, &normalization)?;
        for (number, parameter) in built.network.parameters().iter().enumerate() {
            let stream = Stream::new(Purpose::Init, number as u32);
            let values = parameter.init.values(self.seed, stream, parameter.tensor.len());
            self.executable.upload(parameter.id, TensorData::Real(&values))?;
        }
        for (id, values) in feedback_values(&built.network, &built.step.feedback, self.seed) {
            self.executable.upload(id, TensorData::Real(&values))?;
        }
        self.begin_epoch()
    }

    fn upload_class_weights(&mut self, images: Images<'_>) -> Result<(), TrainError> {
        let (Some(id), Some(weights), Labels::Classes(labels)) =
            (self.built.class_weights, &self.training.class_weights, images.labels)
        else {
            return Ok(());
        };
        let trained = self.examples.iter().map(|&example| labels[example as usize]);
        let factors = weights.factors(images.classes, trained)?;
        let upload = self.executable.upload(id, TensorData::Real(&factors));
        upload.map_err(TrainError::Backend)
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.built.network
    }

    /// Epochs that are over.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// Steps done in the epoch under way.
    pub fn step_in_epoch(&self) -> usize {
        self.step
    }

    /// Epochs of the training.
    pub fn epochs(&self) -> usize {
        self.training.epochs
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
    }

    /// Examples in a step.
    pub fn batch_size(&self) -> usize {
        self.training.batch_size
    }

    /// Whether all epochs are over.
    pub fn is_finished(&self) -> bool {
        self.epoch >= self.training.epochs
    }

    /// The learning rate of the next step; that of the output layer is `output_lr_factor` times as large.
    pub fn learning_rate(&self) -> f64 {
        self.rate(self.epoch * self.steps_per_epoch + self.step)
    }

    /// Bytes on the device.
    pub fn memory(&self) -> Memory {
        self.executable.memory()
    }

    fn rate(&self, step: usize) -> f64 {
        let total = self.training.epochs * self.steps_per_epoch;
        let lr = self.training.optimizer.lr();
        learning_rate(&self.training.schedule, lr, step, total, self.steps_per_epoch)
    }

    /// Uploads what an epoch needs: the order of its examples, its learning rates and the step counter.
    fn begin_epoch(&mut self) -> Result<(), BackendError> {
        self.upload_schedule()?;
        let mut now = step_counter::start(self.seed);
        now[step_counter::EPOCH] = self.epoch as u32;
        now[step_counter::TIME] = (self.epoch * self.steps_per_epoch) as u32;
        now[step_counter::COUNT] = (self.steps_per_epoch * self.training.batch_size) as u32;
        self.executable.upload(self.built.counter, TensorData::U32(&now))?;
        metric::clear(&mut *self.executable, &self.built.step.metrics)
    }

    fn upload_schedule(&mut self) -> Result<(), BackendError> {
        let overfit = self.limits.overfit_batches.is_some();
        let epoch = if overfit { 0 } else { self.epoch as u32 };
        let stream = Stream::new(Purpose::Shuffle, 0);
        let shuffled = permutation(stream, self.seed, epoch, self.examples.len() as u32);
        let steps = self.steps_per_epoch * self.training.batch_size;
        self.order = shuffled.iter().take(steps).map(|&at| self.examples[at as usize]).collect();
        self.executable.upload(self.built.order, TensorData::U32(&self.order))?;
        let first = self.epoch * self.steps_per_epoch;
        let Rates { units, output } = self.built.rates;
        let factor = self.training.output_lr_factor;
        for (table, factor) in [(output, factor), (units, 1.0)] {
            let steps = first..first + self.steps_per_epoch;
            let rates: Vec<f32> = steps.map(|step| (self.rate(step) * factor) as f32).collect();
            self.executable.upload(table, TensorData::Real(&rates))?;
        }
        Ok(())
    }

    /// Runs one training step.
    ///
    /// # Errors
    /// No step that is left of the epoch or of the training, or a failure of the backend.
    pub fn train_step(&mut self) -> Result<(), TrainError> {
        self.expect_step()?;
        self.executable.run(self.built.step.program).map_err(TrainError::Backend)?;
        self.step += 1;
        Ok(())
    }

    /// Runs one training step on examples of the caller's choice, as many as a batch has, in place of those whose turn
    /// it is. They are indices into the data set, not into the part of it that is trained on.
    ///
    /// # Errors
    /// As [`train_step`](Self::train_step); another number of examples, or one that is not there.
    pub fn train_step_on(&mut self, examples: &[u32]) -> Result<(), TrainError> {
        self.expect_step()?;
        let batch = self.training.batch_size;
        if examples.len() != batch {
            return Err(TrainError::Batch { found: examples.len(), expected: batch });
        }
        self.evaluation.check(examples)?;
        self.order[self.step * batch..][..batch].copy_from_slice(examples);
        let order = TensorData::U32(&self.order);
        self.executable.upload(self.built.order, order).map_err(TrainError::Backend)?;
        self.train_step()
    }

    /// Runs one training step and tells its metrics: the losses of the batch, those of the workers, and who led. It
    /// waits for the device.
    ///
    /// # Errors
    /// As [`train_step`](Self::train_step).
    pub fn train_step_with_metrics(&mut self) -> Result<Metrics, TrainError> {
        let sums = |trainer: &Self| {
            let metrics = &trainer.built.step.metrics;
            MetricSums::read(&*trainer.executable, metrics).map_err(TrainError::Backend)
        };
        let before = sums(self)?;
        self.train_step()?;
        let metrics = &self.built.step.metrics;
        Ok(sums(self)?.since(&before).values(metrics, 1, self.training.batch_size))
    }

    /// Runs one training step as [`train_step`](Self::train_step) does, and tells what took the time.
    /// Nothing comes back from a backend that cannot tell.
    ///
    /// # Errors
    /// As [`train_step`](Self::train_step).
    pub fn profile_step(&mut self) -> Result<Vec<ProfiledStep>, TrainError> {
        self.expect_step()?;
        let times =
            self.executable.profile(self.built.step.program).map_err(TrainError::Backend)?;
        self.step += 1;
        let set = &self.built.set;
        let program = &set.programs()[self.built.step.program.0];
        let profiled = |time: StepTime| ProfiledStep {
            name: time.name,
            part: time.ops.first().map_or(Part::default(), |&op| program.parts()[op]),
            cost: time.ops.iter().map(|&op| program.ops()[op].cost(set.tensors())).sum(),
            time: time.time,
        };
        Ok(times.into_iter().map(profiled).collect())
    }

    /// Whether a step is left: beyond the last one, a device would read behind the order of the examples.
    fn expect_step(&self) -> Result<(), TrainError> {
        self.expect_epoch()?;
        let (epoch, steps) = (self.epoch + 1, self.steps_per_epoch);
        if self.epoch_is_done() { Err(TrainError::EpochDone { epoch, steps }) } else { Ok(()) }
    }

    fn expect_epoch(&self) -> Result<(), TrainError> {
        let epochs = self.training.epochs;
        if self.is_finished() { Err(TrainError::Finished { epochs }) } else { Ok(()) }
    }

    /// Whether every step of the epoch under way is done; then [`end_epoch`](Self::end_epoch) is due.
    pub fn epoch_is_done(&self) -> bool {
        self.step >= self.steps_per_epoch
    }

    /// Ends the epoch and prepares the next.
    ///
    /// # Errors
    /// Steps that are not done yet, no epoch that is left, or a failure of the backend.
    pub fn end_epoch(&mut self) -> Result<(), TrainError> {
        self.expect_epoch()?;
        if !self.epoch_is_done() {
            let (epoch, done, steps) = (self.epoch + 1, self.step, self.steps_per_epoch);
            return Err(TrainError::EpochNotDone { epoch, done, steps });
        }
        self.epoch += 1;
        self.step = 0;
        self.begin_epoch().map_err(TrainError::Backend)
    }

    /// Metrics of the epoch under way. This waits for the device.
    ///
    /// # Errors
    /// A failure of the backend.
    pub fn metrics(&self) -> Result<Metrics, TrainError> {
        let (batches, examples) = (self.step, self.step * self.training.batch_size);
        let metrics = &self.built.step.metrics;
        Metrics::read(&*self.executable, metrics, batches, examples).map_err(TrainError::Backend)
    }

    /// What a training step cannot do without, whatever the backend.
    pub fn step_cost(&self) -> Cost {
        let set = &self.built.set;
        let ops = set.programs()[self.built.step.program.0].ops();
        ops.iter().map(|op| op.cost(set.tensors())).sum()
    }

    /// Whether every loss has been finite so far. This waits for the device.
    ///
    /// # Errors
    /// The first unit and worker whose loss was not, or a failure of the backend.
    pub fn check_finite(&self) -> Result<(), TrainError> {
        let (epoch, batch) = (self.epoch + 1, self.step);
        let first = |tensor| {
            let mut data = [0];
            let read = self.executable.download(tensor, TensorDataMut::U32(&mut data));
            read.map(|()| data[0]).map_err(TrainError::Backend)
        };
        for (unit, state) in self.built.step.units.iter().enumerate() {
            let worker = first(state.nonfinite)? as usize;
            if worker > 0 {
                return Err(TrainError::WorkerNotFinite { unit: unit + 1, worker, epoch, batch });
            }
        }
        if first(self.built.step.output.nonfinite)? > 0 {
            return Err(TrainError::OutputNotFinite { epoch, batch });
        }
        Ok(())
    }

    /// Loss and error on a part of the data set: a [`Dataset`] of which the trainer holds another part, or indices.
    ///
    /// # Errors
    /// Another data set, an index of no image, more indices than images, or a failure of the backend.
    pub fn evaluate(
        &mut self,
        examples: &(impl Selection + ?Sized),
    ) -> Result<Metrics, TrainError> {
        let rows = examples.rows(self.data)?;
        self.evaluation.run(&mut *self.executable, rows)
    }

    /// The outputs p for each of these images: class probabilities, or numbers in regression.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn predict(&mut self, indices: &[u32]) -> Result<Vec<Vec<f32>>, TrainError> {
        self.evaluation.predict(&mut *self.executable, indices)
    }

    /// What the workers of each hidden unit put out for these images, `[images, classifiers · workers · classes]`
    /// for each unit. Empty where the method has no leaders.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn worker_outputs(&mut self, indices: &[u32]) -> Result<Vec<Vec<f32>>, TrainError> {
        let evaluation = &self.evaluation;
        evaluation.worker_outputs(&mut *self.executable, indices)
    }

    /// The network as it is now, with everything that is needed to resume its training.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn model(&self) -> Result<Model, TrainError> {
        Ok(Model { description: self.description.clone(), state: self.state()? })
    }

    /// Everything that is needed to resume later.
    ///
    /// # Errors
    /// A number that is not finite, which training could not recover from, or a failure of the backend.
    pub fn state(&self) -> Result<State, TrainError> {
        let state = state::save(&self.built.set, &*self.executable).map_err(TrainError::Backend)?;
        let Some(tensor) = state.not_finite().map(|tensor| tensor.name.clone()) else {
            return Ok(state);
        };
        // Between two epochs the number is one of the epoch that is over.
        let (epoch, batch) = match self.step {
            0 => (self.epoch, self.steps_per_epoch),
            step => (self.epoch + 1, step),
        };
        Err(TrainError::StateNotFinite { tensor, epoch, batch })
    }

    /// Resumes from a saved state of the same network, data and settings; the steps that follow are
    /// those that would have followed.
    ///
    /// # Errors
    /// A state that does not fit, or a failure of the backend.
    pub fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        let name = &self.built.set.tensors()[self.built.counter].name;
        let counter = match state.get(name).map(|tensor| &tensor.data) {
            Some(StateData::U32(counter)) if counter.len() == step_counter::LEN => counter,
            _ => {
                return Err(TrainError::State(
                    "it lacks the step counter of a training run".into(),
                ));
            }
        };
        let (epoch, step) =
            (counter[step_counter::EPOCH] as usize, counter[step_counter::STEP] as usize);
        let count = (self.steps_per_epoch * self.training.batch_size) as u32;
        if step_counter::seed(counter) != self.seed || counter[step_counter::COUNT] != count {
            return Err(TrainError::State(format!(
                "it was made with seed {} and {} examples per epoch, expected {} and {count}",
                step_counter::seed(counter),
                counter[step_counter::COUNT],
                self.seed
            )));
        }
        if step > self.steps_per_epoch {
            return Err(TrainError::State(format!("batch {step} of {}", self.steps_per_epoch)));
        }
        let fit = state::fit(&self.built.set, state, true).map_err(TrainError::State)?;
        state::load(&self.built.set, &mut *self.executable, &fit)?;
        self.epoch = epoch;
        self.step = step;
        self.upload_schedule().map_err(TrainError::Backend)
    }
}
