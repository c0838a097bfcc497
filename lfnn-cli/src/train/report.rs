//! The end of a run: its summary, and how often each worker was a leader.

use std::collections::BTreeMap;

use lfnn_core::config::Task;
use lfnn_core::metric::UnitMetrics;
use lfnn_core::model::ModelTarget;
use lfnn_core::score::ValueScore;
use lfnn_core::train::Trainer;
use lfnn_data::Targets;

use crate::checkpoint::Metadata;
use crate::data::{self, LoadedData};
use crate::failure::Failure;
use crate::format::{self, Align, table};
use crate::output::Output;
use crate::run::{
    BestSummary, EpochRow, MetricsLog, PartCounts, RunFolder, Summary, lowest, mean, score,
};
use crate::{memory, scores};

/// What came out of a run.
pub(super) fn summarize(
    metadata: &Metadata,
    metrics: &MetricsLog,
    trainer: &mut Trainer,
    data: &LoadedData,
    backend: String,
) -> Result<Summary, Failure> {
    let rows = metrics.rows();
    let last = rows.last().filter(|row| row.epoch == metadata.epoch);
    let (parameters, head_parameters) = trainer.network().parameter_counts();
    let device_memory = trainer.memory().total() as u64;
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    // An epoch that was interrupted counts with the images and the seconds after it was resumed.
    let timed: f64 = rows.iter().map(|row| row.images_per_second * row.seconds).sum();
    let network = |row: Option<&EpochRow>| row.map(EpochRow::network).unwrap_or_default();
    let best = metadata.best.map(|best| {
        let row = rows.iter().find(|row| row.epoch == best.epoch);
        BestSummary { epoch: best.epoch, metrics: network(row) }
    });
    let config = &metadata.config;
    Ok(Summary {
        classes: class_counts(data),
        values: value_scores(data, trainer)?,
        metrics: network(last),
        best,
        epochs: metadata.epoch,
        stopped_early: metadata.stopped_early,
        examples: metadata.epoch * trainer.steps_per_epoch() * trainer.batch_size(),
        parameters,
        head_parameters,
        images_per_second: timed / seconds.max(1e-9),
        peak_memory_bytes: memory::peak().unwrap_or(device_memory),
        device_memory_bytes: device_memory,
        data: metadata.data.clone(),
        seed: config.seed,
        method: config.method.clone(),
        recipe: config.recipe.clone(),
        backend,
        precision: config.precision.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Examples of each class; none in a regression.
fn class_counts(data: &LoadedData) -> Vec<PartCounts> {
    let count = |indices: &[u32], class: u32| {
        indices.iter().filter(|&&index| data.labels()[index as usize] == class).count()
    };
    let counts = |(name, class): (&String, u32)| PartCounts {
        name: name.clone(),
        train: count(&data.train, class),
        validation: count(&data.validation, class),
        test: count(&data.test, class),
    };
    match &data.target {
        ModelTarget::Classes { names } => names.iter().zip(0..).map(counts).collect(),
        ModelTarget::Values { .. } => Vec::new(),
    }
}

/// How good the predictions of each number are on the test examples; none of classes.
fn value_scores(
    data: &LoadedData,
    trainer: &mut Trainer,
) -> Result<BTreeMap<String, ValueScore>, Failure> {
    let Targets::Values(values) = &data.examples.targets else { return Ok(BTreeMap::new()) };
    let outputs = trainer.predict(&data.test)?;
    let scores = data::value_scores(&data.target, values, &data.test, &outputs)?;
    Ok(data.target.names().iter().cloned().zip(scores).collect())
}

/// Prints what came out.
///
/// # Errors
/// A standard output that cannot be written.
pub(super) fn print(
    metadata: &Metadata,
    summary: &Summary,
    metrics: &MetricsLog,
    folder: &RunFolder,
    output: &Output,
) -> Result<(), Failure> {
    let rows = metrics.rows();
    let config = &metadata.config;
    let is_regression = config.network.task == Task::Regression;
    if metadata.stopped_early {
        let patience = metadata.config.checkpoints.patience.unwrap_or(0);
        let what = if is_regression { "loss" } else { "error" };
        output.info(&format!(
            "stopped early: {patience} epochs without a better validation {what}"
        ))?;
    }
    output.info("")?;
    output.info(&table_of_epochs(summary, rows, is_regression))?;
    if let Some(row) = rows.last().filter(|row| !row.train.units.is_empty()) {
        output.info(&units(row))?;
    }
    let mut speed = format!(
        "{:.0} {}s/s, peak memory {}",
        summary.images_per_second,
        config.dataset.name.kind().example(),
        format::bytes(summary.peak_memory_bytes as usize)
    );
    if summary.backend.starts_with("cuda") {
        speed += &format!(", on the GPU {}", format::bytes(summary.device_memory_bytes as usize));
    }
    output.info(&speed)?;
    output.info(&format!("results: {}", folder.path().display()))?;
    if is_regression {
        output.info("")?;
        return output.result(&scores::of_values("test", summary.values.iter()));
    }
    output.result(&format!("test error: {}", format::percent(summary.test_error())))
}

/// The last and the best epoch side by side.
fn table_of_epochs(summary: &Summary, rows: &[EpochRow], is_regression: bool) -> String {
    let head = if is_regression { "R²" } else { "" };
    let mut lines =
        vec![[head, "epoch", "train", "validation", "test"].map(str::to_owned).to_vec()];
    let mut line = |name: &str, row: Option<&EpochRow>| {
        let Some(row) = row else { return };
        lines.push(vec![
            name.into(),
            row.epoch.to_string(),
            score(Some(&row.train)),
            score(row.validation.as_ref()),
            score(Some(&row.test)),
        ]);
    };
    line("last", rows.last());
    let best =
        summary.best.as_ref().and_then(|best| rows.iter().find(|row| row.epoch == best.epoch));
    line("best", best);
    table(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Right], &lines)
}

/// For each unit its workers' errors on the test examples (losses, in a regression) and, where there are leaders, how
/// often each worker was one.
pub(super) fn units(row: &EpochRow) -> String {
    let leads = |unit: &UnitMetrics| lead_bars(unit.workers("lead_percent"));
    let has_leaders = row.train.units.iter().any(|unit| !leads(unit).is_empty());
    let mut what = "errors";
    let head = ["unit", "workers", "best", "mean", "as leader, %"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for ((trained, tested), number) in row.train.units.iter().zip(&row.test.units).zip(1..) {
        let errors = tested.workers("worker_errors");
        let (values, text): (_, fn(Option<f64>) -> String) = match errors {
            [] => (tested.workers("worker_losses"), format::loss),
            errors => (errors, format::percent),
        };
        what = if errors.is_empty() { "losses" } else { "errors" };
        lines.push(vec![
            format!("{number}"),
            values.len().to_string(),
            text(lowest(values)),
            text(mean(values)),
            leads(trained),
        ]);
    }
    let mut align = vec![Align::Right, Align::Right, Align::Right, Align::Right, Align::Left];
    let mut title =
        format!("workers: test {what}, and how often each was a leader in epoch {}", row.epoch);
    if !has_leaders {
        lines.iter_mut().for_each(|line| line.truncate(4));
        align.truncate(4);
        title = format!("workers: test {what} after epoch {}", row.epoch);
    }
    format!("{title}\n{}", table(&align, &lines))
}

/// How often each worker was a leader: bars, and numbers where workers are few.
fn lead_bars(percent: &[f64]) -> String {
    const BARS: usize = 40;
    const NUMBERS: usize = 8;
    let bars = percent.iter().take(BARS).map(|percent| format::bar(percent / 100.0));
    let mut text: String = bars.collect();
    if percent.len() > BARS {
        text.push('…');
    }
    if percent.len() <= NUMBERS {
        for percent in percent {
            text += &format!(" {percent:3.0}");
        }
    }
    text
}
