//! How a network is trained.

use serde::{Deserialize, Serialize};

use super::{ConfigError, OptimizerConfig, Range, ScheduleConfig};

const BATCH_SIZE: Range = Range::at_least(1);
/// A training counts its steps in 32 bits.
const EPOCHS: Range = Range::at_least(1).at_most(u32::MAX as usize);
const CLIP_NORM: Range = Range::positive();
const LABEL_SMOOTHING: Range = Range::below_one();

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
    /// Largest norm of the gradients that are applied together: those of one unit in a local method,
    /// those of the whole network otherwise. No limit if null.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = { CLIP_NORM }))]
    pub clip_norm: Option<f64>,
    /// Share of the target that is spread evenly over the classes.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(transform = { LABEL_SMOOTHING }))]
    pub label_smoothing: f64,
}

impl TrainingConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        BATCH_SIZE.check("training.batch_size", self.batch_size)?;
        EPOCHS.check("training.epochs", self.epochs)?;
        CLIP_NORM.check_some("training.clip_norm", self.clip_norm)?;
        check_label_smoothing(self.label_smoothing)?;
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}

/// Checks the share of the target that is spread evenly over the classes.
pub(crate) fn check_label_smoothing(share: f64) -> Result<(), ConfigError> {
    LABEL_SMOOTHING.check("training.label_smoothing", share)
}
