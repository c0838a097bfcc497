//! A run's folder: `config.yaml`, `origin.json`, `metrics.jsonl`, `metrics.csv`, `summary.json` and `checkpoints/`.

mod csv;
mod journal;
mod lock;
mod metrics;
mod names;
mod origin;
#[cfg(feature = "report")]
mod recorded;
mod rows;
mod steps;
mod summary;
pub(crate) mod tensorboard;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::config::RunConfig;
use crate::failure::Failure;
use crate::files::{make_folder, remove, remove_left_overs, write_whole};

use lock::FolderLock;

#[cfg(feature = "report")]
pub(crate) use journal::read_rows;
pub(crate) use metrics::MetricsLog;
pub(crate) use names::newest;
pub(crate) use origin::Origin;
#[cfg(feature = "report")]
pub(crate) use recorded::RecordedRun;
pub(crate) use rows::{EpochRow, R2, lowest, mean, score};
pub(crate) use steps::StepLog;
pub(crate) use summary::{BestSummary, PartCounts, Summary};

/// The configuration in a run's folder.
pub(crate) const CONFIG: &str = "config.yaml";
/// The folder of the checkpoints in it.
const CHECKPOINTS: &str = "checkpoints";

/// The last checkpoint of a run's folder.
pub(crate) fn last_checkpoint(folder: &Path) -> PathBuf {
    folder.join(CHECKPOINTS).join("last.safetensors")
}

/// The folder of a run under way. While it lives no other process trains in the folder.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Whether the folder was made for this run.
    is_new: bool,
    lock: FolderLock,
}

impl RunFolder {
    /// Makes the folder of a new run and writes its configuration.
    ///
    /// # Errors
    /// A folder that cannot be made, or that already holds a run.
    pub(crate) fn create(out: Option<&Path>, config: &RunConfig) -> Result<Self, Failure> {
        let (path, is_new) = match out {
            Some(path) => {
                let is_new = !path.exists();
                make(path)?;
                (path.to_owned(), is_new)
            }
            None => (names::make_unused(config)?, true),
        };
        // Before anything is written: of two processes that start at once, one gets the folder.
        let lock = FolderLock::acquire(&path)?;
        if path.join(CONFIG).exists() {
            return Err(Failure::Usage(anyhow!(
                "{}: this folder already holds a run; --resume continues it, another --out starts a new one",
                path.display()
            )));
        }
        let folder = Self { path, is_new, lock };
        folder.prepare()?;
        // First, because a run is there as soon as its configuration is.
        Origin::now().write(&folder.path)?;
        folder.save_config(config)?;
        Ok(folder)
    }

    /// Opens the folder of a run to resume.
    ///
    /// # Errors
    /// A folder without a run, or with one that is under way.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        check_run(path)?;
        let lock = FolderLock::acquire(path)?;
        let folder = Self { path: path.to_owned(), is_new: false, lock };
        folder.prepare()?;
        Ok(folder)
    }

    /// Makes what is missing, and removes what killed processes left.
    fn prepare(&self) -> Result<(), Failure> {
        let checkpoints = self.path.join(CHECKPOINTS);
        make(&checkpoints)?;
        remove_left_overs(&self.path);
        remove_left_overs(&checkpoints);
        Ok(())
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// A disk that is full, a folder that cannot be written.
    pub(crate) fn save_config(&self, config: &RunConfig) -> Result<(), Failure> {
        Ok(write_whole(&self.config(), config.to_yaml()?.as_bytes())?)
    }

    /// Removes what a run in which nothing has been trained has made.
    pub(crate) fn discard(self) {
        // What cannot be removed is left; the error that led here is what matters.
        let _ = fs::remove_file(self.config());
        Origin::discard(&self.path);
        let _ = fs::remove_dir(self.path.join(CHECKPOINTS));
        tensorboard::discard(&self.path);
        self.lock.remove();
        if self.is_new {
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a second process is kept out; not so where the file system has no locks.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.works()
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The checkpoint from which a run is resumed.
    pub(crate) fn last(&self) -> PathBuf {
        last_checkpoint(&self.path)
    }

    /// The checkpoint of the best epoch.
    pub(crate) fn best(&self) -> PathBuf {
        self.path.join(CHECKPOINTS).join("best.safetensors")
    }

    /// The checkpoint of an epoch, if those are kept.
    pub(crate) fn of_epoch(&self, epoch: usize) -> PathBuf {
        self.path.join(CHECKPOINTS).join(format!("epoch-{epoch:04}.safetensors"))
    }

    /// Removes the checkpoints of the epochs up to this one.
    pub(crate) fn forget_epochs(&self, last: usize) {
        let Ok(entries) = fs::read_dir(self.path.join(CHECKPOINTS)) else { return };
        let epoch_of = |path: &Path| -> Option<usize> {
            path.file_name()?
                .to_str()?
                .strip_prefix("epoch-")?
                .strip_suffix(".safetensors")?
                .parse()
                .ok()
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if epoch_of(&path).is_some_and(|epoch| epoch <= last) {
                // One that cannot be removed now is tried again after the next epoch.
                let _ = remove(&path);
            }
        }
    }
}

/// Whether a folder has a run in it.
///
/// # Errors
/// It has none.
fn check_run(folder: &Path) -> Result<(), Failure> {
    if folder.join(CONFIG).is_file() {
        return Ok(());
    }
    Err(Failure::Usage(anyhow!("{}: no run to resume (there is no {CONFIG})", folder.display())))
}

fn make(path: &Path) -> Result<(), Failure> {
    make_folder(path).map_err(|error| cannot_make(path, error))
}

fn cannot_make(path: &Path, error: std::io::Error) -> Failure {
    let message = format!("{}: cannot make the folder of the run", path.display());
    Failure::Runtime(anyhow::Error::new(error).context(message))
}
