//! Memory and time of a training step against depth, `lfnn-l` beside `bp`.

use std::time::{Duration, Instant};

use anyhow::Context;
use lfnn_core::backend::Backend;
use lfnn_core::train::Trainer;
use lfnn_data::DatasetName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Task, with_data};
use super::super::report::{Cell, Report, Table};
use super::super::runner::Results;
use super::{Target, expect_data, quick_note};
use crate::backend::BackendTask;
use crate::chart::{Axis, Figure, Mark, Panel, Point};
use crate::config::RunConfig;
use crate::data::LoadedData;
use crate::failure::Failure;
use crate::interrupt;
use crate::resolved::ResolvedRun;
use crate::train::setup;

#[derive(Debug)]
pub(super) struct Memory;

const METHODS: [&str; 2] = ["lfnn-l", "bp"];
/// A step is timed for this long, and at least so many times.
const LONG: Duration = Duration::from_millis(1500);
const TIMES: usize = 7;

/// What a step takes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Taken {
    /// Bytes of activations, gradients and scratch space.
    temporary: usize,
    /// Bytes of everything else but the data set: parameters, optimiser, counters.
    persistent: usize,
    /// Seconds, the median.
    seconds: f64,
    steps: usize,
    parameters: usize,
}

fn depths(request: &ReproduceRequest) -> &'static [usize] {
    if request.is_paper() { &[1, 2, 4, 8, 16, 32] } else { &[1, 2, 4, 8, 16] }
}

fn id(request: &ReproduceRequest, method: &str, depth: usize) -> String {
    let data = if request.is_paper() { "mnist" } else { "digits" };
    format!("memory-{data}-{method}-depth{depth}")
}

fn config(request: &ReproduceRequest, method: &str, depth: usize) -> Result<RunConfig, Failure> {
    let unit = "{layers: [{conv: {filters: 32, kernel: 3, padding: 1, bias: false}}, {batch_norm: {}}, relu], \
                workers: {readout: {count: 4, grid: 4}}}";
    let sets = [
        format!("network.units=[{}]", vec![unit; depth].join(", ")),
        "network.output={layers: [global_avg_pool]}".to_owned(),
        "training.batch_size=128".to_owned(),
    ];
    let recipe = if request.is_paper() { "mnist-s" } else { "digits" };
    request.training(recipe, method, 1).set("depth", &sets).config()
}

fn computation(
    request: &ReproduceRequest,
    method: &str,
    depth: usize,
) -> Result<Computation, Failure> {
    let config = config(request, method, depth)?;
    let long = if request.is_short() { Duration::ZERO } else { LONG };
    Ok(Computation {
        id: id(request, method, depth),
        settings: json!({"config": serde_json::to_value(&config)?, "seconds": long.as_secs_f64()}),
        alone: true,
        trial: Box::new(move |_| Ok(long.mul_f64(1.2))),
        work: Box::new(move |resources| {
            Ok(serde_json::to_value(measure(&resources.run(&config), long)?)?)
        }),
    })
}

fn measure(run: &ResolvedRun, long: Duration) -> Result<Taken, Failure> {
    with_data(run, |data| Measure { config: &run.config, data, long })
}

/// Epochs of a measurement at most.
const EPOCHS: usize = 1_000_000;

struct Measure<'a> {
    config: &'a RunConfig,
    data: LoadedData,
    long: Duration,
}

impl BackendTask for Measure<'_> {
    type Output = Taken;

    fn run<B: Backend>(self, backend: &B, _: &str) -> Result<Taken, Failure> {
        let Self { config, data, long } = self;
        // As many as it takes: steps are measured, not a training.
        let mut config = config.clone();
        config.training.epochs = EPOCHS;
        let mut trainer = Trainer::new(
            backend,
            &setup(&config, &data.normalization),
            data.images(),
            &data.train,
        )?;
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < TIMES + 1 || begin.elapsed() < long {
            if interrupt::requested() {
                return Err(Failure::Interrupted);
            }
            if trainer.epoch_is_done() {
                trainer.end_epoch()?;
            }
            let step = Instant::now();
            trainer.train_step()?;
            // This waits for the device.
            trainer.check_finite()?;
            times.push(step.elapsed().as_secs_f64());
        }
        // The first step warms caches.
        times.remove(0);
        times.sort_by(f64::total_cmp);
        let memory = trainer.memory();
        Ok(Taken {
            temporary: memory.temporary,
            persistent: memory.persistent.saturating_sub(data.images().pixels.len()),
            seconds: times[times.len() / 2],
            steps: times.len(),
            parameters: trainer.network().parameter_counts().0,
        })
    }
}

impl Target for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "memory and time of a training step against depth, lfnn-l and bp"
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        expect_data(request, DatasetName::Mnist)?;
        let mut tasks = Vec::new();
        for method in METHODS {
            for &depth in depths(request) {
                tasks.push(Task::Compute(computation(request, method, depth)?));
            }
        }
        Ok(tasks)
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let mut report = Report {
            title: "Memory and time of a training step against depth".into(),
            ..Report::default()
        };
        report.text.extend(quick_note(request, ""));
        report.text.push(
            "Networks of 1 to 32 units, each a 3×3 convolution with 32 filters, batch normalisation and ReLU, without \
             pooling; batches of 128. Memory is what the backend has allocated: activations, gradients and scratch \
             space of the step, and separately parameters and optimiser, which grow with depth in both methods. In \
             lfnn-l a unit is updated before the next one begins, so its activations are no longer needed. In bp the \
             activations of all units are kept for the backward pass. Time is the median of a step. It includes the \
             heads of the workers, which bp lacks."
                .into(),
        );
        let head = [
            "method",
            "units",
            "parameters",
            "step memory, MiB",
            "parameters and optimiser, MiB",
            "milliseconds per step",
        ];
        let mut table = Table::new("memory", "A training step", &head);
        let (mut memory, mut time) = (Vec::new(), Vec::new());
        for (method, style) in METHODS.into_iter().zip([1, 0]) {
            let (mut bytes, mut seconds) = (Vec::new(), Vec::new());
            for &depth in depths(request) {
                let Some(value) = results.value(&id(request, method, depth)) else { continue };
                let taken: Taken = serde_json::from_value(value.clone())
                    .context("a measurement that cannot be read")?;
                let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
                let (x, milliseconds) = (depth as f64, 1000.0 * taken.seconds);
                table.rows.push(vec![
                    method.into(),
                    Cell::count(depth),
                    Cell::count(taken.parameters),
                    Cell::Number(mebibytes(taken.temporary), 1),
                    Cell::Number(mebibytes(taken.persistent), 1),
                    Cell::Number(milliseconds, 1),
                ]);
                bytes.push(Point { x, y: mebibytes(taken.temporary), spread: 0.0 });
                seconds.push(Point { x, y: milliseconds, spread: 0.0 });
            }
            let line = |points| Mark::Line { name: method.into(), style, points, markers: true };
            memory.push(line(bytes));
            time.push(line(seconds));
        }
        let panel = |label: &str, marks| Panel {
            title: String::new(),
            x: Axis::new("units, each one convolution"),
            y: Axis::new(label),
            marks,
            size: (340.0, 240.0),
        };
        let panels = vec![
            panel("activations and gradients, MiB", memory),
            panel("time of a step, ms", time),
        ];
        report.tables.push(table);
        let figure = Figure { title: "A training step against depth".into(), panels, columns: 2 };
        let caption = "Left: memory of the step itself, without parameters and optimiser. Right: median time.";
        report.figures.push(("memory".into(), caption.into(), figure));
        Ok(report)
    }
}
