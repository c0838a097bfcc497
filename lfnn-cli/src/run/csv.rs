//! `metrics.csv`: the rows of `metrics.jsonl` for a spreadsheet, one number in a cell.

use std::path::{Path, PathBuf};

use super::rows::EpochRow;

/// The file in a run's folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("metrics.csv")
}

/// The whole file.
pub(super) fn table(rows: &[EpochRow]) -> String {
    rows.first().map(header).into_iter().chain(rows.iter().map(line)).collect()
}

/// Names of the columns.
pub(super) fn header(row: &EpochRow) -> String {
    join(cells(row).into_iter().map(|(name, _)| name))
}

/// A row.
pub(super) fn line(row: &EpochRow) -> String {
    join(cells(row).into_iter().map(|(_, value)| value))
}

fn cells(row: &EpochRow) -> Vec<(String, String)> {
    let cell = |name: &str, value: String| (name.to_owned(), value);
    let mut cells = vec![
        cell("epoch", row.epoch.to_string()),
        cell("learning_rate", row.learning_rate.to_string()),
        cell("seconds", row.seconds.to_string()),
        cell("images_per_second", row.images_per_second.to_string()),
        cell("peak_memory_bytes", row.peak_memory_bytes.to_string()),
    ];
    for entry in row.entries() {
        let name = format!("{}_{}{}", entry.images, entry.place("_"), entry.name);
        cells.push((name, entry.value.to_string()));
    }
    cells
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}
