//! A run as its folder tells of it, for those who read it and do not train.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{CONFIG, EpochRow, Origin, Summary, read_rows};
use crate::config::{RunConfig, read_saved};
use crate::failure::{Failure, Result, Usage};

/// A run that has trained at least an epoch.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRun {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The folder's name, which tells it from the other runs.
    pub(crate) name: String,
    /// Its configuration, if the folder has it.
    pub(crate) config: Option<RunConfig>,
    /// What came out, if it has come to its end.
    pub(crate) summary: Option<Summary>,
    /// Its command, date and machine, if the folder has them.
    pub(crate) origin: Option<Origin>,
    /// Its epochs.
    pub(crate) rows: Vec<EpochRow>,
}

impl RecordedRun {
    /// Reads the runs of some folders. Those of one name get a number each.
    ///
    /// # Errors
    /// A folder without a run's metrics, or a file that cannot be read.
    pub(crate) fn read_all(folders: &[PathBuf]) -> Result<Vec<Self>> {
        let mut runs =
            folders.iter().map(|folder| Self::read(folder)).collect::<Result<Vec<_>>>()?;
        for at in 1..runs.len() {
            let is_same = |run: &&Self| run.name.split(" (").next() == Some(&runs[at].name);
            let same = runs[..at].iter().filter(is_same).count();
            if same > 0 {
                runs[at].name += &format!(" ({})", same + 1);
            }
        }
        Ok(runs)
    }

    fn read(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            let message = "no such folder; expected a run's folder";
            return Err(Failure::Usage(anyhow!("{}: {message}", folder.display())));
        }
        let rows = read_rows(folder)?;
        if rows.is_empty() {
            let message = "no epochs to show (metrics.jsonl is missing or empty)";
            return Err(anyhow!("{}: {message}", folder.display())).usage();
        }
        let name = folder.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_owned()));
        let name =
            name.map_or_else(|| folder.display().to_string(), |name| name.display().to_string());
        let config = folder.join(CONFIG);
        Ok(Self {
            folder: folder.to_owned(),
            name,
            config: config.is_file().then(|| read_saved(&config)).transpose()?,
            summary: Summary::read(folder)?,
            origin: Origin::read(folder),
            rows,
        })
    }
}
