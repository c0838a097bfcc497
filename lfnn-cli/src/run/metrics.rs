//! `metrics.jsonl` and `metrics.csv`: a row for every epoch.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use lfnn_core::config::Scope;
use lfnn_core::train::{Evaluation, TrainingMetrics};
use serde::{Deserialize, Serialize};

use crate::checkpoint::write_whole;

/// An epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochRow {
    /// Which one, from 1.
    pub(crate) epoch: usize,
    /// The learning rate of its last step.
    pub(crate) learning_rate: f64,
    /// While training: each example as it was seen.
    pub(crate) train: LossRow,
    /// After the epoch, if images are held out.
    pub(crate) validation: Option<LossRow>,
    /// After the epoch.
    pub(crate) test: LossRow,
    /// Hidden units, where workers learn.
    pub(crate) units: Vec<UnitRow>,
    /// Seconds of training, without evaluation and saving.
    pub(crate) seconds: f64,
    /// Training images per second of these.
    pub(crate) images_per_second: f64,
    /// Largest memory of the process so far.
    pub(crate) peak_memory_bytes: u64,
}

/// Global loss and error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossRow {
    /// Number of images.
    pub(crate) examples: usize,
    /// Mean global loss.
    pub(crate) loss: f64,
    /// Wrong predictions in percent.
    pub(crate) error: Option<f64>,
}

/// A hidden unit's workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UnitRow {
    /// Which unit, from 1.
    pub(crate) unit: usize,
    /// Mean leader loss; where all workers learn from the labels, that of them all.
    pub(crate) leader_loss: f64,
    /// Mean follower loss; 0 without followers.
    pub(crate) follower_loss: f64,
    /// Mean error ℓ of each worker while training.
    pub(crate) worker_losses: Vec<f64>,
    /// Wrong predictions of each worker while training, in percent.
    pub(crate) worker_errors: Vec<f64>,
    /// The same on the images held out.
    pub(crate) validation_worker_errors: Option<Vec<f64>>,
    /// The same on the test images.
    pub(crate) test_worker_errors: Vec<f64>,
    /// How often each worker led: in batches, or in examples if leaders are chosen per sample. Empty
    /// where the method chooses none.
    pub(crate) leads: Vec<u64>,
    /// The same in percent of all batches or examples.
    pub(crate) leads_percent: Vec<f64>,
}

impl From<&Evaluation> for LossRow {
    fn from(evaluation: &Evaluation) -> Self {
        let Evaluation { examples, loss, error, .. } = *evaluation;
        Self { examples, loss, error }
    }
}

impl From<&TrainingMetrics> for LossRow {
    fn from(metrics: &TrainingMetrics) -> Self {
        let TrainingMetrics { examples, loss, error, .. } = *metrics;
        Self { examples, loss, error }
    }
}

impl UnitRow {
    /// Joins what training and evaluations say of the units.
    pub(crate) fn join(
        train: &TrainingMetrics,
        validation: Option<&Evaluation>,
        test: &Evaluation,
        scope: Scope,
    ) -> Vec<Self> {
        let chances = if scope == Scope::Sample { train.examples } else { train.batches };
        let percent = |&count: &u64| 100.0 * count as f64 / chances.max(1) as f64;
        let errors = |evaluation: &Evaluation, at: usize| {
            evaluation.units.get(at).map(|unit| unit.worker_errors.clone())
        };
        let join = |(at, unit): (usize, &lfnn_core::train::UnitMetrics)| Self {
            unit: at + 1,
            leader_loss: unit.leader_loss,
            follower_loss: unit.follower_loss,
            worker_losses: unit.worker_losses.clone(),
            worker_errors: unit.worker_errors.clone(),
            validation_worker_errors: validation.and_then(|evaluation| errors(evaluation, at)),
            test_worker_errors: errors(test, at).unwrap_or_default(),
            leads: unit.leads.clone(),
            leads_percent: unit.leads.iter().map(percent).collect(),
        };
        train.units.iter().enumerate().map(join).collect()
    }
}

/// The metrics of a run, in memory and in its folder.
#[derive(Debug)]
pub(crate) struct Metrics {
    jsonl: PathBuf,
    csv: PathBuf,
    rows: Vec<EpochRow>,
}

impl Metrics {
    /// The metrics in a folder, without those of epochs after the first `epochs`.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn open(folder: &Path, epochs: usize) -> anyhow::Result<Self> {
        let (jsonl, csv) = (folder.join("metrics.jsonl"), folder.join("metrics.csv"));
        let text = match fs::read_to_string(&jsonl) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("{}: cannot read", jsonl.display()));
            }
        };
        // The last line may be half written.
        let read = |line: &str| serde_json::from_str::<EpochRow>(line).ok();
        let rows: Vec<EpochRow> =
            text.lines().map_while(read).take_while(|row| row.epoch <= epochs).collect();
        let metrics = Self { jsonl, csv, rows };
        if !text.is_empty() {
            metrics.rewrite()?;
        }
        Ok(metrics)
    }

    /// The rows so far.
    pub(crate) fn rows(&self) -> &[EpochRow] {
        &self.rows
    }

    /// Adds a row to memory and files.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn push(&mut self, row: EpochRow) -> anyhow::Result<()> {
        append(&self.jsonl, &format!("{}\n", serde_json::to_string(&row)?))?;
        let header = if self.rows.is_empty() { header(&row) } else { String::new() };
        append(&self.csv, &format!("{header}{}", line(&row)))?;
        self.rows.push(row);
        Ok(())
    }

    fn rewrite(&self) -> anyhow::Result<()> {
        let (mut jsonl, mut csv) = (String::new(), String::new());
        for row in &self.rows {
            if csv.is_empty() {
                csv += &header(row);
            }
            csv += &line(row);
            jsonl += &format!("{}\n", serde_json::to_string(row)?);
        }
        write_whole(&self.jsonl, jsonl.as_bytes())?;
        write_whole(&self.csv, csv.as_bytes())
    }
}

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{}: cannot write", path.display()))
}

/// Names of the columns.
fn header(row: &EpochRow) -> String {
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
fn line(row: &EpochRow) -> String {
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
