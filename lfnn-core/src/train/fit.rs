//! Whole epochs, for callers who need no more.

use std::fmt;

use super::error::TrainError;
use super::trainer::Trainer;
use crate::metric::Metrics;

/// What an epoch was like.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// How many there are.
    pub epochs: usize,
    /// The learning rate of its last step.
    pub learning_rate: f64,
    /// Metrics of its batches, each before it was learnt from.
    pub metrics: Metrics,
}

impl fmt::Display for EpochReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, epochs, learning_rate: _, metrics } = self;
        write!(f, "epoch {epoch} of {epochs}: loss {:.4}", metrics.loss())?;
        match metrics.error() {
            Some(error) => write!(f, ", error {error:.2} %"),
            None => Ok(()),
        }
    }
}

impl Trainer {
    /// Trains until the last epoch is over, and reports each epoch.
    ///
    /// # Errors
    /// A loss that is not finite, or a failure of the backend.
    pub fn fit(&mut self, mut report: impl FnMut(&EpochReport)) -> Result<(), TrainError> {
        while !self.is_finished() {
            report(&self.fit_epoch()?);
        }
        Ok(())
    }

    /// Trains to the end of the epoch under way.
    ///
    /// # Errors
    /// No epoch that is left, a loss that is not finite, or a failure of the backend.
    pub fn fit_epoch(&mut self) -> Result<EpochReport, TrainError> {
        let mut learning_rate = self.learning_rate();
        while !self.epoch_is_done() {
            learning_rate = self.learning_rate();
            self.train_step()?;
        }
        self.check_finite()?;
        let metrics = self.metrics()?;
        self.end_epoch()?;
        Ok(EpochReport { epoch: self.epoch(), epochs: self.epochs(), learning_rate, metrics })
    }
}
