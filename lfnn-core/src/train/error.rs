//! What goes wrong in training.

use thiserror::Error;

use crate::backend::BackendError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::program::ProgramError;

/// What goes wrong in training.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A step that is not well formed: an error of the layer or method that wrote it.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The backend failed.
    #[error("backend: {0}")]
    Backend(#[source] BackendError),
    /// An error that is not finite, in a hidden unit.
    #[error(
        "unit {unit}: the loss of worker {worker} is not finite (epoch {epoch}, batch {batch} or \
         before); a smaller learning rate or gradient clipping may help"
    )]
    WorkerNotFinite {
        /// The unit, from 1.
        unit: usize,
        /// The worker, from 1.
        worker: usize,
        /// The epoch, from 1.
        epoch: usize,
        /// The batch at which it was noticed, from 1.
        batch: usize,
    },
    /// A loss that is not finite, in the output layer.
    #[error(
        "output layer: the loss is not finite (epoch {epoch}, batch {batch} or before); a smaller \
         learning rate or gradient clipping may help"
    )]
    OutputNotFinite {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch at which it was noticed, from 1.
        batch: usize,
    },
    /// A number that is not finite among those that a saved state holds.
    #[error(
        "`{tensor}` holds a number that is not finite (epoch {epoch}, batch {batch} or before); a smaller \
         learning rate or gradient clipping may help"
    )]
    StateNotFinite {
        /// The tensor.
        tensor: String,
        /// The epoch, from 1.
        epoch: usize,
        /// The batch at which it was noticed, from 1.
        batch: usize,
    },
    /// A saved state that belongs to another network or run.
    #[error("the saved state does not fit: {0}")]
    State(String),
    /// Data that does not fit the network.
    #[error("{0}")]
    Data(String),
    /// Data that cannot be used.
    #[error(transparent)]
    Dataset(#[from] DataError),
    /// Part of another data set than the trainer holds.
    #[error(
        "these examples are not of the data set that is trained on: `Trainer::model` gives a network that predicts \
         and evaluates any"
    )]
    OtherDataset,
    /// An image that the data set does not have.
    #[error("image {index} of {count}: expected an index below {count}")]
    NoImage {
        /// The index asked for.
        index: u32,
        /// How many images there are.
        count: usize,
    },
    /// A step after the last one of an epoch.
    #[error("all {steps} steps of epoch {epoch} are done: end the epoch first")]
    EpochDone {
        /// The epoch, from 1.
        epoch: usize,
        /// Steps of an epoch.
        steps: usize,
    },
    /// The end of an epoch before its last step.
    #[error("only {done} of the {steps} steps of epoch {epoch} are done: the epoch cannot end yet")]
    EpochNotDone {
        /// The epoch, from 1.
        epoch: usize,
        /// Steps that are done.
        done: usize,
        /// Steps of an epoch.
        steps: usize,
    },
    /// A step or an end of an epoch after the last epoch.
    #[error("the training is finished: all {epochs} epochs are done")]
    Finished {
        /// Epochs of the training.
        epochs: usize,
    },
}
