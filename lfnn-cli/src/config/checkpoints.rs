//! When a run saves, and when it stops early.

use lfnn_core::config::{ConfigError, Range};
use serde::{Deserialize, Serialize};

const COUNT: Range = Range::at_least(1);
const SECONDS: Range = Range::positive();

/// When to save, and when to stop early.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CheckpointConfig {
    /// Also save `last` within an epoch, every N batches; never if null.
    #[cfg_attr(test, schemars(transform = { COUNT }))]
    pub(crate) every_batches: Option<usize>,
    /// Also save `last` within an epoch, every N seconds; never if null. It does not change the result.
    #[cfg_attr(test, schemars(transform = { SECONDS }))]
    pub(crate) every_seconds: Option<f64>,
    /// Number of last epochs whose checkpoints `epoch-NNNN.safetensors` are kept.
    pub(crate) keep_epochs: usize,
    /// Stop after this many epochs without a better validation error; never if null.
    #[cfg_attr(test, schemars(transform = { COUNT }))]
    pub(crate) patience: Option<usize>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every_batches: None, every_seconds: Some(300.0), keep_epochs: 0, patience: None }
    }
}

impl CheckpointConfig {
    /// Checks every number; `validation` is the number of images held out.
    ///
    /// # Errors
    /// A number out of range, or patience without images held out.
    pub(super) fn validate(&self, validation: usize) -> Result<(), ConfigError> {
        COUNT.check_some("checkpoints.every_batches", self.every_batches)?;
        SECONDS.check_some("checkpoints.every_seconds", self.every_seconds)?;
        COUNT.check_some("checkpoints.patience", self.patience)?;
        if self.patience.is_some() && validation == 0 {
            return Err(ConfigError::new(
                "checkpoints.patience",
                "early stopping needs the validation error, but `dataset.validation` holds out no images",
            ));
        }
        Ok(())
    }
}
