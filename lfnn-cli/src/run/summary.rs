//! `summary.json`: what came out of a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use lfnn_core::score::ValueScore;
use serde::{Deserialize, Serialize};

use crate::files::write_whole;

const SUMMARY: &str = "summary.json";

/// What came out of a run. Errors are in percent, and are those of the last weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The network's metrics after the last epoch, such as `test_error`; none if they were lost.
    #[serde(flatten)]
    pub(crate) metrics: BTreeMap<String, f64>,
    /// The best epoch.
    pub(crate) best: Option<BestSummary>,
    /// Epochs trained.
    pub(crate) epochs: usize,
    /// Whether the run stopped early.
    pub(crate) stopped_early: bool,
    /// Training examples seen in all epochs.
    pub(crate) examples: usize,
    /// Trainable parameters that prediction needs.
    pub(crate) parameters: usize,
    /// Trainable parameters of heads, which it does not need.
    pub(crate) head_parameters: usize,
    /// Training images per second of training time, without evaluation and saving.
    pub(crate) images_per_second: f64,
    /// Largest resident memory of the process (Linux); what the backend holds, elsewhere.
    pub(crate) peak_memory_bytes: u64,
    /// What the backend holds for tensors and kernels' scratch space. It is allocated once, so this is its peak.
    pub(crate) device_memory_bytes: u64,
    /// Examples of each class; none in a regression.
    #[serde(default)]
    pub(crate) classes: Vec<PartCounts>,
    /// What is predicted in a regression, with its scores on the test examples in the data's own units.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, ValueScore>,
    /// SHA-256 of the data: inputs, targets, names and how they are divided. Empty in summaries of older
    /// versions.
    #[serde(default)]
    pub(crate) data: String,
    /// The seed.
    pub(crate) seed: u64,
    /// The method.
    pub(crate) method: String,
    /// The recipe.
    pub(crate) recipe: Option<String>,
    /// The backend.
    pub(crate) backend: String,
    /// The arithmetic.
    pub(crate) precision: String,
    /// Version of this program.
    pub(crate) version: String,
}

/// How many examples of a class are in each part of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartCounts {
    /// The class.
    pub(crate) name: String,
    /// Examples trained on.
    pub(crate) train: usize,
    /// Examples held out.
    pub(crate) validation: usize,
    /// Test examples.
    pub(crate) test: usize,
}

/// The best epoch, by its validation error (by its training error without validation).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BestSummary {
    /// The epoch, from 1.
    pub(crate) epoch: usize,
    /// The network's metrics after it.
    #[serde(flatten)]
    pub(crate) metrics: BTreeMap<String, f64>,
}

impl Summary {
    /// The error on the test images.
    pub(crate) fn test_error(&self) -> Option<f64> {
        self.metrics.get("test_error").copied()
    }

    /// The summary in a run's folder; none if the run has not come to its end.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(SUMMARY);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{}: cannot read", path.display()))?;
        let summary = serde_json::from_str(&text)
            .with_context(|| format!("{}: not the summary of a run", path.display()))?;
        Ok(Some(summary))
    }

    /// Writes it into a run's folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_whole(&folder.join(SUMMARY), text.as_bytes())
    }
}
