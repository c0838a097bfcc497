//! The learning-rate schedule.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Range};

const STEP_EPOCHS: Range = Range::at_least(1);
const GAMMA: Range = Range::positive();
const WARMUP_EPOCHS: Range = Range::at_least(0);
const FLOOR: Range = Range::at_least(0).at_most(1);
const WARMUP: Range = Range::below_one();
const DIVISOR: Range = Range::positive();

/// How the learning rate changes from step to step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// The learning rate does not change.
    #[default]
    Constant,
    /// The learning rate is multiplied by `gamma` every `epochs` epochs.
    Step {
        /// Epochs between changes.
        #[cfg_attr(feature = "schema", schemars(transform = { STEP_EPOCHS }))]
        epochs: usize,
        /// Factor of a change.
        #[cfg_attr(feature = "schema", schemars(transform = { GAMMA }))]
        gamma: f64,
    },
    /// Linear warm-up, then half a cosine down to `floor`.
    Cosine {
        /// Epochs of warm-up. A fraction is allowed.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schemars(transform = { WARMUP_EPOCHS }))]
        warmup_epochs: f64,
        /// Last learning rate as a share of the largest.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schemars(transform = { FLOOR }))]
        floor: f64,
    },
    /// Linear warm-up, then a straight line down to `floor`.
    Linear {
        /// Epochs of warm-up. A fraction is allowed.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schemars(transform = { WARMUP_EPOCHS }))]
        warmup_epochs: f64,
        /// Last learning rate as a share of the largest.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schemars(transform = { FLOOR }))]
        floor: f64,
    },
    /// PyTorch's `OneCycleLR`: a cosine up to `lr`, then a cosine down.
    OneCycle {
        /// Share of the steps on the way up.
        #[serde(default = "one_cycle_warmup")]
        #[cfg_attr(feature = "schema", schemars(transform = { WARMUP }))]
        warmup: f64,
        /// The first learning rate is `lr` divided by this.
        #[serde(default = "one_cycle_start")]
        #[cfg_attr(feature = "schema", schemars(transform = { DIVISOR }))]
        start_divisor: f64,
        /// The last learning rate is the first one divided by this.
        #[serde(default = "one_cycle_end")]
        #[cfg_attr(feature = "schema", schemars(transform = { DIVISOR }))]
        end_divisor: f64,
    },
}

impl ScheduleConfig {
    /// Whether the learning rate of a step depends on how many epochs there are. Where it does not, a finished
    /// training can be continued.
    pub fn depends_on_epochs(&self) -> bool {
        match self {
            ScheduleConfig::Constant | ScheduleConfig::Step { .. } => false,
            ScheduleConfig::Cosine { .. }
            | ScheduleConfig::Linear { .. }
            | ScheduleConfig::OneCycle { .. } => true,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match *self {
            ScheduleConfig::Constant => Ok(()),
            ScheduleConfig::Step { epochs, gamma } => {
                STEP_EPOCHS.check("training.schedule.step.epochs", epochs)?;
                GAMMA.check("training.schedule.step.gamma", gamma)
            }
            ScheduleConfig::Cosine { warmup_epochs, floor } => {
                WARMUP_EPOCHS.check("training.schedule.cosine.warmup_epochs", warmup_epochs)?;
                FLOOR.check("training.schedule.cosine.floor", floor)
            }
            ScheduleConfig::Linear { warmup_epochs, floor } => {
                WARMUP_EPOCHS.check("training.schedule.linear.warmup_epochs", warmup_epochs)?;
                FLOOR.check("training.schedule.linear.floor", floor)
            }
            ScheduleConfig::OneCycle { warmup, start_divisor, end_divisor } => {
                WARMUP.check("training.schedule.one_cycle.warmup", warmup)?;
                DIVISOR.check("training.schedule.one_cycle.start_divisor", start_divisor)?;
                DIVISOR.check("training.schedule.one_cycle.end_divisor", end_divisor)
            }
        }
    }
}

fn one_cycle_warmup() -> f64 {
    0.3
}

fn one_cycle_start() -> f64 {
    25.0
}

fn one_cycle_end() -> f64 {
    1e4
}
