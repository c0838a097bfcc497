//! When to save, and what.

use std::time::Instant;

use lfnn_core::train::Trainer;

use crate::checkpoint::{self, Metadata};
use crate::config::CheckpointConfig;
use crate::failure::Failure;
use crate::files::write_whole;
use crate::run::RunFolder;

/// Saves a run's checkpoints.
#[derive(Debug)]
pub(super) struct Saver<'a> {
    folder: &'a RunFolder,
    settings: CheckpointConfig,
    batches: usize,
    last: Instant,
}

impl<'a> Saver<'a> {
    /// Nothing has been saved yet.
    pub(super) fn new(folder: &'a RunFolder, settings: CheckpointConfig) -> Self {
        Self { folder, settings, batches: 0, last: Instant::now() }
    }

    /// Counts a batch; says whether it is time to save.
    pub(super) fn is_due(&mut self) -> bool {
        self.batches += 1;
        let CheckpointConfig { every_batches, every_seconds, .. } = self.settings;
        every_batches.is_some_and(|every| self.batches >= every)
            || every_seconds.is_some_and(|every| self.last.elapsed().as_secs_f64() >= every)
    }

    /// The bytes of a checkpoint of the run as it stands.
    ///
    /// # Errors
    /// A number that is not finite: such a run is not worth resuming, and its last checkpoint stays.
    pub(super) fn encode(
        &self,
        trainer: &Trainer,
        metadata: &mut Metadata,
    ) -> Result<Vec<u8>, Failure> {
        trainer.check_finite()?;
        metadata.epoch = trainer.epoch();
        metadata.batch = trainer.step_in_epoch();
        Ok(checkpoint::encode(metadata, &trainer.state()?)?)
    }

    /// Saves the run within an epoch.
    ///
    /// # Errors
    /// As [`Saver::encode`], or a disk that refuses.
    pub(super) fn save(
        &mut self,
        trainer: &Trainer,
        metadata: &mut Metadata,
    ) -> Result<(), Failure> {
        let bytes = self.encode(trainer, metadata)?;
        self.write_last(&bytes)
    }

    /// Saves the run after an epoch; the bytes are those that [`Saver::encode`] gave.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn write_epoch(&mut self, metadata: &Metadata, bytes: &[u8]) -> Result<(), Failure> {
        let Metadata { epoch, best, .. } = *metadata;
        let keep = self.settings.keep_epochs;
        // Before `last`: whoever resumes from there finds the others as they should be.
        if best.is_some_and(|best| best.epoch == epoch) {
            write_whole(&self.folder.best(), bytes)?;
        }
        if keep > 0 {
            write_whole(&self.folder.of_epoch(epoch), bytes)?;
        }
        self.write_last(bytes)?;
        self.forget(epoch);
        Ok(())
    }

    /// Removes the checkpoints of epochs that are no longer kept after this one.
    pub(super) fn forget(&self, epoch: usize) {
        let keep = self.settings.keep_epochs;
        if keep > 0 && epoch > keep {
            self.folder.forget_epochs(epoch - keep);
        }
    }

    fn write_last(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        write_whole(&self.folder.last(), bytes)?;
        self.batches = 0;
        self.last = Instant::now();
        Ok(())
    }
}
