//! Shorter training, for experiments.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Range};

const BATCHES: Range = Range::at_least(1);

/// Shorter training, for experiments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Train on at most this many batches of each epoch; unlimited if null.
    #[cfg_attr(feature = "schema", schemars(transform = { BATCHES }))]
    pub batches: Option<usize>,
    /// Train on the same few batches in every epoch, without augmentation; off if null.
    #[cfg_attr(feature = "schema", schemars(transform = { BATCHES }))]
    pub overfit_batches: Option<usize>,
}

impl Limits {
    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        BATCHES.check_some("limits.batches", self.batches)?;
        BATCHES.check_some("limits.overfit_batches", self.overfit_batches)
    }
}
