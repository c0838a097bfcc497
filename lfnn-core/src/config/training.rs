//! How a network is trained.

use serde::{Deserialize, Serialize};

use super::{ConfigError, OptimizerConfig, Range, ScheduleConfig};

const BATCH_SIZE: Range = Range::at_least(1);
/// A training counts its steps in 32 bits.
const EPOCHS: Range = Range::at_least(1).at_most(u32::MAX as usize);
const OUTPUT_LR_FACTOR: Range = Range::positive();
const CLIP_NORM: Range = Range::positive();
const LABEL_SMOOTHING: Range = Range::below_one();
/// More would make a program of more than a million operations.
const DIRECTIONS: Range = Range::at_least(1).at_most(1000);

/// How a network is trained, whatever the method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Examples per step. The last, incomplete batch of an epoch is left out.
    ///
    /// At least 2 if a batch normalisation gets one value per channel and example.
    #[cfg_attr(feature = "schema", schemars(transform = { BATCH_SIZE }))]
    pub batch_size: usize,
    /// Passes over the training images.
    ///
    /// All epochs together have at most 2³² − 1 steps.
    #[cfg_attr(feature = "schema", schemars(transform = { EPOCHS }))]
    pub epochs: usize,
    /// Optimiser.
    pub optimizer: OptimizerConfig,
    /// Learning-rate schedule.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Factor on the learning rate of the output layer.
    ///
    /// The decoupled weight decay of AdamW has the factor too.
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schemars(transform = { OUTPUT_LR_FACTOR }))]
    pub output_lr_factor: f64,
    /// Largest norm of the gradients that are applied together: those of one unit in a local method,
    /// those of the whole network otherwise. No limit if null.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = { CLIP_NORM }))]
    pub clip_norm: Option<f64>,
    /// Share of the target that is spread evenly over the classes.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = { LABEL_SMOOTHING }))]
    pub label_smoothing: f64,
    /// Factors on the losses of the classes, in the output layer and of workers that train on the labels: a number for
    /// each class, or `balanced`. All are 1 if null.
    ///
    /// With `balanced` class k of K has N / (K · nₖ), where nₖ of the N training examples are of it: each class has
    /// the same share of the loss. Leaders are chosen by the losses with these factors, and the training losses that
    /// are reported have them; evaluation has none.
    #[serde(default)]
    pub class_weights: Option<ClassWeights>,
    /// Random directions of a step, for forward gradients: the mean of their estimates is taken.
    ///
    /// The variance of the mean falls as 1 over their number. Each takes another pass of tangents and memory for it.
    #[serde(default = "one_direction")]
    #[cfg_attr(feature = "schema", schemars(transform = { DIRECTIONS }))]
    pub directions: usize,
}

fn one_direction() -> usize {
    1
}

/// Factors on the losses of the classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected `balanced`, or a list with a number for each class")]
pub enum ClassWeights {
    /// By a rule.
    Rule(ClassWeightRule),
    /// One for each class, in the order of the labels.
    Each(Vec<f64>),
}

/// How the factors on the losses of the classes are made of the training examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClassWeightRule {
    /// N / (K · nₖ) for class k with nₖ of the N training examples, of which K classes have some: each class has the
    /// same share of the loss, and the mean over the examples is 1.
    Balanced,
}

impl ClassWeights {
    /// Factors that give each class the same share of the loss.
    pub const BALANCED: Self = Self::Rule(ClassWeightRule::Balanced);

    /// The factor of each of so many classes, for training examples with these labels.
    ///
    /// # Errors
    /// Another number of factors.
    pub fn factors(
        &self,
        classes: usize,
        labels: impl Iterator<Item = u32>,
    ) -> Result<Vec<f32>, ConfigError> {
        match self {
            Self::Each(factors) => {
                let fail = |message| Err(ConfigError::new("training.class_weights", message));
                if factors.len() != classes {
                    let found = factors.len();
                    return fail(format!(
                        "{found} numbers, expected {classes}: one for each class"
                    ));
                }
                Ok(factors.iter().map(|&factor| factor as f32).collect())
            }
            Self::Rule(ClassWeightRule::Balanced) => {
                let mut counts = vec![0usize; classes];
                for label in labels {
                    if let Some(count) = counts.get_mut(label as usize) {
                        *count += 1;
                    }
                }
                let present = counts.iter().filter(|&&count| count > 0).count() as f64;
                let examples = counts.iter().sum::<usize>() as f64;
                let factor = |&count: &usize| match count {
                    0 => 1.0,
                    count => (examples / (present * count as f64)) as f32,
                };
                Ok(counts.iter().map(factor).collect())
            }
        }
    }

    /// Checks every factor.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let Self::Each(factors) = self else { return Ok(()) };
        let is_factor = |factor: &f64| *factor >= 0.0 && (*factor as f32).is_finite();
        match factors.iter().find(|factor| !is_factor(factor)) {
            Some(factor) => {
                let message = format!("{factor}, expected at least 0 and a finite number");
                Err(ConfigError::new("training.class_weights", message))
            }
            None => Ok(()),
        }
    }
}

impl TrainingConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        BATCH_SIZE.check("training.batch_size", self.batch_size)?;
        EPOCHS.check("training.epochs", self.epochs)?;
        OUTPUT_LR_FACTOR.check("training.output_lr_factor", self.output_lr_factor)?;
        CLIP_NORM.check_some("training.clip_norm", self.clip_norm)?;
        check_label_smoothing(self.label_smoothing)?;
        DIRECTIONS.check("training.directions", self.directions)?;
        self.class_weights.as_ref().map_or(Ok(()), ClassWeights::validate)?;
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}

fn one() -> f64 {
    1.0
}

/// Checks the share of the target that is spread evenly over the classes.
pub(crate) fn check_label_smoothing(share: f64) -> Result<(), ConfigError> {
    LABEL_SMOOTHING.check("training.label_smoothing", share)
}
