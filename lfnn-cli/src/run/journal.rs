//! `metrics.jsonl`: a line of JSON for every epoch.
//!
//! It is the one record of what an epoch measured, so nothing in it is dropped without a word. A last line
//! without an end is what a crash leaves; any other line that is no row is damage.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::EpochRow;

/// The file in a run's folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("metrics.jsonl")
}

/// A row as a line of the file.
///
/// # Errors
/// None is expected.
pub(super) fn line(row: &EpochRow) -> anyhow::Result<String> {
    Ok(serde_json::to_string(row)? + "\n")
}

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Its rows, each with its line; the epochs ascend.
    pub(super) entries: Vec<(String, EpochRow)>,
    /// Lines that are no rows: the number, from 1, and why not.
    pub(super) damage: Vec<(usize, String)>,
}

impl Journal {
    /// Reads the file of a run's folder; one that is not there has no lines.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = path(folder);
        match fs::read(&path) {
            Ok(bytes) => Ok(Self::parse(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("{}: cannot read", path.display())),
        }
    }

    fn parse(bytes: Vec<u8>) -> Self {
        let (mut entries, mut damage) = (Vec::new(), Vec::new());
        let mut last = 0;
        for (number, line) in (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n')) {
            match serde_json::from_slice::<EpochRow>(line) {
                Ok(row) if row.epoch > last => {
                    last = row.epoch;
                    let text = String::from_utf8_lossy(line).trim_end().to_owned() + "\n";
                    entries.push((text, row));
                }
                Ok(row) => damage.push((number, format!("epoch {} after epoch {last}", row.epoch))),
                Err(_) if !line.ends_with(b"\n") => {}
                Err(error) => damage.push((number, error.to_string())),
            }
        }
        Self { bytes, entries, damage }
    }
}

/// The rows in a run's folder; none if no epoch is over.
///
/// # Errors
/// A file that cannot be read, or a damaged line.
#[cfg(feature = "report")]
pub(crate) fn read_rows(folder: &Path) -> anyhow::Result<Vec<EpochRow>> {
    let Journal { entries, damage, .. } = Journal::read(folder)?;
    if let Some((number, why)) = damage.first() {
        anyhow::bail!("{}, line {number}: not a row of metrics: {why}", path(folder).display());
    }
    Ok(entries.into_iter().map(|(_, row)| row).collect())
}
