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

use anyhow::anyhow;
use lfnn_core::program::TensorId;
use lfnn_core::train::{Predictor, StateTensor, TrainError};

use crate::checkpoint::Checkpoint;
use crate::failure::Failure;

/// The predictor of a checkpoint, with the saved tensors that it reads.
///
/// # Errors
/// A network that cannot be, or tensors that are missing or have other shapes.
fn predictor(
    Checkpoint { metadata, state }: &Checkpoint,
) -> anyhow::Result<(Predictor, Vec<(TensorId, &StateTensor)>)> {
    let network = &metadata.config.network;
    let predictor = Predictor::new(network, metadata.image, metadata.classes.len())?;
    let parameters = predictor
        .parameters(state)
        .map_err(|message| anyhow!("the saved state does not fit: {message}"))?;
    Ok((predictor, parameters))
}

/// A checkpoint carries its own configuration: what does not fit there is no mistake of the user's.
fn of_checkpoint<E: std::error::Error + Send + Sync + 'static>(error: TrainError<E>) -> Failure {
    Failure::Runtime(error.into())
}
