//! The commands other than `train`.

pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod devices;
pub(crate) mod early_exit;
pub(crate) mod eval;
pub(crate) mod export;
#[cfg(feature = "report")]
pub(crate) mod plot;
pub(crate) mod predict;
pub(crate) mod recipes;
#[cfg(feature = "report")]
pub(crate) mod report;
pub(crate) mod step;

use std::error::Error;
use std::path::Path;

use crate::failure::Failure;

/// A checkpoint carries its own configuration: what does not fit there is no mistake of the user's.
pub(crate) fn of_checkpoint(path: &Path, error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Runtime(anyhow::Error::from(error).context(path.display().to_string()))
}
