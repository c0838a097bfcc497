//! Loss and error of a trained network on chosen images, and its predictions.

use std::ops::Range;

use crate::backend::{Backend, BackendError, Executable, TensorData};
use crate::config::{Augmentation, ConfigError, NetworkConfig};
use crate::metric::{MetricSum, Metrics, clear};
use crate::network::Network;
use crate::program::{
    AdvanceStepCounter, DType, Loss, Predictions, ProgramError, ProgramId, ProgramSet, Role,
    TensorId, WorkerLoss, step_counter,
};
use crate::step::{Mode, StepBuilder};
use crate::unit::WorkerSums;

use super::data::{DataLayout, DataTensors, Images};
use super::error::TrainError;
use super::setup::SetupError;
use super::state::{State, StateTensor, fit, load};

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

/// The evaluation program of a network in a program set.
#[derive(Debug)]
pub(super) struct EvaluationProgram {
    program: ProgramId,
    counter: TensorId,
    order: TensorId,
    nonfinite: TensorId,
    metrics: Vec<MetricSum>,
    probabilities: BatchOutputs,
    batch: usize,
    images: usize,
    /// For each unit whose workers predict.
    workers: Vec<UnitOutputs>,
}

/// Outputs for the last batch, `[batch, features]`.
#[derive(Clone, Copy, Debug)]
struct BatchOutputs {
    tensor: TensorId,
    features: usize,
}

/// What the workers of a unit put out for the last batch.
#[derive(Clone, Copy, Debug)]
struct UnitOutputs {
    outputs: BatchOutputs,
    predictions: Predictions,
}

impl EvaluationProgram {
    /// Writes the program.
    pub(super) fn write(
        set: &mut ProgramSet,
        network: &Network,
        data: &DataTensors,
        scope: EvaluationScope,
    ) -> Result<Self, ProgramError> {
        let EvaluationScope { loss, batch, workers_predict, .. } = scope;
        let role = Role::Evaluation;
        let counter = set.declare(role, "step_counter", DType::U32, &[step_counter::LEN]);
        let order = set.declare(role, "order", DType::U32, &[scope.images.max(1)]);
        let mut step = StepBuilder::new(set, "evaluate", Mode::Evaluate, batch, counter, false);
        let output = network.output().declare_state(&mut step, role);
        let (x, target) = data.load(&mut step, order, Augmentation::default());
        let mut workers = Vec::new();
        let z = network.write_prediction(&mut step, x, workers_predict, |step, unit, z| {
            let predictions = unit.predictions();
            let sums = WorkerSums::declare(step, role, unit);
            let (features, name) =
                (predictions.features(), format!("unit{}.outputs", unit.number()));
            let output = step.declare(role, &name, DType::Real, &[batch, features]);
            let losses = step.activation("workers.losses", &[predictions.predictors()]);
            let weights = None;
            step.push(WorkerLoss { z, target, weights, output, losses, predictions, loss });
            sums.add(step, predictions, loss, [losses, output, target]);
            let outputs = BatchOutputs { tensor: output, features };
            workers.push(UnitOutputs { outputs, predictions });
        });
        let layer = network.output();
        let global = layer.global_loss(&mut step, &output, z, (target, None), loss);
        let features = layer.predictions().features();
        let tensor = step.declare(role, "probabilities", DType::Real, &[batch, features]);
        step.copy(global.output, tensor);
        step.push(AdvanceStepCounter { counter });
        let metrics = step.metrics().to_vec();
        let (program, _) = step.finish()?;
        Ok(Self {
            program,
            counter,
            order,
            nonfinite: output.nonfinite,
            metrics,
            probabilities: BatchOutputs { tensor, features },
            batch,
            images: scope.images,
            workers,
        })
    }

    /// Evaluates the images with these indices.
    ///
    /// # Errors
    /// An index of no image, more indices than images, or a failure of the backend.
    pub(super) fn run(
        &self,
        executable: &mut dyn Executable,
        indices: &[u32],
    ) -> Result<Metrics, TrainError> {
        Ok(self.compute(executable, indices, &[])?.0)
    }

    /// The same, and the outputs p for each of these images.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    fn run_with_predictions(
        &self,
        executable: &mut dyn Executable,
        indices: &[u32],
    ) -> Result<(Metrics, Vec<Vec<f32>>), TrainError> {
        let (metrics, outputs) = self.compute(executable, indices, &[self.probabilities])?;
        Ok((metrics, self.by_image(&outputs.concat())))
    }

    /// Whether a device finds an image for each of these indices: it gathers by them without looking.
    pub(super) fn check(&self, indices: &[u32]) -> Result<(), TrainError> {
        let count = self.images;
        match indices.iter().find(|&&index| index as usize >= count) {
            Some(&index) => Err(TrainError::NoImage { index, count }),
            None => Ok(()),
        }
    }

    /// The metrics of these images, and each of these outputs for them, `[images, features]`.
    fn compute(
        &self,
        executable: &mut dyn Executable,
        indices: &[u32],
        wanted: &[BatchOutputs],
    ) -> Result<(Metrics, Vec<Vec<f32>>), TrainError> {
        self.check(indices)?;
        let count = self.images;
        if indices.len() > count {
            return Err(TrainError::Indices { found: indices.len(), images: count });
        }
        self.begin(executable, indices).map_err(TrainError::Backend)?;
        let mut outputs = vec![Vec::new(); wanted.len()];
        let batches = indices.chunks(self.batch);
        for batch in batches.clone() {
            executable.run(self.program).map_err(TrainError::Backend)?;
            for (&wanted, all) in wanted.iter().zip(&mut outputs) {
                let data = self.download(executable, wanted)?;
                all.extend_from_slice(&data[..batch.len() * wanted.features]);
            }
        }
        let metrics = Metrics::read(executable, &self.metrics, batches.len(), indices.len());
        Ok((metrics.map_err(TrainError::Backend)?, outputs))
    }

    fn begin(&self, executable: &mut dyn Executable, indices: &[u32]) -> Result<(), BackendError> {
        let mut order = indices.to_vec();
        order.resize(self.images.max(1), 0);
        executable.upload(self.order, TensorData::U32(&order))?;
        let now = step_counter::of_examples(indices.len());
        executable.upload(self.counter, TensorData::U32(&now))?;
        executable.upload(self.nonfinite, TensorData::U32(&[0]))?;
        clear(executable, &self.metrics)
    }

    /// What the workers of each unit put out for these images: `[images, classifiers · workers · classes]`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) fn worker_outputs(
        &self,
        executable: &mut dyn Executable,
        indices: &[u32],
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let wanted: Vec<BatchOutputs> = self.workers.iter().map(|of| of.outputs).collect();
        self.outputs(executable, indices, &wanted)
    }

    /// The outputs p for each of these images.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) fn predict(
        &self,
        executable: &mut dyn Executable,
        indices: &[u32],
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        Ok(self.by_image(&self.outputs(executable, indices, &[self.probabilities])?.concat()))
    }

    fn by_image(&self, probabilities: &[f32]) -> Vec<Vec<f32>> {
        probabilities.chunks(self.probabilities.features).map(<[f32]>::to_vec).collect()
    }

    /// Each of these outputs for these images, `[images, features]`.
    fn outputs(
        &self,
        executable: &mut dyn Executable,
        indices: &[u32],
        wanted: &[BatchOutputs],
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut all = vec![Vec::new(); wanted.len()];
        for part in indices.chunks(self.images.max(1)) {
            let (_, outputs) = self.compute(executable, part, wanted)?;
            all.iter_mut().zip(outputs).for_each(|(all, mut outputs)| all.append(&mut outputs));
        }
        Ok(all)
    }

    /// These outputs for the last batch, `[batch, features]`.
    fn download(
        &self,
        executable: &dyn Executable,
        BatchOutputs { tensor, features }: BatchOutputs,
    ) -> Result<Vec<f32>, TrainError> {
        executable.download_reals(tensor, self.batch * features).map_err(TrainError::Backend)
    }
}

/// An evaluation of a trained network, checked before images are read or a backend is opened.
#[derive(Debug)]
pub struct EvaluationPlan<'s> {
    set: ProgramSet,
    data: DataTensors,
    program: EvaluationProgram,
    /// The saved tensors that it reads.
    fit: Vec<(TensorId, &'s StateTensor)>,
    takes_labels: bool,
}

impl<'s> EvaluationPlan<'s> {
    /// Plans the evaluation of a network on a data set, with parameters from a saved state.
    ///
    /// # Errors
    /// A configuration or a state that does not fit.
    pub fn new(
        network: &NetworkConfig,
        layout: DataLayout,
        state: &'s State,
        batch: usize,
        workers_predict: bool,
    ) -> Result<Self, SetupError> {
        let mut set = ProgramSet::new();
        let network = Network::new(&mut set, network, &layout.shape, layout.classes)?;
        let loss = network.loss(0.0);
        let batch = batch.clamp(1, layout.count.max(1));
        let fits = network.check_batch(batch, Mode::Evaluate);
        fits.map_err(|message| ConfigError::new("training.batch_size", message))?;
        let data = DataTensors::declare(&mut set, layout, network.values());
        let scope = EvaluationScope { loss, batch, images: layout.count, workers_predict };
        let program = EvaluationProgram::write(&mut set, &network, &data, scope)?;
        let fit = fit(&set, state, false).map_err(SetupError::State)?;
        Ok(Self { set, data, program, fit, takes_labels: loss.takes_labels() })
    }

    /// How the outputs of each unit's workers are divided; none where they do not predict.
    pub(super) fn worker_predictions(&self) -> Vec<Predictions> {
        self.program.workers.iter().map(|of| of.predictions).collect()
    }

    /// Compiles it, and gives the backend the parameters.
    ///
    /// # Errors
    /// A failure of the backend.
    pub(super) fn prepare(self, backend: &dyn Backend) -> Result<Evaluator, TrainError> {
        let Self { set, data, program, fit, .. } = self;
        let mut executable = backend.compile(&set).map_err(TrainError::Backend)?;
        load(&set, &mut *executable, &fit)?;
        let identity: Vec<u32> = (0..program.images as u32).collect();
        let order = TensorData::U32(&identity);
        executable.upload(program.order, order).map_err(TrainError::Backend)?;
        Ok(Evaluator { executable, data, program })
    }

    /// Compiles it, and gives the backend the images and the parameters.
    ///
    /// # Errors
    /// Other images than were planned for, or a failure of the backend.
    pub fn compile(
        self,
        backend: &dyn Backend,
        images: Images<'_>,
    ) -> Result<Evaluator, TrainError> {
        images.validate(self.takes_labels)?;
        let (found, expected) = (images.count(), self.program.images);
        if found != expected {
            return Err(TrainError::Images { found, expected });
        }
        let mut evaluator = self.prepare(backend)?;
        let Evaluator { executable, data, .. } = &mut evaluator;
        data.upload_images(&mut **executable, images).map_err(TrainError::Backend)?;
        Ok(evaluator)
    }
}

/// Evaluates a trained network, without the means to train it.
#[derive(Debug)]
pub struct Evaluator {
    executable: Box<dyn Executable>,
    data: DataTensors,
    program: EvaluationProgram,
}

impl Evaluator {
    /// Prepares the evaluation of a network on images, with parameters from a saved state.
    ///
    /// # Errors
    /// A configuration, data or state that does not fit, or a failure of the backend.
    pub fn new(
        backend: &dyn Backend,
        network: &NetworkConfig,
        images: Images<'_>,
        state: &State,
        batch: usize,
        workers_predict: bool,
    ) -> Result<Self, TrainError> {
        let layout = images.layout();
        EvaluationPlan::new(network, layout, state, batch, workers_predict)?
            .compile(backend, images)
    }

    /// Loss and error on the images with these indices.
    ///
    /// # Errors
    /// An index of no image, more indices than images, or a failure of the backend.
    pub fn evaluate(&mut self, indices: &[u32]) -> Result<Metrics, TrainError> {
        self.program.run(&mut *self.executable, indices)
    }

    /// Loss and error on the images with these indices, and the outputs p for each of them.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_with_predictions(
        &mut self,
        indices: &[u32],
    ) -> Result<(Metrics, Vec<Vec<f32>>), TrainError> {
        self.program.run_with_predictions(&mut *self.executable, indices)
    }

    /// The outputs p for each of these images: class probabilities, or numbers in regression.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn predict(&mut self, indices: &[u32]) -> Result<Vec<Vec<f32>>, TrainError> {
        self.program.predict(&mut *self.executable, indices)
    }

    /// Forgets what was evaluated so far.
    pub(super) fn clear(&mut self) -> Result<(), BackendError> {
        self.executable.upload(self.program.nonfinite, TensorData::U32(&[0]))?;
        clear(&mut *self.executable, &self.program.metrics)
    }

    /// Runs the network on these rows of the images, which are uploaded to the first places of the data on the device.
    /// There need not be labels.
    pub(super) fn run_batch(
        &mut self,
        images: Images<'_>,
        rows: Range<usize>,
        batch: usize,
    ) -> Result<(), BackendError> {
        let now = step_counter::of_examples(rows.len());
        self.data.upload_rows(&mut *self.executable, images, rows, batch)?;
        self.executable.upload(self.program.counter, TensorData::U32(&now))?;
        self.executable.run(self.program.program)
    }

    /// The metrics of so many batches and examples.
    pub(super) fn metrics(&self, batches: usize, examples: usize) -> Result<Metrics, BackendError> {
        Metrics::read(&*self.executable, &self.program.metrics, batches, examples)
    }

    /// The network's outputs for the last batch, and how many there are of each example.
    pub(super) fn probabilities(&self) -> Result<(Vec<f32>, usize), TrainError> {
        let wanted = self.program.probabilities;
        Ok((self.program.download(&*self.executable, wanted)?, wanted.features))
    }

    /// What the workers of each unit put out for the last batch.
    pub(super) fn worker_outputs(&self) -> Result<Vec<Vec<f32>>, TrainError> {
        let workers = self.program.workers.iter();
        workers.map(|of| self.program.download(&*self.executable, of.outputs)).collect()
    }
}
