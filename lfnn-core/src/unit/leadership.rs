//! Leader selection in a unit, and its local losses (paper, Section 2, Definition 2.1).

use crate::config::{ConfigError, LeadershipConfig, ReferenceConfig, Scope};
use crate::program::{
    AccumulateRows, Align, AlignmentTarget, CountErrors, DType, Decision, EpochLeaders, LocalLoss,
    LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss, Predictions, ProgramSet,
    Reference, SelectLeaders, TensorId, WorkerLoss,
};
use crate::random::{Purpose, Stream};
use crate::step::StepBuilder;

/// The settings of leadership, checked, with the loss by which leaders are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Leadership {
    /// The settings.
    pub config: LeadershipConfig,
    /// ℓ.
    pub loss: Loss,
}

/// Tensors of a unit that outlive a step: sums for the metrics of training, and leaders that are
/// held for an epoch.
#[derive(Clone, Debug)]
pub struct UnitState {
    /// `U32 [1]`: 1 + the first worker whose mean loss was not finite, or 0.
    pub nonfinite: TensorId,
    /// `[classifiers · workers]`: sum over examples of each worker's loss.
    pub losses: TensorId,
    /// `[classifiers · workers]`: number of wrong predictions; stays 0 in regression.
    pub wrong: TensorId,
    /// `[classifiers · workers]`: in how many steps (or examples) each worker was a leader.
    pub lead_counts: TensorId,
    /// `[2]`: sums over steps of leader and follower loss.
    pub local_losses: TensorId,
    held: Option<EpochSelection>,
}

/// Leaders held for an epoch, and the losses by which those of the next epoch are chosen.
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
    mean: TensorId,
    target: TensorId,
}

/// The leaders of a step, and the output that followers train to match.
#[derive(Clone, Copy, Debug)]
pub struct Leaders {
    outputs: WorkerOutputs,
    reference: TensorId,
    /// 1 for a leader, 0 for a follower, `[1 or batch, classifiers · workers]`.
    pub mask: TensorId,
    /// Whether every worker is a leader whatever its loss, so that there is nobody to mask.
    pub all: bool,
}

impl Leadership {
    /// Checks the settings.
    ///
    /// # Errors
    /// A number out of range.
    pub fn new(config: LeadershipConfig, loss: Loss) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, loss })
    }

    /// Adds the tensors of unit `number` that outlive a step.
    pub fn declare(
        &self,
        set: &mut ProgramSet,
        number: usize,
        predictions: Predictions,
    ) -> UnitState {
        let predictors = predictions.predictors();
        let mut declare = |name: &str, dtype: DType, shape: &[usize]| {
            set.persistent(format!("training/unit{number}.{name}"), dtype, shape)
        };
        let nonfinite = declare("fault", DType::U32, &[1]);
        let losses = declare("errors", DType::Real, &[predictors]);
        let wrong = declare("wrong", DType::Real, &[predictors]);
        let lead_counts = declare("leads", DType::Real, &[predictors]);
        let local_losses = declare("losses", DType::Real, &[2]);
        let held = (self.config.scope == Scope::Epoch).then(|| EpochSelection {
            losses: declare("epoch_errors", DType::Real, &[predictors]),
            leaders: declare("epoch_leaders", DType::Real, &[1, predictors]),
            best: declare("epoch_best", DType::U32, &[1, predictions.classifiers]),
        });
        UnitState { nonfinite, losses, wrong, lead_counts, local_losses, held }
    }

    /// Writes the workers' outputs and losses from logits `z`, and adds the losses to the metrics of
    /// training.
    pub fn worker_losses(
        &self,
        step: &mut StepBuilder<'_>,
        state: &UnitState,
        number: usize,
        predictions: Predictions,
        z: TensorId,
        target: TensorId,
    ) -> WorkerOutputs {
        let loss = self.loss;
        let (predictors, clock) = (predictions.predictors(), step.clock());
        let output = step.like("workers.output", z);
        let losses = step.activation("workers.losses", &[predictors]);
        step.push(WorkerLoss { z, target, output, losses, predictions, loss });
        let mean =
            step.debug_tensor(format!("unit{number}.worker_losses"), DType::Real, &[predictors]);
        step.push(MeanWorkerLoss { losses, mean, nonfinite: state.nonfinite });
        step.push(AccumulateRows { x: losses, clock, total: state.losses });
        if let Some(decision) = worker_decision(loss) {
            let wrong = state.wrong;
            step.push(CountErrors { output, target, clock, wrong, predictions, decision });
        }
        WorkerOutputs { predictions, logits: z, output, losses, mean, target }
    }

    /// Writes the selection of leaders, and adds it to the metrics of training.
    pub fn select(
        &self,
        step: &mut StepBuilder<'_>,
        state: &UnitState,
        number: usize,
        outputs: WorkerOutputs,
    ) -> Leaders {
        let WorkerOutputs { predictions, logits: z, output, losses: worker_losses, mean, .. } =
            outputs;
        let (batch, predictors) = (step.batch(), predictions.predictors());
        let count = self.config.leaders(predictions.workers);
        let clock = step.clock();
        let (leaders, best) = match &state.held {
            Some(held) => {
                let (losses, epoch_losses) = (mean, held.losses);
                let (leaders, best) = (held.leaders, held.best);
                step.push(EpochLeaders {
                    losses,
                    clock,
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
                let leaders = step.debug_tensor(name, DType::Real, &[rows, predictors]);
                let name = format!("unit{number}.best");
                let best = step.debug_tensor(name, DType::U32, &[rows, predictions.classifiers]);
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
        step.push(AlignmentTarget { value, leaders, best, clock, reference, predictions, rule });

        let losses = step.debug_tensor(format!("unit{number}.losses"), DType::Real, &[1, 2]);
        step.push(LocalLosses {
            worker_losses,
            value,
            leaders,
            reference,
            losses,
            predictions,
            reduction: self.config.reduction,
        });
        for (x, total) in [(losses, state.local_losses), (leaders, state.lead_counts)] {
            step.push(AccumulateRows { x, clock, total });
        }
        let all = count == predictions.workers;
        Leaders { outputs, reference, mask: leaders, all }
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
        let WorkerOutputs { predictions, logits: z, output, target, .. } = leaders.outputs;
        let dz = step.like("workers.gradient", z);
        step.push(LocalLossGradient {
            z,
            output,
            target,
            leaders: leaders.mask,
            reference: leaders.reference,
            dz,
            predictions,
            loss,
            worker_loss: self.loss,
            reduction: self.config.reduction,
            align: self.config.align,
        });
        Some(dz)
    }

    /// Writes the gradient of the sum (or mean, see `reduction`) of all workers' losses with respect to
    /// the logits: every worker trains on the targets.
    pub fn loss_gradient(&self, step: &mut StepBuilder<'_>, outputs: WorkerOutputs) -> TensorId {
        let WorkerOutputs { predictions, logits: z, output, target, .. } = outputs;
        let dz = step.like("workers.gradient", z);
        let (loss, reduction) = (self.loss, self.config.reduction);
        step.push(LossGradient { z, output, target, dz, predictions, loss, reduction });
        dz
    }
}

/// Which of a worker's predictions are wrong; none in regression.
pub(crate) fn worker_decision(loss: Loss) -> Option<Decision> {
    match loss {
        Loss::CrossEntropy { .. } => Some(Decision::Largest),
        Loss::Binary { one_vs_all, .. } => Some(Decision::Threshold { one_vs_all }),
        Loss::MeanSquared => None,
    }
}
