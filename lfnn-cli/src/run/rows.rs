//! A row of metrics: an epoch, with its losses and its units' workers.

use lfnn_core::config::Scope;
use lfnn_core::train::{Evaluation, TrainingMetrics};
use serde::{Deserialize, Serialize};

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
            leads: unit.lead_counts.clone(),
            leads_percent: unit.lead_counts.iter().map(percent).collect(),
        };
        train.units.iter().enumerate().map(join).collect()
    }
}
