//! `metrics.csv`: the rows of `metrics.jsonl` for a spreadsheet.

use std::path::{Path, PathBuf};

use lfnn_core::metric::MetricValue;

use super::rows::{Entry, EpochRow};

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

/// A row; lists within a column are separated by spaces.
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
    for Entry { images, unit, name, value } in row.entries() {
        let unit = unit.map(|unit| format!("unit{unit}_")).unwrap_or_default();
        let value = match value {
            MetricValue::Single(value) => value.to_string(),
            MetricValue::Workers(values) => {
                values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
            }
        };
        cells.push((format!("{images}_{unit}{name}"), value));
    }
    cells
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}
