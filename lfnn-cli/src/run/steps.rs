//! `steps.jsonl`: on request, the metrics of every few training steps.
//!
//! A step adds to sums on the device, and a row is the difference of two readings. So the log changes nothing that is
//! computed, and a row after a resumption needs the rows before it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lfnn_core::metric::{MetricValue, Metrics};
use serde::{Deserialize, Serialize};

use crate::files::{append, write_whole};

/// Some steps of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StepRow {
    /// From 1.
    epoch: usize,
    /// The last of the steps, counted from 1 in the epoch.
    step: usize,
    /// Its learning rate.
    learning_rate: f64,
    /// Of these steps alone.
    train: Metrics,
}

/// The log of a run under way.
#[derive(Debug)]
pub(crate) struct StepLog {
    path: PathBuf,
    every: usize,
    /// The epoch of the last row, and the metrics of its steps so far.
    epoch: usize,
    logged: Metrics,
}

impl StepLog {
    /// The log of a run after `epoch` epochs and `step` steps of the next; later rows go, since these steps are run
    /// again. None if the run has no log and none is asked for with `every`.
    ///
    /// # Errors
    /// A file that cannot be read or written, or a line that is no row.
    pub(crate) fn open(
        folder: &Path,
        every: Option<usize>,
        epoch: usize,
        step: usize,
    ) -> anyhow::Result<Option<Self>> {
        let path = folder.join("steps.jsonl");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("{}: cannot read", path.display()));
            }
        };
        let mut kept = String::new();
        let (mut logged, mut longest) = (Metrics::default(), None);
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let row = match serde_json::from_str::<StepRow>(line) {
                Ok(row) => row,
                // What a crash leaves.
                Err(_) if !line.ends_with('\n') => break,
                Err(error) => bail!(
                    "{}, line {number}: not a row of steps: {error}; remove the file to resume without it",
                    path.display()
                ),
            };
            longest = longest.max(Some(row.train.batches));
            if (row.epoch, row.step) <= (epoch, usize::MAX)
                || (row.epoch, row.step) <= (epoch + 1, step)
            {
                kept += line.trim_end();
                kept.push('\n');
                if row.epoch == epoch + 1 {
                    logged = combined(&logged, &row.train, 1.0);
                }
            }
        }
        if kept != text {
            write_whole(&path, kept.as_bytes())?;
        }
        let every = every.or(longest);
        Ok(every.map(|every| Self { path, every: every.max(1), epoch: epoch + 1, logged }))
    }

    /// Whether a row is due after so many steps of an epoch.
    pub(crate) fn is_due(&self, step: usize, is_last: bool) -> bool {
        is_last || step.is_multiple_of(self.every)
    }

    /// Adds a row, from the metrics of the epoch so far.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn push(
        &mut self,
        epoch: usize,
        learning_rate: f64,
        metrics: Metrics,
    ) -> anyhow::Result<()> {
        if self.epoch != epoch {
            (self.epoch, self.logged) = (epoch, Metrics::default());
        }
        let train = combined(&metrics, &self.logged, -1.0);
        let row = StepRow { epoch, step: metrics.batches, learning_rate, train };
        append(&self.path, (serde_json::to_string(&row)? + "\n").as_bytes())?;
        self.logged = metrics;
        Ok(())
    }
}

/// Metrics of the steps of both (`sign` 1), or of those of `one` that are not among the `other` (`sign` −1). All batches
/// have as many examples, so that every metric is a mean over batches.
fn combined(one: &Metrics, other: &Metrics, sign: f64) -> Metrics {
    let count = |one: usize, other: usize| if sign > 0.0 { one + other } else { one - other };
    let batches = count(one.batches, other.batches);
    let mean = |now: f64, then: f64| {
        (now * one.batches as f64 + sign * then * other.batches as f64) / batches.max(1) as f64
    };
    // One that has counted nothing yet lacks the names.
    let names = if one.batches > 0 { one } else { other };
    let mut result = names.clone();
    (result.batches, result.examples) = (batches, count(one.examples, other.examples));
    let network = |metrics: &Metrics, name: &str| metrics.network.get(name).copied().unwrap_or(0.0);
    for (name, value) in &mut result.network {
        *value = mean(network(one, name), network(other, name));
    }
    for (at, unit) in result.units.iter_mut().enumerate() {
        let of = |metrics: &Metrics, name: &str| metrics.units.get(at)?.0.get(name).cloned();
        for (name, value) in &mut unit.0 {
            let (now, then) = (of(one, name), of(other, name));
            match value {
                MetricValue::Single(value) => {
                    let single = |value: Option<MetricValue>| match value {
                        Some(MetricValue::Single(value)) => value,
                        _ => 0.0,
                    };
                    *value = mean(single(now), single(then));
                }
                MetricValue::Workers(values) => {
                    let worker = |value: &Option<MetricValue>, at: usize| match value {
                        Some(MetricValue::Workers(values)) => {
                            values.get(at).copied().unwrap_or(0.0)
                        }
                        _ => 0.0,
                    };
                    for (at, value) in values.iter_mut().enumerate() {
                        *value = mean(worker(&now, at), worker(&then, at));
                    }
                }
            }
        }
    }
    result
}
