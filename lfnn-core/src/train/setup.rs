//! What a training run is made of, checked, and the memory that it takes.

use std::collections::HashMap;

use crate::config::{
    Augmentation, ClassWeights, ConfigError, LeadershipConfig, Limits, NetworkConfig,
    TrainingConfig,
};
use crate::layer::Parameter;
use crate::method::{BuiltStep, Method, TrainingStep};
use crate::metric::MetricSum;
use crate::network::Network;
use crate::optim::Optimizer;
use crate::program::{
    DType, Loss, Op, ProgramError, ProgramId, ProgramSet, Role, TensorId, plan_memory, step_counter,
};
use crate::random::{Purpose, Stream};
use crate::step::{Mode, StepBuilder};
use crate::unit::Leadership;

use super::data::{DataLayout, DataTensors, Normalization};

/// What a training run is made of.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// The network.
    pub network: &'a NetworkConfig,
    /// Which workers lead, and the local losses.
    pub leadership: LeadershipConfig,
    /// Batch size, optimiser, schedule.
    pub training: &'a TrainingConfig,
    /// Which loss trains which parameter.
    pub method: &'static Method,
    /// Random changes of training images.
    pub augmentation: Augmentation,
    /// Mean and standard deviation with which inputs are normalised; those of the training examples if none.
    pub normalization: Option<Normalization>,
    /// Random seed.
    pub seed: u64,
    /// Shorter training, for experiments.
    pub limits: Limits,
}

impl<'a> Setup<'a> {
    /// One with the default leadership (δ = 0.7, leaders chosen per batch), inputs normalised by the training examples
    /// and otherwise as they are, seed 1 and no restrictions. For others: `Setup { seed: 2, ..Setup::new(…) }`.
    pub fn new(
        network: &'a NetworkConfig,
        training: &'a TrainingConfig,
        method: &'static Method,
    ) -> Self {
        Self {
            network,
            leadership: LeadershipConfig::default(),
            training,
            method,
            augmentation: Augmentation::default(),
            normalization: None,
            seed: 1,
            limits: Limits::default(),
        }
    }

    /// The same with inputs normalised by these numbers.
    #[must_use]
    pub fn normalized_by(self, normalization: Normalization) -> Self {
        Self { normalization: Some(normalization), ..self }
    }
}

impl Setup<'_> {
    /// Checks every number that the network does not, for a training on so many examples. A [`Trainer`]
    /// refuses what this refuses, with the same error.
    ///
    /// [`Trainer`]: super::Trainer
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self, examples: usize) -> Result<(), ConfigError> {
        self.check()?;
        let TrainingConfig { batch_size, epochs, .. } = *self.training;
        if batch_size > examples {
            let message =
                format!("a batch of {batch_size} is larger than the {examples} training examples");
            return Err(ConfigError::new("training.batch_size", message));
        }
        check_epochs(epochs, self.steps_per_epoch(examples))
    }

    /// Checks what does not depend on the data.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Self { network, method, .. } = self;
        if network.output.ensemble > 0 && !method.workers.learn() {
            let message =
                format!("{}, but `{}` trains no workers", network.output.ensemble, method.name);
            return Err(ConfigError::new("network.output.ensemble", message));
        }
        self.training.validate()?;
        self.limits.validate()?;
        self.augmentation.validate()
    }

    /// Batches of an epoch over this many examples.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        let whole = examples / self.training.batch_size.max(1);
        let limit = self.limits.overfit_batches.or(self.limits.batches);
        whole.min(limit.unwrap_or(whole))
    }
}

/// Whether so many epochs of so many steps can be counted: the step counter of a training has 32 bits.
pub(super) fn check_epochs(epochs: usize, steps: usize) -> Result<(), ConfigError> {
    let steps = steps.max(1);
    let most = u32::MAX as usize / steps;
    if epochs > most {
        let message = format!("{epochs} of {steps} steps, expected at most {most}");
        return Err(ConfigError::new("training.epochs", message));
    }
    Ok(())
}

/// The tensors and programs of a training run.
#[derive(Debug)]
pub(super) struct TrainingPrograms {
    pub(super) set: ProgramSet,
    pub(super) network: Network,
    pub(super) data: DataTensors,
    pub(super) loss: Loss,
    pub(super) counter: TensorId,
    pub(super) order: TensorId,
    pub(super) rates: TensorId,
    pub(super) class_weights: Option<TensorId>,
    pub(super) step: BuiltStep,
}

impl TrainingPrograms {
    /// Writes the training step for a data set, `steps` batches per epoch.
    pub(super) fn new(
        setup: &Setup<'_>,
        layout: DataLayout,
        steps: usize,
    ) -> Result<Self, SetupError> {
        setup.check()?;
        let mut set = ProgramSet::new();
        let network = Network::new(&mut set, setup.network, &layout.shape, layout.classes)?;
        let batch = setup.training.batch_size;
        let fits = network.check_batch(batch, Mode::Train);
        fits.map_err(|message| ConfigError::new("training.batch_size", message))?;
        if let Some(normalization) = &setup.normalization {
            normalization.validate(layout.shape[2])?;
        }
        let loss = network.loss(setup.training.label_smoothing);
        let leadership = Leadership::new(setup.leadership, loss)?;
        let data = DataTensors::declare(&mut set, layout, network.values());
        let counter =
            set.declare(Role::StepCounter, "step_counter", DType::U32, &[step_counter::LEN]);
        let order = set.declare(Role::Data, "order", DType::U32, &[(steps * batch).max(1)]);
        let rates = set.declare(Role::Data, "rates", DType::Real, &[steps.max(1)]);

        let class_weights = setup.training.class_weights.as_ref();
        let class_weights = declare_class_weights(&mut set, class_weights, loss, layout.classes)?;

        let mut builder = StepBuilder::new(&mut set, "train", Mode::Train, batch, counter, false);
        let augmentation = match setup.limits.overfit_batches {
            Some(_) => Augmentation::default(),
            None => setup.augmentation,
        };
        let (input, target) = data.load(&mut builder, order, augmentation);
        let batch = (input, target, class_weights);
        let optimizer = Some(Optimizer::new(setup.training, rates));
        let step =
            TrainingStep::build(setup.method, builder, &network, &leadership, batch, optimizer)?;
        Ok(Self { set, network, data, loss, counter, order, rates, class_weights, step })
    }
}

/// Declares the factors on the losses of so many classes, if there are any.
///
/// # Errors
/// Another number of them, or factors in a regression.
pub(super) fn declare_class_weights(
    set: &mut ProgramSet,
    weights: Option<&ClassWeights>,
    loss: Loss,
    classes: usize,
) -> Result<Option<TensorId>, ConfigError> {
    let Some(weights) = weights else { return Ok(None) };
    if !loss.takes_labels() {
        let message = "a regression has no classes; expected null";
        return Err(ConfigError::new("training.class_weights", message));
    }
    weights.validate()?;
    let factors = weights.factors(classes, std::iter::empty())?;
    Ok(Some(set.declare(Role::Data, "class_weights", DType::Real, &[factors.len()])))
}

/// Initial values of the matrices that replace weights in the backward pass: distributed as the weights'
/// own, from streams of their own.
pub(super) fn feedback_values(
    network: &Network,
    feedback: &[(TensorId, TensorId)],
    seed: u64,
) -> Vec<(TensorId, Vec<f32>)> {
    let matrices: HashMap<TensorId, TensorId> = feedback.iter().copied().collect();
    let draw = |(number, parameter): (usize, &Parameter)| {
        let stream = Stream::new(Purpose::Feedback, number as u32);
        let matrix = *matrices.get(&parameter.id)?;
        Some((matrix, parameter.init.values(seed, stream, parameter.tensor.len())))
    };
    network.parameters().iter().enumerate().filter_map(draw).collect()
}

/// What goes wrong before a backend is involved.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A configuration that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A program that is not well formed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A saved state that belongs to another network.
    #[error("the saved state does not fit: {0}")]
    State(String),
}

impl SetupError {
    /// As an error of the configuration, for callers without a saved state.
    pub(super) fn into_config(self) -> ConfigError {
        match self {
            SetupError::Config(error) => error,
            other => ConfigError::new("network", other.to_string()),
        }
    }
}

impl From<SetupError> for super::TrainError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Config(error) => error.into(),
            SetupError::Program(error) => error.into(),
            SetupError::State(message) => Self::State(message),
        }
    }
}

/// Bytes of a training run with 4-byte real numbers, before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Parameters, buffers and feedback matrices.
    pub parameters: usize,
    /// State of the optimiser.
    pub optimizer: usize,
    /// Activations, gradients and other temporaries of the step, after reuse.
    pub step: usize,
}

/// A training step as data, to look at: what reads what, how large it is.
#[derive(Debug)]
pub struct StepProgram {
    /// The tensors and the one program of the step.
    pub set: ProgramSet,
    /// The step.
    pub program: ProgramId,
    /// Each parameter that the method trains, with its gradient.
    pub gradients: Vec<(TensorId, TensorId)>,
    /// All parameters and buffers, from the input to the output.
    pub parameters: Vec<Parameter>,
    /// What the step adds up, to be read by the host.
    pub metrics: Vec<MetricSum>,
}

impl StepProgram {
    /// The training step of a setup for images of this shape.
    ///
    /// # Errors
    /// A configuration that cannot be.
    pub fn new(setup: &Setup<'_>, shape: [usize; 3], classes: usize) -> Result<Self, ConfigError> {
        let built = TrainingPrograms::new(setup, DataLayout::of_bytes(shape, classes, 1), 1);
        let built = built.map_err(SetupError::into_config)?;
        Ok(Self {
            set: built.set,
            program: built.step.program,
            gradients: built.step.gradients,
            parameters: built.network.parameters().to_vec(),
            metrics: built.step.metrics,
        })
    }

    /// Into how many examples, positions and groups of channels the derivative falls that each direction of a forward
    /// gradient is multiplied with.
    pub fn derivatives(&self) -> Vec<[usize; 3]> {
        let (tensors, ops) = (self.set.tensors(), self.set.programs()[self.program.0].ops());
        let parts = ops.iter().filter_map(|op| match op {
            Op::Gaussian(op) => tensors[op.factor?].shape[..].try_into().ok(),
            _ => None,
        });
        parts.collect()
    }

    /// Predicts the memory of a training run, its operations done one by one in their order.
    pub fn memory(&self) -> MemoryEstimate {
        let tensors = self.set.tensors();
        let ops = self.set.programs()[self.program.0].ops();
        self.memory_with(plan_memory(tensors, ops, |id| tensors[id].bytes()).bytes)
    }

    /// The memory of a training run whose temporaries take `step` bytes, as a backend plans them.
    pub fn memory_with(&self, step: usize) -> MemoryEstimate {
        let tensors = self.set.tensors();
        let bytes = |is_counted: fn(Role) -> bool| -> usize {
            tensors.iter().filter(|(_, t)| is_counted(t.role)).map(|(_, t)| t.bytes()).sum()
        };
        MemoryEstimate {
            parameters: bytes(|role| role.is_of_network() || role == Role::Feedback),
            optimizer: bytes(|role| role == Role::Optimizer),
            step,
        }
    }
}
