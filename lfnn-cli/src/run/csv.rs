//! `metrics.csv`: the rows of `metrics.jsonl` for a spreadsheet.

use std::path::{Path, PathBuf};

use super::EpochRow;

/// The file in a run's folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("metrics.csv")
}

/// The whole file.
pub(super) fn table<'a>(rows: impl Iterator<Item = &'a EpochRow>) -> String {
    let mut text = String::new();
    for row in rows {
        if text.is_empty() {
            text += &header(row);
        }
        text += &line(row);
    }
    text
}

/// Names of the columns.
pub(super) fn header(row: &EpochRow) -> String {
    let mut columns: Vec<String> = [
        "epoch",
        "learning_rate",
        "train_loss",
        "train_error",
        "validation_loss",
        "validation_error",
        "test_loss",
        "test_error",
        "seconds",
        "images_per_second",
        "peak_memory_bytes",
    ]
    .map(str::to_owned)
    .to_vec();
    for unit in &row.units {
        columns.extend(
            [
                "leader_loss",
                "follower_loss",
                "best_worker_test_error",
                "mean_worker_test_error",
                "worker_errors",
                "test_worker_errors",
                "leads",
            ]
            .map(|name| format!("unit{}_{name}", unit.unit)),
        );
    }
    columns.join(",") + "\n"
}

/// A row; lists within a column are separated by spaces.
pub(super) fn line(row: &EpochRow) -> String {
    fn list<T: ToString>(values: &[T]) -> String {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
    let optional = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut columns = vec![
        row.epoch.to_string(),
        row.learning_rate.to_string(),
        row.train.loss.to_string(),
        optional(row.train.error),
        optional(row.validation.map(|validation| validation.loss)),
        optional(row.validation.and_then(|validation| validation.error)),
        row.test.loss.to_string(),
        optional(row.test.error),
        row.seconds.to_string(),
        row.images_per_second.to_string(),
        row.peak_memory_bytes.to_string(),
    ];
    for unit in &row.units {
        let errors = &unit.test_worker_errors;
        let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
        columns.extend([
            unit.leader_loss.to_string(),
            unit.follower_loss.to_string(),
            errors.iter().copied().fold(f64::INFINITY, f64::min).to_string(),
            mean.to_string(),
            list(&unit.worker_errors),
            list(errors),
            list(&unit.leads),
        ]);
    }
    columns.join(",") + "\n"
}
