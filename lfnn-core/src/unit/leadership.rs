//! Who leads a unit, and the local losses (paper, Section 2, Definition 2.1).

use crate::config::{
    AlignConfig, ConfigError, LeadershipConfig, ReductionConfig, ReferenceConfig, Scope,
};
use crate::program::{
    AccumulateRows, Align, AlignmentTarget, CountErrors, DType, Decision, EpochLeaders, Heads,
    LocalGradient, LocalLosses, Loss, MeanErrors, Module, Reduction, Reference, SelectLeaders,
    TensorId, WorkerErrors,
};
use crate::random::{Purpose, Stream};
use crate::step::StepWriter;

/// The settings of leadership, checked, with the error by which leaders are chosen.
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
    /// `U32 [1]`: 1 + the first worker whose error was not finite, or 0.
    pub fault: TensorId,
    /// `[nets · workers]`: sum over examples of each worker's error.
    pub errors: TensorId,
    /// `[nets · workers]`: number of wrong predictions; stays 0 in regression.
    pub wrong: TensorId,
    /// `[nets · workers]`: how often each worker led.
    pub leads: TensorId,
    /// `[2]`: sums over steps of leader and follower loss.
    pub losses: TensorId,
    held: Option<Held>,
}

/// Leaders held for an epoch.
#[derive(Clone, Debug)]
struct Held {
    errors: TensorId,
    leaders: TensorId,
    best: TensorId,
}

/// What the workers of a unit predict in a step, and how far off they are.
#[derive(Clone, Copy, Debug)]
pub struct Predictions {
    heads: Heads,
    logits: TensorId,
    output: TensorId,
    errors: TensorId,
    mean: TensorId,
    target: TensorId,
}

/// What leader selection in a step leaves.
#[derive(Clone, Copy, Debug)]
pub struct Leaders {
    predictions: Predictions,
    reference: TensorId,
    /// 1 for a leader, 0 for a follower, `[1 or batch, nets · workers]`.
    pub mask: TensorId,
    /// Whether every worker leads whatever its error, so that there is nobody to mask.
    pub all: bool,
}

impl Leadership {
    /// Checks the settings.
    ///
    /// # Errors
    /// δ outside (0, 1], or a weight that is negative or not finite.
    pub fn new(config: LeadershipConfig, loss: Loss) -> Result<Self, ConfigError> {
        if !(config.delta > 0.0 && config.delta <= 1.0) {
            return Err(ConfigError::new(
                "leadership.delta",
                format!(
                    "{} is not a fraction of workers that can lead, expected above 0 and at most 1",
                    config.delta
                ),
            ));
        }
        for (name, weight) in
            [("lambda", config.lambda), ("lambda1", config.lambda1), ("lambda2", config.lambda2)]
        {
            if !weight.is_finite() || weight < 0.0 {
                return Err(ConfigError::new(
                    format!("leadership.{name}"),
                    format!("a weight of {weight}, expected a finite number of at least 0"),
                ));
            }
        }
        Ok(Self { config, loss })
    }

    fn reduction(&self) -> Reduction {
        match self.config.reduction {
            ReductionConfig::Sum => Reduction::Sum,
            ReductionConfig::Mean => Reduction::Mean,
        }
    }

    fn align(&self) -> Align {
        match self.config.align {
            AlignConfig::Output => Align::Output,
            AlignConfig::Logits => Align::Logits,
        }
    }

    /// Adds the tensors of unit `number` that outlive a step.
    pub fn declare(&self, module: &mut Module, number: usize, heads: Heads) -> UnitState {
        let predictors = heads.predictors();
        let mut declare = |name: &str, dtype: DType, shape: &[usize]| {
            module.persistent(format!("training/unit{number}.{name}"), dtype, shape)
        };
        let fault = declare("fault", DType::U32, &[1]);
        let errors = declare("errors", DType::Real, &[predictors]);
        let wrong = declare("wrong", DType::Real, &[predictors]);
        let leads = declare("leads", DType::Real, &[predictors]);
        let losses = declare("losses", DType::Real, &[2]);
        let held = (self.config.scope == Scope::Epoch).then(|| Held {
            errors: declare("epoch_errors", DType::Real, &[predictors]),
            leaders: declare("epoch_leaders", DType::Real, &[1, predictors]),
            best: declare("epoch_best", DType::U32, &[1, heads.nets]),
        });
        UnitState { fault, errors, wrong, leads, losses, held }
    }

    /// Writes the workers' outputs and errors from logits `z`, and adds the errors to the metrics of
    /// training.
    pub fn judge(
        &self,
        step: &mut StepWriter<'_>,
        state: &UnitState,
        number: usize,
        heads: Heads,
        z: TensorId,
        target: TensorId,
    ) -> Predictions {
        let loss = self.loss;
        let (predictors, clock) = (heads.predictors(), step.clock());
        let output = step.like("workers.output", z);
        let errors = step.activation("workers.errors", &[predictors]);
        step.push(WorkerErrors { z, target, output, errors, heads, loss });
        let mean = step.observable(format!("unit{number}.errors"), DType::Real, &[predictors]);
        step.push(MeanErrors { errors, mean, fault: state.fault });
        step.push(AccumulateRows { x: errors, clock, total: state.errors });
        if let Some(decision) = worker_decision(loss) {
            step.push(CountErrors { output, target, clock, wrong: state.wrong, heads, decision });
        }
        Predictions { heads, logits: z, output, errors, mean, target }
    }

    /// Writes the selection of leaders, and adds it to the metrics of training.
    pub fn select(
        &self,
        step: &mut StepWriter<'_>,
        state: &UnitState,
        number: usize,
        predictions: Predictions,
    ) -> Leaders {
        let Predictions { heads, logits: z, output, errors, mean, .. } = predictions;
        let (batch, predictors) = (step.batch(), heads.predictors());
        let count = self.config.leaders(heads.workers);
        let clock = step.clock();
        let (leaders, best) = match &state.held {
            Some(held) => {
                let (leaders, best) = (held.leaders, held.best);
                let epoch_errors = held.errors;
                step.push(EpochLeaders {
                    errors: mean,
                    clock,
                    epoch_errors,
                    leaders,
                    best,
                    heads,
                    count,
                });
                (leaders, best)
            }
            None => {
                let per_sample = self.config.scope == Scope::Sample;
                let (rows, by) = if per_sample { (batch, errors) } else { (1, mean) };
                let name = format!("unit{number}.leaders");
                let leaders = step.observable(name, DType::Real, &[rows, predictors]);
                let name = format!("unit{number}.best");
                let best = step.observable(name, DType::U32, &[rows, heads.nets]);
                step.push(SelectLeaders { errors: by, leaders, best, heads, count });
                (leaders, best)
            }
        };
        let value = if self.align() == Align::Output { output } else { z };
        let rule = match self.config.reference {
            ReferenceConfig::Best => Reference::Best,
            ReferenceConfig::Mean => Reference::Mean,
            ReferenceConfig::Random => {
                Reference::Random(Stream::new(Purpose::Reference, number as u32))
            }
        };
        let reference = step.activation("workers.reference", &[heads.nets * heads.width]);
        step.push(AlignmentTarget { value, leaders, best, clock, reference, heads, rule });

        let losses = step.observable(format!("unit{number}.losses"), DType::Real, &[1, 2]);
        let reduction = self.reduction();
        step.push(LocalLosses { errors, value, leaders, reference, losses, heads, reduction });
        for (x, total) in [(losses, state.losses), (leaders, state.leads)] {
            step.push(AccumulateRows { x, clock, total });
        }
        let all = count == heads.workers;
        Leaders { predictions, reference, mask: leaders, all }
    }

    /// Writes the gradient of `leader_weight · L^δ + follower_weight · L^δ̄` with respect to the
    /// logits; none where both weights are 0.
    pub fn gradient(
        &self,
        step: &mut StepWriter<'_>,
        leaders: &Leaders,
        leader_weight: f64,
        follower_weight: f64,
    ) -> Option<TensorId> {
        if leader_weight == 0.0 && follower_weight == 0.0 {
            return None;
        }
        let led = Some((leaders.mask, leaders.reference));
        let weights = (leader_weight, follower_weight);
        Some(self.write_gradient(step, leaders.predictions, led, weights))
    }

    /// Writes the gradient of the sum (or mean, see `reduction`) of all workers' errors with respect to
    /// the logits: every worker learns from the labels.
    pub fn gradient_of_errors(
        &self,
        step: &mut StepWriter<'_>,
        predictions: Predictions,
    ) -> TensorId {
        self.write_gradient(step, predictions, None, (1.0, 0.0))
    }

    fn write_gradient(
        &self,
        step: &mut StepWriter<'_>,
        predictions: Predictions,
        led: Option<(TensorId, TensorId)>,
        (leader_weight, follower_weight): (f64, f64),
    ) -> TensorId {
        let Predictions { heads, logits: z, output, target, .. } = predictions;
        let dz = step.like("workers.gradient", z);
        step.push(LocalGradient {
            z,
            output,
            target,
            leaders: led.map(|(mask, _)| mask),
            reference: led.map(|(_, reference)| reference),
            dz,
            heads,
            loss: self.loss,
            leader_weight,
            follower_weight,
            reduction: self.reduction(),
            align: self.align(),
        });
        dz
    }
}

/// How a single worker's prediction is judged; none in regression.
pub(crate) fn worker_decision(loss: Loss) -> Option<Decision> {
    match loss {
        Loss::CrossEntropy { .. } => Some(Decision::Largest),
        Loss::Binary { one_vs_all, .. } => Some(Decision::Threshold { one_vs_all }),
        Loss::MeanSquared => None,
    }
}
