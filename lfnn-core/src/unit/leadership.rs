//! Leader selection in a unit, and its local losses (paper, Section 2, Definition 2.1).

use crate::config::{ConfigError, LeadershipConfig, ReferenceConfig, Scope};
use crate::metric::{Metric, MetricScope, Per};
use crate::program::{
    AccumulateRows, Align, AlignmentTarget, CountErrors, DType, Decision, EpochLeaders, LocalLoss,
    LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss, Predictions, Reduction,
    Reference, Role, SelectLeaders, TensorId, WorkerLoss,
};
use crate::random::{Purpose, Stream};
use crate::step::StepBuilder;
use crate::unit::similarity::Compared;
use crate::unit::{Unit, UnitSaved};

/// The settings of leadership, checked, with the loss by which leaders are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Leadership {
    /// The settings.
    pub config: LeadershipConfig,
    /// ℓ.
    pub loss: Loss,
}

const WORKER_LOSSES: Metric = Metric {
    name: "worker_losses",
    about: "mean loss of each worker",
    scope: MetricScope::Worker,
    per: Per::Example,
    factor: 1.0,
};

/// The error of each worker; there is none in regression.
const WORKER_ERRORS: Metric = Metric {
    name: "worker_errors",
    about: "share of wrong predictions of each worker in percent",
    factor: 100.0,
    ..WORKER_LOSSES
};

const LEAD_PERCENT: Metric = Metric {
    name: "lead_percent",
    about: "how often each worker was a leader, in percent of the batches (of the examples with `scope: sample`)",
    scope: MetricScope::Worker,
    per: Per::Batch,
    factor: 100.0,
};

/// `L^δ`.
const LEADER_LOSS: Metric = Metric {
    name: "leader_loss",
    about: "mean leader loss",
    scope: MetricScope::Unit,
    per: Per::Batch,
    factor: 1.0,
};

/// `L^δ̄`.
const FOLLOWER_LOSS: Metric = Metric {
    name: "follower_loss",
    about: "mean follower loss; 0 without followers",
    ..LEADER_LOSS
};

const LOCAL_LOSS: Metric = Metric {
    name: "local_loss",
    about: "mean loss of all workers together, where all train on the labels",
    per: Per::Example,
    ..LEADER_LOSS
};

/// Tensors of a unit that outlive a step: sums for the metrics of training, and leaders that stay for an
/// epoch.
#[derive(Clone, Debug)]
pub struct UnitState {
    /// Position of the unit, from 1.
    number: usize,
    /// How the unit's logits fall into classifiers, workers and classes.
    pub predictions: Predictions,
    /// `U32 [1]`: 1 + the first worker whose mean loss was not finite, or 0.
    pub nonfinite: TensorId,
    /// Losses and errors of the workers.
    pub workers: WorkerSums,
    /// `[classifiers · workers]`: in how many steps (or examples) each worker was a leader.
    pub lead_counts: TensorId,
    /// `[2]`: sums over steps of leader and follower loss.
    pub local_losses: TensorId,
    /// `[1]`: sum over examples of the loss of similarity matching, in a unit that has it.
    pub similarity_loss: Option<TensorId>,
    epoch: Option<EpochSelection>,
}

/// Sums of a unit's workers over the examples of an epoch or of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSums {
    /// The unit, from 1.
    unit: usize,
    /// `[classifiers · workers]`: sum over examples of each worker's loss.
    losses: TensorId,
    /// `[classifiers · workers]`: number of wrong predictions; stays 0 in regression.
    wrong: TensorId,
}

/// Leaders that stay for an epoch, and the losses by which those of the next epoch are chosen.
#[derive(Clone, Debug)]
struct EpochSelection {
    losses: TensorId,
    leaders: TensorId,
    best: TensorId,
}

/// What the workers of a unit compute in a step: logits, outputs and losses.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOutputs {
    predictions: Predictions,
    logits: TensorId,
    output: TensorId,
    losses: TensorId,
    /// Mean loss of each worker, `[classifiers · workers]`.
    pub mean: TensorId,
    target: TensorId,
    /// Factors on the losses of the classes.
    weights: Option<TensorId>,
    sums: WorkerSums,
    /// With the sum that its loss is added to.
    similarity: Option<(Compared, TensorId)>,
}

impl WorkerOutputs {
    /// The unit, from 1.
    pub(crate) fn unit(&self) -> usize {
        self.sums.unit
    }

    /// Writes the gradient of similarity matching; none in a unit without it.
    pub(crate) fn similarity_gradient(&self, step: &mut StepBuilder<'_>) -> Option<TensorId> {
        let (compared, total) = self.similarity?;
        Some(compared.gradient(step, self.target, (self.unit(), total)))
    }
}

/// The leaders of a step, and the output that followers train to match.
#[derive(Clone, Copy, Debug)]
pub struct Leaders {
    /// What the workers compute.
    pub outputs: WorkerOutputs,
    reference: TensorId,
    /// 1 for a leader, 0 for a follower, `[1 or batch, classifiers · workers]`.
    pub mask: TensorId,
    /// The best leader, `[1 or batch, classifiers]`.
    pub best: TensorId,
    /// `L^δ` and `L^δ̄`, `[1, 2]`.
    pub local_losses: TensorId,
    /// Whether every worker is a leader whatever its loss, so that no gradient is masked.
    pub all: bool,
}

impl Leadership {
    /// Checks the settings.
    ///
    /// # Errors
    /// A number out of range, or an alignment of probabilities where none are predicted.
    pub fn new(config: LeadershipConfig, loss: Loss) -> Result<Self, ConfigError> {
        config.validate()?;
        if matches!(config.align, Align::Kl(_)) && loss == Loss::MeanSquared {
            let message = "`kl` compares probabilities, but a regression predicts none: expected output or logits";
            return Err(ConfigError::new("leadership.align", message));
        }
        Ok(Self { config, loss })
    }

    /// Adds the tensors of a unit that outlive a step.
    pub fn declare(&self, step: &mut StepBuilder<'_>, unit: &Unit) -> UnitState {
        let (number, predictions) = (unit.number(), unit.predictions());
        let predictors = predictions.predictors();
        let mut declare = |role: Role, name: &str, dtype: DType, shape: &[usize]| {
            step.declare(role, &format!("unit{number}.{name}"), dtype, shape)
        };
        let mut sum = |name: &str, len: usize| declare(Role::Metric, name, DType::Real, &[len]);
        let lead_counts = sum("lead_counts", predictors);
        let local_losses = sum("losses", 2);
        let similarity_loss = unit.matches_similarity().then(|| sum("similarity_loss", 1));
        let nonfinite = declare(Role::Metric, "nonfinite", DType::U32, &[1]);
        let epoch = (self.config.scope == Scope::Epoch).then(|| EpochSelection {
            losses: declare(Role::Leaders, "epoch_losses", DType::Real, &[predictors]),
            leaders: declare(Role::Leaders, "epoch_leaders", DType::Real, &[1, predictors]),
            best: declare(Role::Leaders, "epoch_best", DType::U32, &[1, predictions.classifiers]),
        });
        let workers = WorkerSums::declare(step, Role::Metric, unit);
        UnitState {
            number,
            predictions,
            nonfinite,
            workers,
            lead_counts,
            local_losses,
            similarity_loss,
            epoch,
        }
    }

    /// Writes the workers' outputs and losses from what a unit's forward rule saved, and adds the losses to the metrics
    /// of training.
    pub fn worker_losses(
        &self,
        step: &mut StepBuilder<'_>,
        state: &UnitState,
        (unit, saved): (&Unit, &UnitSaved),
        (target, weights): (TensorId, Option<TensorId>),
    ) -> WorkerOutputs {
        let z = saved.logits.unwrap_or(saved.output);
        let &UnitState { number, predictions, .. } = state;
        let loss = self.loss;
        let predictors = predictions.predictors();
        let output = step.like("workers.output", z);
        let losses = step.activation("workers.losses", &[predictors]);
        step.push(WorkerLoss { z, target, weights, output, losses, predictions, loss });
        let name = format!("unit{number}.worker_losses");
        let mean = step.debug_tensor(&name, DType::Real, &[predictors]);
        step.push(MeanWorkerLoss { losses, mean, nonfinite: state.nonfinite });
        let sums = state.workers;
        sums.add(step, predictions, loss, [losses, output, target]);
        let similarity = unit.similarity_loss(saved).zip(state.similarity_loss);
        WorkerOutputs {
            predictions,
            logits: z,
            output,
            losses,
            mean,
            target,
            weights,
            sums,
            similarity,
        }
    }

    /// Writes the selection of leaders, and adds it to the metrics of training.
    pub fn select(
        &self,
        step: &mut StepBuilder<'_>,
        state: &UnitState,
        outputs: WorkerOutputs,
    ) -> Leaders {
        let WorkerOutputs { predictions, logits: z, output, losses: worker_losses, mean, .. } =
            outputs;
        let number = state.number;
        let (batch, predictors) = (step.batch(), predictions.predictors());
        let count = self.config.leaders(predictions.workers);
        let counter = step.counter();
        let (leaders, best) = match &state.epoch {
            Some(epoch) => {
                let (losses, epoch_losses) = (mean, epoch.losses);
                let (leaders, best) = (epoch.leaders, epoch.best);
                step.push(EpochLeaders {
                    losses,
                    counter,
                    epoch_losses,
                    leaders,
                    best,
                    predictions,
                    count,
                });
                (leaders, best)
            }
            None => {
                let per_sample = self.config.scope == Scope::Sample;
                let (rows, losses) = if per_sample { (batch, worker_losses) } else { (1, mean) };
                let name = format!("unit{number}.leaders");
                let leaders = step.debug_tensor(&name, DType::Real, &[rows, predictors]);
                let name = format!("unit{number}.best");
                let best = step.debug_tensor(&name, DType::U32, &[rows, predictions.classifiers]);
                step.push(SelectLeaders { losses, leaders, best, predictions, count });
                (leaders, best)
            }
        };
        let value = if self.config.align == Align::Output { output } else { z };
        let rule = match self.config.reference {
            ReferenceConfig::Best => Reference::Best,
            ReferenceConfig::Mean => Reference::Mean,
            ReferenceConfig::Random => {
                Reference::Random(Stream::new(Purpose::Reference, number as u32))
            }
        };
        let reference = step.activation("workers.reference", &[predictions.outputs()]);
        step.push(AlignmentTarget { value, leaders, best, counter, reference, predictions, rule });

        let losses = step.debug_tensor(&format!("unit{number}.losses"), DType::Real, &[1, 2]);
        step.push(LocalLosses {
            worker_losses,
            value,
            leaders,
            reference,
            losses,
            predictions,
            reduction: self.config.reduction,
            follower: self.config.follower(),
        });
        for (x, total) in [(losses, state.local_losses), (leaders, state.lead_counts)] {
            step.push(AccumulateRows { x, counter, total });
        }
        step.metric(LEADER_LOSS, number, state.local_losses, 0..1);
        step.metric(FOLLOWER_LOSS, number, state.local_losses, 1..2);
        let per = if self.config.scope == Scope::Sample { Per::Example } else { Per::Batch };
        step.metric(Metric { per, ..LEAD_PERCENT }, number, state.lead_counts, 0..predictors);
        let all = count == predictions.workers;
        Leaders { outputs, reference, mask: leaders, best, local_losses: losses, all }
    }

    /// Writes the gradient of `loss` with respect to the logits; none where both weights are 0.
    pub fn local_loss_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        leaders: &Leaders,
        loss: LocalLoss,
    ) -> Option<TensorId> {
        if loss.is_zero() {
            return None;
        }
        let WorkerOutputs { predictions, logits: z, output, target, weights, .. } = leaders.outputs;
        let dz = step.like("workers.gradient", z);
        step.push(LocalLossGradient {
            z,
            output,
            target,
            weights,
            leaders: leaders.mask,
            reference: leaders.reference,
            dz,
            predictions,
            loss,
            worker_loss: self.loss,
            reduction: self.config.reduction,
            follower: self.config.follower(),
        });
        Some(dz)
    }

    /// Writes the gradient of the sum (or mean, see `reduction`) of all workers' losses with respect to
    /// the logits: every worker trains on the targets.
    pub fn loss_gradient(&self, step: &mut StepBuilder<'_>, outputs: WorkerOutputs) -> TensorId {
        let WorkerOutputs { predictions, logits: z, output, target, weights, sums, .. } = outputs;
        let dz = step.like("workers.gradient", z);
        let (loss, reduction) = (self.loss, self.config.reduction);
        step.push(LossGradient { z, output, target, weights, dz, predictions, loss, reduction });
        let factor = match reduction {
            Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / predictions.workers as f64,
        };
        let elements = 0..predictions.predictors();
        step.metric(Metric { factor, ..LOCAL_LOSS }, sums.unit, sums.losses, elements);
        dz
    }
}

impl WorkerSums {
    /// Adds the sums of a unit.
    pub(crate) fn declare(step: &mut StepBuilder<'_>, role: Role, unit: &Unit) -> Self {
        let (unit, predictors) = (unit.number(), unit.predictions().predictors());
        let mut declare = |name: &str| {
            step.declare(role, &format!("unit{unit}.{name}"), DType::Real, &[predictors])
        };
        Self { unit, losses: declare("worker_losses"), wrong: declare("wrong") }
    }

    /// Adds a batch: the workers' losses `[batch, classifiers · workers]`, their outputs and the targets.
    pub(crate) fn add(
        self,
        step: &mut StepBuilder<'_>,
        predictions: Predictions,
        loss: Loss,
        [losses, output, target]: [TensorId; 3],
    ) {
        let (counter, all) = (step.counter(), 0..predictions.predictors());
        step.push(AccumulateRows { x: losses, counter, total: self.losses });
        step.metric(WORKER_LOSSES, self.unit, self.losses, all.clone());
        if let Some(decision) = worker_decision(loss) {
            let wrong = self.wrong;
            step.push(CountErrors { output, target, counter, wrong, predictions, decision });
            step.metric(WORKER_ERRORS, self.unit, wrong, all);
        }
    }
}

/// Which of a worker's predictions are wrong; none in regression.
fn worker_decision(loss: Loss) -> Option<Decision> {
    match loss {
        Loss::CrossEntropy { .. } => Some(Decision::Largest),
        Loss::Binary { one_vs_all, .. } => Some(Decision::Threshold { one_vs_all }),
        Loss::MeanSquared => None,
    }
}
