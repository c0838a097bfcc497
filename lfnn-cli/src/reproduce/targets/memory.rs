//! Memory and time of a training step against depth, `lfnn-l` beside `bp`.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Session, Task};
use super::super::report::Report;
use super::super::runner::Results;
use super::Target;
use crate::chart::{Axis, Mark, Panel, Point, Shape};
use crate::config::RunConfig;
use crate::failure::Result;
use crate::interrupt;
use crate::page::{Cell, Table};
use crate::resolved::ResolvedRun;

pub(super) const MEMORY: Target = Target {
    name: "memory",
    about: "memory and time of a training step against depth, lfnn-l and bp",
    title: "Memory and time of a training step against depth",
    quick: "",
    text: "Networks of 1 to 32 units, each a 3×3 convolution with 32 filters, batch normalisation and ReLU, without \
 pooling; batches of 128. Memory is what the backend has allocated: activations, gradients and scratch \
 space of the step, and separately parameters and optimiser, which grow with depth in both methods. In \
 lfnn-l a unit is updated before the next one begins, so its activations are no longer needed. In bp the \
 activations of all units are kept for the backward pass. Time is the median of a step. It includes the \
 heads of the workers, which bp lacks.",
    has_parts: false,
    plan,
    report,
};

const METHODS: [&str; 2] = ["lfnn-l", "bp"];
/// A step is timed for this long, and at least so many times.
const LONG: Duration = Duration::from_millis(1500);
const TIMES: usize = 7;

/// Memory and time of a step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Measured {
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

fn config(request: &ReproduceRequest, method: &str, depth: usize) -> Result<RunConfig> {
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

fn plan(request: &ReproduceRequest) -> Result<Vec<Task>> {
    let long = if request.is_short() { Duration::ZERO } else { LONG };
    let mut tasks = Vec::new();
    for method in METHODS {
        for &depth in depths(request) {
            let (id, config) = (id(request, method, depth), config(request, method, depth)?);
            let settings = json!({"seconds": long.as_secs_f64()});
            let work = move |run: &ResolvedRun| {
                let mut run = run.clone();
                // As many as it takes: steps are measured, not a training.
                run.config.training.epochs = EPOCHS;
                measure(&run, long)
            };
            tasks.push(Task::Compute(Computation {
                alone: true,
                trial: Box::new(move |_| Ok(long.mul_f64(1.2))),
                ..Computation::of_run(id, config, settings, 1.0, work)?
            }));
        }
    }
    Ok(tasks)
}

/// Epochs of a measurement at most.
const EPOCHS: usize = 1_000_000;

fn measure(run: &ResolvedRun, long: Duration) -> Result<Measured> {
    let session = Session::open(run)?;
    let mut trainer = session.trainer()?;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < TIMES + 1 || begin.elapsed() < long {
        interrupt::check()?;
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
    Ok(Measured {
        temporary: memory.temporary,
        persistent: memory.persistent.saturating_sub(session.data.images().pixels.len()),
        seconds: times[times.len() / 2],
        steps: times.len(),
        parameters: trainer.network().parameter_counts().0,
    })
}

fn report(results: &Results<'_>, report: &mut Report) -> Result {
    let request = results.request;
    let head = "method|units|parameters|step memory, MiB|parameters and optimiser, MiB|milliseconds per step";
    let mut table = Table::new("memory", "A training step", head);
    let (mut memory, mut time) = (Vec::new(), Vec::new());
    for (method, style) in METHODS.into_iter().zip([1, 0]) {
        let (mut bytes, mut seconds) = (Vec::new(), Vec::new());
        for &depth in depths(request) {
            let Some(found) = results.read::<Measured>(&id(request, method, depth))? else {
                continue;
            };
            let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
            let (temporary, milliseconds) = (mebibytes(found.temporary), 1000.0 * found.seconds);
            table.rows.push(vec![
                method.into(),
                Cell::count(depth),
                Cell::count(found.parameters),
                Cell::Number(temporary, 1),
                Cell::Number(mebibytes(found.persistent), 1),
                Cell::Number(milliseconds, 1),
            ]);
            bytes.push(Point::new(depth as f64, temporary));
            seconds.push(Point::new(depth as f64, milliseconds));
        }
        memory.push(Mark::new(method, style, Shape::MarkedLine(bytes)));
        time.push(Mark::new(method, style, Shape::MarkedLine(seconds)));
    }
    let panel = |label: &str, marks| {
        let x = Axis::new("units, each one convolution");
        Panel::new("", x, Axis::new(label), marks, (340.0, 240.0))
    };
    let panels =
        vec![panel("activations and gradients, MiB", memory), panel("time of a step, ms", time)];
    report.tables.push(table);
    let caption =
        "Left: memory of the step itself, without parameters and optimiser. Right: median time.";
    report.figure("memory", caption, "A training step against depth", 2, panels);
    Ok(())
}
