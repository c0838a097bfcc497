//! The metrics of a run: in memory, `metrics.jsonl`, `metrics.csv` and TensorBoard's file.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::journal::{self, Journal};
use super::{EpochRow, csv, tensorboard};
use crate::files::{append, sync, write_whole};

/// The metrics of a run, in memory and in its folder.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    folder: PathBuf,
    rows: Vec<EpochRow>,
}

impl MetricsLog {
    /// The metrics in a folder after `epochs` epochs. Rows of later epochs go, since these are trained again, and
    /// every other row stays as it is. Notes say what is damaged or missing.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn open(folder: &Path, epochs: usize) -> anyhow::Result<(Self, Vec<String>)> {
        let Journal { bytes, mut entries, damage } = Journal::read(folder)?;
        entries.retain(|(_, row)| row.epoch <= epochs);
        let mut notes = Vec::new();
        let path = journal::path(folder);
        if let Some((number, why)) = damage.first() {
            let kept = keep_aside(&path, &bytes)?;
            let others = match damage.len() - 1 {
                0 => String::new(),
                others => format!(", and so are {others} more"),
            };
            notes.push(format!(
                "{}: line {number} is damaged{others} ({why}); the file as it was is now {}",
                path.display(),
                kept.display()
            ));
        }
        let rows: Vec<EpochRow> = entries.iter().map(|(_, row)| row.clone()).collect();
        let missing: Vec<String> = (1..=epochs)
            .filter(|epoch| rows.binary_search_by_key(epoch, |row| row.epoch).is_err())
            .map(|epoch| epoch.to_string())
            .collect();
        if !missing.is_empty() {
            notes.push(format!(
                "{}: the metrics of these epochs are missing: {}",
                path.display(),
                missing.join(", ")
            ));
        }
        let lines: String = entries.into_iter().map(|(line, _)| line).collect();
        if lines.as_bytes() != bytes {
            write_whole(&path, lines.as_bytes())?;
        }
        let table = csv::table(&rows);
        let csv = csv::path(folder);
        if csv.exists() && std::fs::read(&csv).is_ok_and(|found| found != table.as_bytes())
            || !csv.exists() && !table.is_empty()
        {
            write_whole(&csv, table.as_bytes())?;
        }
        tensorboard::resume(folder, &rows)?;
        Ok((Self { folder: folder.to_owned(), rows }, notes))
    }

    /// The rows so far.
    pub(crate) fn rows(&self) -> &[EpochRow] {
        &self.rows
    }

    /// Adds a row to memory and files. `metrics.jsonl` is on the disk when this returns, so that no checkpoint
    /// is newer than the metrics.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn push(&mut self, row: EpochRow) -> anyhow::Result<()> {
        let journal = journal::path(&self.folder);
        append(&journal, journal::line(&row)?.as_bytes())?;
        sync(&journal)?;
        let header = if self.rows.is_empty() { csv::header(&row) } else { String::new() };
        append(&csv::path(&self.folder), format!("{header}{}", csv::line(&row)).as_bytes())?;
        tensorboard::push(&self.folder, &row)?;
        self.rows.push(row);
        Ok(())
    }

    /// Returns when all files are on the disk.
    ///
    /// # Errors
    /// A disk that fails.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        for path in [csv::path(&self.folder), tensorboard::path(&self.folder)] {
            if path.exists() {
                sync(&path)?;
            }
        }
        Ok(())
    }
}

/// Writes bytes beside a file, under a name that is free.
fn keep_aside(path: &Path, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let name = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        PathBuf::from(name)
    };
    let free = (1..).map(name).find(|path| !path.exists());
    let free = free.with_context(|| format!("{}: no free name for a copy", path.display()))?;
    write_whole(&free, bytes)?;
    Ok(free)
}
