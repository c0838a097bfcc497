//! The learning-rate schedule.

use serde::{Deserialize, Serialize};

/// How the learning rate changes from step to step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// It does not.
    #[default]
    Constant,
    /// Multiplied by `gamma` every `epochs` epochs.
    Step {
        /// Epochs between changes.
        epochs: usize,
        /// Factor.
        gamma: f64,
    },
    /// Linear warm-up, then half a cosine down to `floor`.
    Cosine {
        /// Epochs of warm-up; may be a fraction.
        #[serde(default)]
        warmup_epochs: f64,
        /// Last learning rate, as a share of the largest.
        #[serde(default)]
        floor: f64,
    },
    /// PyTorch's `OneCycleLR`: a cosine up from `lr / start_divisor`, a cosine down to
    /// `lr / start_divisor / end_divisor`.
    OneCycle {
        /// Share of the steps on the way up.
        #[serde(default = "one_cycle_warmup")]
        warmup: f64,
        /// See above.
        #[serde(default = "one_cycle_start")]
        start_divisor: f64,
        /// See above.
        #[serde(default = "one_cycle_end")]
        end_divisor: f64,
    },
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
