//! When to save, and what.

use std::fs;
use std::time::Instant;

use lfnn_core::backend::Backend;
use lfnn_core::train::Trainer;

use crate::checkpoint::{self, Metadata, write_whole};
use crate::config::CheckpointConfig;
use crate::failure::Failure;
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

    /// Saves the run as it stands, to go on from.
    ///
    /// # Errors
    /// An error that is not finite, or a disk that refuses.
    pub(super) fn save<B: Backend>(
        &mut self,
        trainer: &Trainer<B>,
        metadata: &mut Metadata,
    ) -> Result<Vec<u8>, Failure> {
        trainer.check_finite()?;
        metadata.epoch = trainer.epoch();
        metadata.batch = trainer.step_in_epoch();
        let bytes = checkpoint::encode(metadata, &trainer.state()?)?;
        write_whole(&self.folder.last(), &bytes)?;
        self.batches = 0;
        self.last = Instant::now();
        Ok(bytes)
    }

    /// Saves the run after an epoch.
    ///
    /// # Errors
    /// See [`Saver::save`].
    pub(super) fn save_epoch<B: Backend>(
        &mut self,
        trainer: &Trainer<B>,
        metadata: &mut Metadata,
    ) -> Result<(), Failure> {
        let epoch = trainer.epoch();
        let is_best = metadata.best.is_some_and(|best| best.epoch == epoch);
        let keep = self.settings.keep_epochs;
        if is_best || keep > 0 {
            // Before `last`: whoever goes on from there finds the others as they should be.
            metadata.epoch = epoch;
            metadata.batch = trainer.step_in_epoch();
            trainer.check_finite()?;
            let state = trainer.state()?;
            if is_best {
                checkpoint::save(&self.folder.best(), metadata, &state)?;
            }
            if keep > 0 {
                checkpoint::save(&self.folder.of_epoch(epoch), metadata, &state)?;
            }
        }
        self.save(trainer, metadata)?;
        if keep > 0 && epoch > keep {
            // The oldest may be gone already.
            let _ = fs::remove_file(self.folder.of_epoch(epoch - keep));
        }
        Ok(())
    }
}
