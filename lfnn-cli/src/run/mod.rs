//! A run's folder: `config.yaml`, `metrics.jsonl`, `metrics.csv`, `summary.json` and `checkpoints/`.

mod metrics;
mod summary;
pub(crate) mod tensorboard;

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::checkpoint::write_whole;
use crate::config::RunConfig;
use crate::failure::{Failure, Usage};

pub(crate) use metrics::{EpochRow, LossRow, Metrics, UnitRow, read_rows};
pub(crate) use summary::{BestSummary, Summary};

/// The configuration in a run's folder.
pub(crate) const CONFIG: &str = "config.yaml";

/// The last checkpoint of a run's folder.
pub(crate) fn last_checkpoint(folder: &Path) -> PathBuf {
    folder.join("checkpoints").join("last.safetensors")
}

/// The folder of a run under way. While it lives no other process trains in the folder.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Whether the folder was made for this run.
    is_new: bool,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder of a new run and writes its configuration.
    ///
    /// # Errors
    /// A folder that cannot be made, or that has a run in it already.
    pub(crate) fn create(out: Option<&Path>, config: &RunConfig) -> Result<Self, Failure> {
        let is_new = out.is_none_or(|path| !path.exists());
        let path = match out {
            Some(path) => {
                if path.join(CONFIG).exists() {
                    let message = "has a run in it already; --resume goes on with it, another \
                                   --out starts a new one";
                    return Err(Failure::Usage(anyhow!("{} {message}", path.display())));
                }
                make(path)?;
                path.to_owned()
            }
            None => unused(config)?,
        };
        write_whole(&path.join(CONFIG), config.to_yaml()?.as_bytes())?;
        let lock = lock(&path)?;
        make(&path.join("checkpoints"))?;
        Ok(Self { path, is_new, _lock: lock })
    }

    /// Opens the folder of a run that goes on.
    ///
    /// # Errors
    /// A folder without a run, or with one that is under way.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let lock = lock(path)?;
        make(&path.join("checkpoints"))?;
        Ok(Self { path: path.to_owned(), is_new: false, _lock: lock })
    }

    /// Removes what a run in which nothing has been trained has made.
    pub(crate) fn discard(self) {
        // What cannot be removed is left; the error that led here is what matters.
        let _ = fs::remove_file(self.path.join(CONFIG));
        let _ = fs::remove_dir(self.path.join("checkpoints"));
        tensorboard::discard(&self.path);
        if self.is_new {
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint from which a run goes on.
    pub(crate) fn last(&self) -> PathBuf {
        last_checkpoint(&self.path)
    }

    /// The checkpoint of the best epoch.
    pub(crate) fn best(&self) -> PathBuf {
        self.path.join("checkpoints").join("best.safetensors")
    }

    /// The checkpoint of an epoch, if those are kept.
    pub(crate) fn of_epoch(&self, epoch: usize) -> PathBuf {
        self.path.join("checkpoints").join(format!("epoch-{epoch:04}.safetensors"))
    }
}

/// The configuration of the run in a folder.
///
/// # Errors
/// A folder without a run.
pub(crate) fn saved_config(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join(CONFIG);
    if path.is_file() {
        return Ok(path);
    }
    let folder = folder.display();
    Err(Failure::Usage(anyhow!("{folder}: there is no run to go on with (no {CONFIG})")))
}

/// The newest of the default folders of a configuration.
///
/// # Errors
/// None is there.
pub(crate) fn newest(config: &RunConfig) -> Result<PathBuf, Failure> {
    (1..)
        .map(|number| default_folder(config, number))
        .take_while(|path| path.exists())
        .last()
        .with_context(|| {
            let path = default_folder(config, 1);
            format!("{}: there is no run to go on with; --out names one", path.display())
        })
        .usage()
}

fn default_folder(config: &RunConfig, number: usize) -> PathBuf {
    let name = format!("{}-{}-{}", config.label(), config.method, config.seed);
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().map(|c| if safe(c) { c } else { '-' }).collect();
    let name = if number == 1 { name } else { format!("{name}-{number}") };
    Path::new("runs").join(name)
}

/// Makes the first default folder that is not there yet.
fn unused(config: &RunConfig) -> Result<PathBuf, Failure> {
    make(Path::new("runs"))?;
    for number in 1.. {
        let path = default_folder(config, number);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_make(&path, error)),
        }
    }
    Err(Failure::Runtime(anyhow!("runs: every name is taken")))
}

fn make(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| cannot_make(path, error))
}

fn cannot_make(path: &Path, error: std::io::Error) -> Failure {
    let message = format!("{}: cannot make the folder of the run", path.display());
    Failure::Runtime(anyhow::Error::new(error).context(message))
}

/// Locks the configuration file: the lock ends with the process, however that ends.
fn lock(folder: &Path) -> Result<File, Failure> {
    let path = saved_config(folder)?;
    let file = File::open(&path).with_context(|| format!("{}: cannot open", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let folder = folder.display();
            Err(Failure::Runtime(anyhow!("{folder}: another process trains in this folder")))
        }
        // A file system without locks: go on without.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}
