//! The end of a run: its summary, and how often each worker was a leader.

use lfnn_core::metric::UnitMetrics;
use lfnn_core::train::Trainer;

use crate::checkpoint::Metadata;
use crate::failure::Failure;
use crate::format::{self, Align, table};
use crate::memory;
use crate::output::Output;
use crate::run::{BestSummary, EpochRow, MetricsLog, RunFolder, Summary, lowest, mean};

/// What came out of a run.
pub(super) fn summarize(
    metadata: &Metadata,
    metrics: &MetricsLog,
    trainer: &Trainer,
    backend: String,
) -> Summary {
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
    Summary {
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
    }
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
    if metadata.stopped_early {
        let patience = metadata.config.checkpoints.patience.unwrap_or(0);
        output
            .info(&format!("stopped early: {patience} epochs without a better validation error"))?;
    }
    output.info("")?;
    output.info(&table_of_epochs(summary, rows))?;
    if let Some(row) = rows.last().filter(|row| !row.train.units.is_empty()) {
        output.info(&units(row))?;
    }
    let mut speed = format!(
        "{:.0} images/s, peak memory {}",
        summary.images_per_second,
        format::bytes(summary.peak_memory_bytes as usize)
    );
    if summary.backend.starts_with("cuda") {
        speed += &format!(", on the GPU {}", format::bytes(summary.device_memory_bytes as usize));
    }
    output.info(&speed)?;
    output.info(&format!("results: {}", folder.path().display()))?;
    output.result(&format!("test error: {}", format::percent(summary.test_error())))
}

/// The last and the best epoch side by side.
fn table_of_epochs(summary: &Summary, rows: &[EpochRow]) -> String {
    let mut lines = vec![["", "epoch", "train", "validation", "test"].map(str::to_owned).to_vec()];
    let mut line = |name: &str, row: Option<&EpochRow>| {
        let Some(row) = row else { return };
        lines.push(vec![
            name.into(),
            row.epoch.to_string(),
            format::percent(row.train.error()),
            format::percent(row.validation_error()),
            format::percent(row.test.error()),
        ]);
    };
    line("last", rows.last());
    let best =
        summary.best.as_ref().and_then(|best| rows.iter().find(|row| row.epoch == best.epoch));
    line("best", best);
    table(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Right], &lines)
}

/// For each unit its workers' errors on the test images and, where there are leaders, how often each worker was one.
pub(super) fn units(row: &EpochRow) -> String {
    let leads = |unit: &UnitMetrics| lead_bars(unit.workers("lead_percent"));
    let has_leaders = row.train.units.iter().any(|unit| !leads(unit).is_empty());
    let head = ["unit", "workers", "best", "mean", "as leader, %"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for ((trained, tested), number) in row.train.units.iter().zip(&row.test.units).zip(1..) {
        let errors = tested.workers("worker_errors");
        lines.push(vec![
            format!("{number}"),
            errors.len().to_string(),
            format::percent(lowest(errors)),
            format::percent(mean(errors)),
            leads(trained),
        ]);
    }
    let mut align = vec![Align::Right, Align::Right, Align::Right, Align::Right, Align::Left];
    let mut title =
        format!("workers: test errors, and how often each was a leader in epoch {}", row.epoch);
    if !has_leaders {
        lines.iter_mut().for_each(|line| line.truncate(4));
        align.truncate(4);
        title = format!("workers: test errors after epoch {}", row.epoch);
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
