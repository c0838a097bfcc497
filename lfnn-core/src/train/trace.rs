//! The trace of one training step, for comparison with any other implementation.

use std::collections::{BTreeMap, HashSet};

use crate::backend::{Backend, BackendError, Executable, TensorData, TensorDataMut};
use crate::config::{
    ClassWeights, ConfigError, LeadershipConfig, NetworkConfig, check_label_smoothing,
};
use crate::method::{Method, TrainingStep};
use crate::network::Network;
use crate::program::{DType, ProgramSet, Role, TensorId, step_counter};
use crate::step::{FeedbackPath, Mode, StepBuilder};
use crate::unit::Leadership;

use super::data::check_labels;
use super::error::TrainError;
use super::setup::{declare_class_weights, feedback_values};
use super::state::{State, StateData, StateTensor, saved, to_channels_first, to_channels_last};

/// What the step is taken on.
#[derive(Clone, Copy, Debug)]
pub struct TraceInput<'a> {
    /// The network.
    pub network: &'a NetworkConfig,
    /// Who leads.
    pub leadership: LeadershipConfig,
    /// Share of the target spread over the classes.
    pub label_smoothing: f64,
    /// Factors on the losses of the classes; `balanced` by the labels of the batch.
    pub class_weights: Option<&'a ClassWeights>,
    /// Along how many directions forward gradients are estimated.
    pub directions: usize,
    /// The method.
    pub method: &'static Method,
    /// Seed of dropout, random leaders, directions of forward gradients and feedback matrices.
    pub seed: u64,
    /// Number of classes (numbers to predict, in regression).
    pub classes: usize,
    /// `[batch, channels, height, width]` or `[batch, features]`, normalised.
    pub images: &'a [f32],
    /// The shape of `images`.
    pub shape: &'a [usize],
    /// The targets.
    pub target: Target<'a>,
}

/// Targets of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Labels, `[batch]`.
    Labels(&'a [u32]),
    /// Numbers, `[batch, classes]`.
    Values(&'a [f32]),
}

/// What the step computed, before any parameter changed.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTrace {
    /// The global loss.
    pub loss: f64,
    /// `[batch, outputs]`.
    pub logits: Vec<f32>,
    /// For each hidden unit that trains, where the method has leaders.
    pub units: Vec<UnitTrace>,
    /// Gradients of the parameters that the method trains, named and shaped like them, and the
    /// buffers after the step.
    pub gradients: State,
    /// Buffers, such as running means, after the step.
    pub buffers: State,
    /// Directions of forward gradients, named and shaped like the parameters that they were added to;
    /// those of outputs are named like the layers, `[batch, channels, height, width]` or
    /// `[batch, features]`.
    pub directions: State,
    /// The matrices that replaced weights in the backward pass, named and shaped like them, and those that carried the
    /// output's error to units, named like `unit1.output`.
    pub feedback: State,
}

/// What the step computed in a hidden unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitTrace {
    /// The unit, from 1.
    pub unit: usize,
    /// Mean loss of each worker, `[classifiers · workers]`.
    pub worker_losses: Vec<f32>,
    /// 1 for a leader, 0 for a follower, `[rows, classifiers · workers]`; one row, or one per sample.
    pub leaders: Vec<f32>,
    /// The best leader, `[rows, classifiers]`.
    pub best: Vec<u32>,
    /// `L^δ`.
    pub leader_loss: f64,
    /// `L^δ̄`.
    pub follower_loss: f64,
}

/// Runs one step on a backend and reads everything. `weights` must hold every parameter and buffer of
/// the network, may hold feedback matrices of a method that has them (`feedback/NAME`; those that it
/// lacks are drawn from the seed), and nothing else.
///
/// # Errors
/// A configuration, weights or a batch that do not fit, or a failure of the backend.
pub fn trace_step(
    backend: &dyn Backend,
    input: &TraceInput<'_>,
    weights: &State,
) -> Result<StepTrace, TrainError> {
    let elements = input.shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    if elements != Some(input.images.len()) {
        let (found, shape) = (input.images.len(), input.shape.to_vec());
        return Err(TrainError::InputElements { found, shape });
    }
    let (batch, shape, images) = match *input.shape {
        [batch, channels, height, width] if batch > 0 => {
            let images = to_channels_last(&[batch, height, width, channels], input.images);
            (batch, vec![height, width, channels], images)
        }
        [batch, features] if batch > 0 => (batch, vec![features], input.images.to_vec()),
        _ => return Err(TrainError::InputShape { found: input.shape.to_vec() }),
    };
    check_label_smoothing(input.label_smoothing)?;
    let mut set = ProgramSet::new();
    let network = Network::new(&mut set, input.network, &shape, input.classes)?;
    let loss = network.loss(input.label_smoothing);
    let leadership = Leadership::new(input.leadership, loss)?;
    let predictions = network.output().predictions();
    let fits = network.check_batch(batch, Mode::Train);
    fits.map_err(|message| ConfigError::new("batch", message))?;
    match input.target {
        Target::Labels(labels) if loss.takes_labels() => {
            if labels.len() != batch {
                return Err(TrainError::Targets { found: labels.len(), expected: batch });
            }
            check_labels(labels, input.classes)?;
        }
        Target::Values(values) if !loss.takes_labels() => {
            let (found, expected) = (values.len(), batch * predictions.classes);
            if found != expected {
                return Err(TrainError::Targets { found, expected });
            }
        }
        Target::Labels(_) => return Err(TrainError::ClassesInRegression),
        Target::Values(_) => return Err(TrainError::NumbersInClassification),
    }

    let now = set.declare(Role::StepCounter, "step_counter", DType::U32, &[step_counter::LEN]);
    let mut whole = vec![batch];
    whole.extend(&shape);
    let x = set.declare(Role::Data, "images", DType::Real, &whole);
    let (kind, target_shape) = match input.target {
        Target::Labels(_) => (DType::U32, vec![batch]),
        Target::Values(_) => (DType::Real, vec![batch, predictions.classes]),
    };
    let target = set.declare(Role::Data, "target", kind, &target_shape);
    let class_weights = declare_class_weights(&mut set, input.class_weights, loss, input.classes)?;
    let builder = StepBuilder::new(&mut set, "trace_step", Mode::Train, batch, now, true)
        .with_directions(input.directions);
    let batch_of = (x, target, class_weights);
    let step = TrainingStep::build(input.method, builder, &network, &leadership, batch_of, None)?;

    // Before memory is asked for: a file may say anything of its network.
    let given = fit(&set, &network, &step.feedback, weights).map_err(TrainError::State)?;
    let mut executable = backend.compile(&set).map_err(TrainError::Backend)?;
    for (id, data) in &given {
        let values = to_channels_last(&set.tensors()[*id].shape, data);
        executable.upload(*id, TensorData::Real(&values)).map_err(TrainError::Backend)?;
    }
    let is_given: HashSet<TensorId> = given.iter().map(|&(id, _)| id).collect();
    let drawn = feedback_values(&network, &step.feedback, input.seed);
    for (id, values) in drawn.into_iter().filter(|(id, _)| !is_given.contains(id)) {
        executable.upload(id, TensorData::Real(&values)).map_err(TrainError::Backend)?;
    }
    let upload = |executable: &mut Box<dyn Executable>, id, data| {
        executable.upload(id, data).map_err(TrainError::Backend)
    };
    upload(&mut executable, x, TensorData::Real(&images))?;
    match input.target {
        Target::Labels(labels) => upload(&mut executable, target, TensorData::U32(labels))?,
        Target::Values(values) => upload(&mut executable, target, TensorData::Real(values))?,
    }
    let factors = match (input.class_weights, input.target) {
        (Some(weights), Target::Labels(labels)) => {
            weights.factors(input.classes, labels.iter().copied())?
        }
        _ => Vec::new(),
    };
    if let Some(id) = class_weights {
        upload(&mut executable, id, TensorData::Real(&factors))?;
    }
    let mut time = step_counter::start(input.seed);
    time[step_counter::COUNT] = batch as u32;
    upload(&mut executable, now, TensorData::U32(&time))?;
    executable.run(step.program).map_err(TrainError::Backend)?;

    let reader = Reader { set: &set, executable: &*executable };
    let backend = TrainError::Backend;
    let units = step.leaders.iter().map(|leaders| {
        let losses = reader.real(leaders.local_losses)?;
        Ok(UnitTrace {
            unit: leaders.outputs.unit(),
            worker_losses: reader.real(leaders.outputs.mean)?,
            leaders: reader.real(leaders.mask)?,
            best: reader.whole(leaders.best)?,
            leader_loss: f64::from(losses[0]),
            follower_loss: f64::from(losses[1]),
        })
    });
    let units = units.collect::<Result<_, BackendError>>().map_err(backend)?;
    let real = |id: Option<TensorId>| id.map_or(Ok(Vec::new()), |id| reader.real(id));
    let loss = real(step.loss.map(|loss| loss.mean)).map_err(backend)?;
    let buffers = network.parameters().iter().filter(|parameter| !parameter.trainable());
    let read_all =
        |ids: &mut dyn Iterator<Item = TensorId>| reader.state(ids).map_err(TrainError::Backend);
    Ok(StepTrace {
        loss: loss.iter().map(|&loss| f64::from(loss)).sum(),
        logits: real(step.loss.and_then(|loss| loss.logits)).map_err(backend)?,
        units,
        gradients: read_all(&mut step.gradients.iter().map(|&(_, gradient)| gradient))?,
        buffers: read_all(&mut buffers.map(|buffer| buffer.id))?,
        directions: read_all(&mut step.directions.iter().copied())?,
        feedback: read_all(&mut step.feedback.values().copied())?,
    })
}

struct Reader<'a> {
    set: &'a ProgramSet,
    executable: &'a dyn Executable,
}

impl Reader<'_> {
    fn real(&self, id: TensorId) -> Result<Vec<f32>, BackendError> {
        self.executable.download_reals(id, self.set.tensors()[id].len())
    }

    fn whole(&self, id: TensorId) -> Result<Vec<u32>, BackendError> {
        let mut data = vec![0; self.set.tensors()[id].len()];
        self.executable.download(id, TensorDataMut::U32(&mut data))?;
        Ok(data)
    }

    /// Tensors in the layout of saved states, named like what they belong to.
    fn state(&self, ids: impl Iterator<Item = TensorId>) -> Result<State, BackendError> {
        let read = |id: TensorId| {
            let tensor = &self.set.tensors()[id];
            let (shape, data) = to_channels_first(&tensor.shape, &self.real(id)?);
            let data = StateData::Real(data);
            Ok(StateTensor { name: tensor.bare_name().into(), shape, data })
        };
        Ok(State { tensors: ids.map(read).collect::<Result<_, BackendError>>()? })
    }
}

/// What a state gives a step: every parameter and buffer, and feedback matrices, as far as it has them.
fn fit<'s>(
    set: &ProgramSet,
    network: &Network,
    feedback: &BTreeMap<FeedbackPath, TensorId>,
    weights: &'s State,
) -> Result<Vec<(TensorId, &'s [f32])>, String> {
    let index = weights.index();
    let name = |id: TensorId| set.tensors()[id].name.as_str();
    let matrices = feedback.values().copied();
    let parameters = network.parameters().iter().map(|parameter| parameter.id);
    let known: HashSet<&str> = parameters.clone().chain(matrices.clone()).map(name).collect();
    if let Some(saved) = weights.tensors.iter().find(|saved| !known.contains(saved.name.as_str())) {
        return Err(format!("a tensor `{}` that this network lacks", saved.name));
    }
    let given = matrices.filter(|&matrix| index.contains_key(name(matrix)));
    let values = |id: TensorId| match &saved(&set.tensors()[id], &index)?.data {
        StateData::Real(data) => Ok((id, data.as_slice())),
        StateData::U32(_) => Err(format!("`{}` holds whole numbers, expected real ones", name(id))),
    };
    parameters.chain(given).map(values).collect()
}
