//! The commands other than `train`.

pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod devices;
pub(crate) mod eval;
pub(crate) mod export;
#[cfg(feature = "report")]
pub(crate) mod plot;
pub(crate) mod predict;
pub(crate) mod recipes;
pub(crate) mod step;

use std::path::Path;

use lfnn_core::train::TrainError;

use crate::failure::Failure;

/// A checkpoint carries its own configuration: what does not fit there is no mistake of the user's.
fn of_checkpoint<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    error: TrainError<E>,
) -> Failure {
    Failure::Runtime(anyhow::Error::from(error).context(path.display().to_string()))
}
