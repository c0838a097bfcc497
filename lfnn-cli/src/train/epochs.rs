//! The epochs of a run: steps, evaluation, metrics, checkpoints, and when to stop.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use lfnn_core::metric::Metrics;
use lfnn_core::train::Trainer;

use crate::checkpoint::{Best, Metadata};
use crate::data::LoadedData;
use crate::failure::Failure;
use crate::output::{Level, Output};
use crate::run::{EpochRow, MetricsLog, R2, StepLog, Summary};
use crate::{interrupt, memory};

use super::display::Display;
use super::report;
use super::saver::Saver;
use super::{Training, TrainingRun};

/// The progress bar reads metrics from the device no more often than this.
const METRICS_INTERVAL: Duration = Duration::from_millis(250);

/// Trains until the run is finished, stops early or is interrupted.
///
/// # Errors
/// A number that is not finite, a backend or a disk that fails, or the user's wish to stop.
pub(super) fn run(
    backend: String,
    mut trainer: Trainer,
    training: Training<'_>,
) -> Result<(), Failure> {
    let Training { run, data, mut metadata, output, .. } = training;
    let TrainingRun { folder, log_steps, resume_command, .. } = run;
    let settings = metadata.config.checkpoints;
    let (mut metrics, notes) = MetricsLog::open(folder.path(), trainer.epoch())?;
    notes.iter().for_each(|text| output.note(&format!("note: {text}")));
    let mut steps =
        StepLog::open(folder.path(), *log_steps, trainer.epoch(), trainer.step_in_epoch())?;
    let mut saver = Saver::new(folder, settings);
    // A killed process may have left some.
    saver.forget(trainer.epoch());
    let mut display = Display::new(output, &metadata.config, !data.validation.is_empty());
    let is_over =
        |trainer: &Trainer, metadata: &Metadata| trainer.is_finished() || metadata.stopped_early;
    let was_over = is_over(&trainer, &metadata);
    if !was_over {
        display.begin();
    }
    while !is_over(&trainer, &metadata) {
        let logs = (&mut display, &mut steps);
        let Some(trained) = train_epoch(&mut trainer, &mut saver, &mut metadata, logs)? else {
            return stopped(&metadata, resume_command, output);
        };
        display.evaluating();
        let row = end_epoch(&mut trainer, &data, trained)?;
        choose_best(&mut metadata, &row);
        let checkpoint = saver.encode(&trainer, &mut metadata)?;
        display.epoch(&row);
        // The metrics are on the disk before the checkpoint: they are never older than it.
        metrics.push(row)?;
        saver.write_epoch(&metadata, &checkpoint)?;
        if interrupt::requested() && !is_over(&trainer, &metadata) {
            display.finish();
            return stopped(&metadata, resume_command, output);
        }
    }
    display.finish();
    let summary = match Summary::read(folder.path())? {
        // What was recorded when the run ended stays.
        Some(summary) if was_over => summary,
        _ => {
            metrics.sync()?;
            let summary = report::summarize(&metadata, &metrics, &mut trainer, &data, backend)?;
            summary.write(folder.path())?;
            summary
        }
    };
    report::print(&metadata, &summary, &metrics, folder, output)
}

/// What the steps of an epoch leave.
struct EpochStats {
    metrics: Metrics,
    learning_rate: f64,
    /// Images trained on by this process, and the time it took.
    images: usize,
    time: Duration,
}

/// Runs the steps of an epoch that are left; nothing if the user wants to stop.
fn train_epoch(
    trainer: &mut Trainer,
    saver: &mut Saver<'_>,
    metadata: &mut Metadata,
    (display, steps): (&mut Display<'_>, &mut Option<StepLog>),
) -> Result<Option<EpochStats>, Failure> {
    display.begin_epoch(trainer.epoch(), trainer.step_in_epoch(), trainer.steps_per_epoch());
    let first = trainer.step_in_epoch();
    let (start, mut paused) = (Instant::now(), Duration::ZERO);
    let mut last_read = Instant::now();
    let mut learning_rate = trainer.learning_rate();
    while !trainer.epoch_is_done() {
        if interrupt::requested() {
            display.finish();
            saver.save(trainer, metadata)?;
            return Ok(None);
        }
        learning_rate = trainer.learning_rate();
        trainer.train_step()?;
        if display.is_first_step() {
            // This waits for the device, once.
            trainer.check_finite()?;
            display.first_step();
        }
        if let Some(log) = steps
            && log.is_due(trainer.step_in_epoch(), trainer.epoch_is_done())
        {
            trainer.check_finite()?;
            log.push(trainer.epoch() + 1, learning_rate, trainer.metrics()?)?;
        }
        if last_read.elapsed() > METRICS_INTERVAL {
            trainer.check_finite()?;
            let time = start.elapsed() - paused;
            let images = (trainer.step_in_epoch() - first) * trainer.batch_size();
            display.step(&trainer.metrics()?, images, time);
            last_read = Instant::now();
        }
        if saver.is_due() && !trainer.epoch_is_done() {
            let before = Instant::now();
            saver.save(trainer, metadata)?;
            paused += before.elapsed();
        }
    }
    trainer.check_finite()?;
    let metrics = trainer.metrics()?;
    let images = (trainer.step_in_epoch() - first) * trainer.batch_size();
    Ok(Some(EpochStats { metrics, learning_rate, images, time: start.elapsed() - paused }))
}

/// Evaluates, and moves on to the next epoch.
fn end_epoch(
    trainer: &mut Trainer,
    data: &LoadedData,
    trained: EpochStats,
) -> Result<EpochRow, Failure> {
    let mut validation = match &data.validation[..] {
        [] => None,
        indices => Some(trainer.evaluate(indices)?),
    };
    let mut test = trainer.evaluate(&data.test)?;
    trainer.end_epoch()?;
    let epoch = trainer.epoch();
    for (images, evaluation) in [("validation", validation.as_ref()), ("test", Some(&test))] {
        if evaluation.is_some_and(|evaluation| !evaluation.loss().is_finite()) {
            return Err(Failure::Runtime(anyhow!(
                "the loss on the {images} examples is not finite after epoch {epoch}; a smaller learning rate or \
                 gradient clipping may help"
            )));
        }
    }
    let mut train = trained.metrics;
    let add_r2 = |metrics: &mut Metrics, examples: &[u32]| {
        let r2 = data.r2(examples, metrics.loss());
        metrics.network.extend(r2.map(|r2| (R2.to_owned(), r2)));
    };
    add_r2(&mut train, &data.train);
    validation.iter_mut().for_each(|metrics| add_r2(metrics, &data.validation));
    add_r2(&mut test, &data.test);
    let seconds = trained.time.as_secs_f64();
    Ok(EpochRow {
        epoch,
        learning_rate: trained.learning_rate,
        train,
        validation,
        test,
        seconds,
        images_per_second: trained.images as f64 / seconds.max(1e-9),
        peak_memory_bytes: memory::peak().unwrap_or(trainer.memory().total() as u64),
    })
}

/// Compares the epoch with the best one so far, never by the test images.
fn choose_best(metadata: &mut Metadata, row: &EpochRow) {
    let compared = row.validation.as_ref().unwrap_or(&row.train);
    let loss = compared.loss();
    // A regression has no errors.
    let error = compared.error().unwrap_or(loss);
    if metadata.best.is_none_or(|best| (error, loss) < (best.error, best.loss)) {
        metadata.best = Some(Best { epoch: row.epoch, error, loss });
    }
    let since = metadata.best.map_or(0, |best| row.epoch - best.epoch);
    let patience = metadata.config.checkpoints.patience;
    metadata.stopped_early = patience.is_some_and(|patience| since >= patience);
}

/// Says how to resume.
fn stopped(metadata: &Metadata, resume_command: &str, output: &Output) -> Result<(), Failure> {
    if output.level() >= Level::Normal {
        output.note(&format!(
            "stopped and saved {}; to resume:\n  {resume_command}",
            progress(metadata.epoch, metadata.batch),
        ));
    }
    Err(Failure::Interrupted)
}

/// How far a run has come.
pub(super) fn progress(epoch: usize, batch: usize) -> String {
    match (epoch, batch) {
        (epoch, 0) => format!("after epoch {epoch}"),
        (epoch, batch) => format!("in epoch {} after batch {batch}", epoch + 1),
    }
}
