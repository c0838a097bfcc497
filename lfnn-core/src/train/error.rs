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
    /// Numbers that are not a whole number of images.
    #[error("{found} values are not {images} images of shape {shape:?}, and at least one")]
    ImageValues {
        /// How many numbers there are.
        found: usize,
        /// Images, by their targets.
        images: usize,
        /// Height, width and channels of an image.
        shape: [usize; 3],
    },
    /// An input of a single step that has another number of elements than its shape says.
    #[error("{found} numbers for shape {shape:?}")]
    InputElements {
        /// How many numbers there are.
        found: usize,
        /// The shape of the batch.
        shape: Vec<usize>,
    },
    /// An input of a single step that is neither a batch of images nor one of features.
    #[error(
        "images of shape {found:?}, expected [batch, channels, height, width] or [batch, features]"
    )]
    InputShape {
        /// The shape of the batch.
        found: Vec<usize>,
    },
    /// A pixel or feature that is infinite or not a number.
    #[error("image {image} has a value of {value}, expected a finite number")]
    InputNotFinite {
        /// The image, from 0.
        image: usize,
        /// The number.
        value: f32,
    },
    /// A number to predict that is infinite or not a number.
    #[error("the target of image {image} is {value}, expected a finite number")]
    TargetNotFinite {
        /// The image, from 0.
        image: usize,
        /// The number.
        value: f32,
    },
    /// Classes as the targets of a regression.
    #[error("the targets are classes, but a regression needs numbers to predict")]
    ClassesInRegression,
    /// Numbers as the targets of a classification.
    #[error("the targets are numbers to predict, but the task needs classes")]
    NumbersInClassification,
    /// A label that is no class.
    #[error("example {example} has label {label}, expected below {classes}")]
    Label {
        /// The example, from 0.
        example: usize,
        /// Its label.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// Another number of targets than the batch has examples, or predicted numbers of all examples.
    #[error("{found} targets, expected {expected}")]
    Targets {
        /// How many targets there are.
        found: usize,
        /// How many are expected.
        expected: usize,
    },
    /// More examples than there are in the data set.
    #[error("{found} indices, expected at most the {images} images")]
    Indices {
        /// How many indices there are.
        found: usize,
        /// How many images there are.
        images: usize,
    },
    /// Another number of images than was planned for.
    #[error("{found} images, expected {expected}")]
    Images {
        /// How many images there are.
        found: usize,
        /// How many were planned for.
        expected: usize,
    },
    /// Another number of examples than a batch has.
    #[error("{found} examples, expected a batch of {expected}")]
    Batch {
        /// How many examples there are.
        found: usize,
        /// Examples of a batch.
        expected: usize,
    },
    /// Another number of classes, or of numbers to predict, than those of the training.
    #[error("{found} classes or numbers to predict, expected {expected}")]
    Outputs {
        /// How many there are.
        found: usize,
        /// Those of the network.
        expected: usize,
    },
    /// Classes asked of a network that predicts numbers.
    #[error("a regression predicts numbers, not classes")]
    NoClasses,
    /// Predictions asked of workers that the method does not train.
    #[error("`{method}` trains no workers that could predict")]
    NoWorkers {
        /// The method.
        method: String,
    },
    /// Numbers to score that are not those of so many examples.
    #[error("{found} {what}, expected {columns} for each of {examples} examples, and at least one")]
    Scored {
        /// What they are: probabilities, predictions or values.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many examples there are.
        examples: usize,
        /// How many each has.
        columns: usize,
    },
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
