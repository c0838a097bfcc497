//! What is seen of training: a bar on a terminal, and a line for every epoch everywhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lfnn_core::config::Task;
use lfnn_core::metric::Metrics;

use crate::config::RunConfig;
use crate::format;
use crate::output::{Level, Output};
use crate::run::{EpochRow, score};

use super::report;

/// Shows the progress of a run.
#[derive(Debug)]
pub(super) struct Display<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    epochs: usize,
    validation: bool,
    /// What is counted, and whether numbers are predicted.
    example: &'static str,
    regression: bool,
    /// When this process began, and how many epochs it has trained.
    start: Instant,
    done: usize,
    /// Whether it has trained a step.
    stepped: bool,
}

impl<'a> Display<'a> {
    /// Nothing is shown yet.
    pub(super) fn new(output: &'a Output, config: &RunConfig, validation: bool) -> Self {
        let epochs = config.training.epochs;
        Self {
            output,
            bar: None,
            epochs,
            validation,
            example: config.dataset.name.kind().example(),
            regression: config.network.task == Task::Regression,
            start: Instant::now(),
            done: 0,
            stepped: false,
        }
    }

    /// Writes the head of the table.
    pub(super) fn begin(&self) {
        let validation = if self.validation { "  validation" } else { "" };
        let width = self.epoch_width();
        let [train, test] =
            if self.regression { ["train R²", "test R²"] } else { ["train", "test"] };
        self.output.log(
            Level::Normal,
            &format!(
                "{:>width$}  {:>8}  {:>8}  {:>8}{validation}  {:>8}  {:>speed$}  {:>8}",
                "epoch",
                "lr",
                "loss",
                train,
                test,
                self.speed(),
                "time",
                speed = self.speed().len().max(8),
            ),
        );
    }

    /// The unit of speed, which heads its column.
    fn speed(&self) -> String {
        format!("{}s/s", self.example)
    }

    /// Width of the table's first column: with up to 999 epochs, the table fits 80 columns.
    fn epoch_width(&self) -> usize {
        format!("{0}/{0}", self.epochs).len().max("epoch".len())
    }

    /// Shows an empty bar.
    pub(super) fn begin_epoch(&mut self, epoch: usize, step: usize, steps: usize) {
        let Some(bars) = self.output.bars() else { return };
        let bar = self.bar.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(steps as u64));
            let template = "{prefix} {wide_bar} {pos}/{len}  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
            }
            bar
        });
        bar.set_length(steps as u64);
        bar.set_position(step as u64);
        bar.set_prefix(format!("{}/{}", epoch + 1, self.epochs));
    }

    /// Whether the step just done is the first of this process.
    pub(super) fn is_first_step(&mut self) -> bool {
        !std::mem::replace(&mut self.stepped, true)
    }

    /// Tells how long it took from the program's beginning to the end of the first step.
    pub(super) fn first_step(&self) {
        let time = self.output.running().as_millis();
        let text = format!("first step done {time} ms after the program began");
        self.output.log(Level::Verbose, &text);
    }

    /// Shows how far the epoch has come. `images` were trained on in `time`.
    pub(super) fn step(&mut self, metrics: &Metrics, images: usize, time: Duration) {
        let Some(bar) = &self.bar else { return };
        let steps = bar.length().unwrap_or(1).max(1);
        bar.set_position(metrics.batches as u64);
        let mut message = format!(
            "loss {:.4}  {}{:.0} {}",
            metrics.loss(),
            metrics.error().map_or_else(String::new, |error| format!("error {error:.2} %  ")),
            images as f64 / time.as_secs_f64().max(1e-9),
            self.speed()
        );
        let at = self.done as f64 + metrics.batches as f64 / steps as f64;
        let first = bar.prefix().trim().split('/').next().and_then(|epoch| epoch.parse().ok());
        let epoch: usize = first.unwrap_or(1);
        let left = (self.epochs + 1 - epoch.min(self.epochs)) as f64
            - metrics.batches as f64 / steps as f64;
        if at > 0.0 {
            let left = Duration::from_secs_f64(self.start.elapsed().as_secs_f64() / at * left);
            message += &format!("  {} left", format::duration(left));
        }
        bar.set_message(message);
    }

    /// Shows that the steps of the epoch are done.
    pub(super) fn evaluating(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(bar.length().unwrap_or(0));
            bar.set_message("evaluating");
        }
    }

    /// Writes the line of an epoch.
    pub(super) fn epoch(&mut self, row: &EpochRow) {
        self.done += 1;
        let width = self.epoch_width();
        let validation = match &row.validation {
            Some(validation) => format!("  {:>10}", score(Some(validation))),
            None => String::new(),
        };
        self.output.log(
            Level::Normal,
            &format!(
                "{:>width$}  {:>8}  {:>8.4}  {:>8}{validation}  {:>8}  {:>speed$.0}  {:>8}",
                format!("{}/{}", row.epoch, self.epochs),
                rate(row.learning_rate),
                row.train.loss(),
                score(Some(&row.train)),
                score(Some(&row.test)),
                row.images_per_second,
                format::duration(Duration::from_secs_f64(row.seconds)),
                speed = self.speed().len().max(8),
            ),
        );
        if !row.train.units.is_empty() {
            self.output.log(Level::Verbose, &report::units(row));
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A learning rate in few digits.
fn rate(rate: f64) -> String {
    if rate >= 1e-3 { format!("{rate:.5}") } else { format!("{rate:.2e}") }
}
