//! What was measured, as tables for people and as JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use lfnn_core::network::Network;
use lfnn_core::program::{Cost, Part, ProgramSet};
use lfnn_core::train::ProfiledStep;
use serde_json::{Map, Value, json};

use super::{Measured, Spread};
use crate::config::RunConfig;
use crate::data::DataShape;
use crate::failure::{Result, Usage};
use crate::format::{self, Align, table};

/// A row of a profile: what it is about, how many operations, their cost and their time.
struct Row {
    name: String,
    count: usize,
    cost: Cost,
    time: Duration,
}

impl Row {
    fn of<'a>(name: String, steps: impl IntoIterator<Item = &'a ProfiledStep>) -> Self {
        let (mut count, mut cost, mut time) = (0, Cost::default(), Duration::ZERO);
        for step in steps {
            (count, cost, time) = (count + 1, cost + step.cost, time + step.time);
        }
        Self { name, count, cost, time }
    }

    /// Operations of products a second, in GFLOP/s; none where there are no products.
    fn gflops(&self) -> Option<f64> {
        (self.cost.flops > 0).then(|| rate(self.cost.flops, self.time))
    }

    /// Bytes a second, in GB/s.
    fn gigabytes(&self) -> f64 {
        rate(self.cost.bytes, self.time)
    }
}

fn rate(amount: u64, time: Duration) -> f64 {
    amount as f64 / time.as_secs_f64().max(1e-9) / 1e9
}

fn name(part: Part) -> String {
    match part {
        Part::Batch => "batch".into(),
        Part::Unit(number) => format!("unit {number}"),
        Part::Output => "output".into(),
    }
}

/// The network's parts in order.
fn by_part(measured: &Measured) -> Vec<Row> {
    let steps = measured.steps.iter();
    let parts: BTreeSet<Part> = steps.clone().map(|step| step.part).collect();
    let row = |part| Row::of(name(part), steps.clone().filter(|step| step.part == part));
    parts.into_iter().map(row).collect()
}

/// The operations, the longest first.
fn by_operation(measured: &Measured) -> Vec<Row> {
    let steps = measured.steps.iter();
    let names: BTreeSet<&str> = steps.clone().map(|step| step.name).collect();
    let row = |name: &str| Row::of(name.into(), steps.clone().filter(|step| step.name == name));
    let mut rows: Vec<Row> = names.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.time));
    rows
}

/// Every step in the order of the program, named by its part and its operations.
fn one_by_one(measured: &Measured) -> Vec<Row> {
    let row = |step: &ProfiledStep| Row::of(format!("{}: {}", name(step.part), step.name), [step]);
    measured.steps.iter().map(row).collect()
}

/// Operations that take less than this share of the step share one line.
const SMALL: f64 = 0.005;

/// Tables for people.
pub(super) fn text(measured: &Measured) -> String {
    let speed = |what: &str, Spread { low, median, high }: Spread| {
        let [low, median, high] = [low, median, high].map(|x| format::count(x.round() as usize));
        vec![what.into(), format!("{median} images/s"), format!("{low} … {high}")]
    };
    let Measured { recipe, method, batch, device, .. } = measured;
    let mut text = format!("{recipe} · {method} · batches of {batch}\nbackend: {device}\n\n");
    let speeds = [speed("training", measured.training), speed("inference", measured.inference)];
    text += &table(&[Align::Left, Align::Right, Align::Left], &speeds);
    let step = measured.step_seconds();
    text += &format!(
        "a step takes {:.2} ms\n\
         memory: {} persistent, {} temporary within a step{}\n",
        step * 1e3,
        format::bytes(measured.memory.persistent),
        format::bytes(measured.memory.temporary),
        measured.peak.map_or(String::new(), |peak| {
            format!("; the process at most {}", format::bytes(peak as usize))
        }),
    );
    let per_second = |amount: u64| amount as f64 / step / 1e9;
    text += &format!(
        "a step's products: {:.2} GFLOP, {:.1} GFLOP/s; its tensors, each moved once: {:.1} GB/s\n",
        measured.cost.flops as f64 / 1e9,
        per_second(measured.cost.flops),
        per_second(measured.cost.bytes),
    );
    if !measured.steps.is_empty() {
        text += &profile("part", &by_part(measured), 0.0);
        text += &profile("operation", &by_operation(measured), SMALL);
    }
    if let Some(peak_rates) = measured.peak_rates {
        text += &format!(
            "\npeak of this machine: {:.0} GFLOP/s, {:.1} GB/s\n",
            peak_rates.flops / 1e9,
            peak_rates.bytes / 1e9
        );
        if measured.steps.iter().any(|step| step.name.contains("Conv2d")) {
            text += "a convolution by Winograd's method counts as a direct one: its GFLOP/s may exceed the peak\n";
        }
    }
    text
}

/// A table of rows; those below a share of the whole are one row.
fn profile(head: &str, rows: &[Row], small: f64) -> String {
    let whole: f64 = rows.iter().map(|row| row.time.as_secs_f64()).sum();
    let share = |row: &Row| row.time.as_secs_f64() / whole.max(1e-12);
    let mut lines =
        vec![[head, "number", "ms", "share", "GFLOP/s", "GB/s"].map(str::to_owned).to_vec()];
    let cells = |row: &Row| {
        vec![
            row.name.clone(),
            row.count.to_string(),
            format!("{:.3}", row.time.as_secs_f64() * 1e3),
            format!("{:.1} %", 100.0 * share(row)),
        ]
    };
    let (few, many): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| share(row) < small);
    for row in many {
        let gflops = row.gflops().map_or("–".into(), |rate| format!("{rate:.1}"));
        lines.push([cells(row), vec![gflops, format!("{:.1}", row.gigabytes())]].concat());
    }
    if !few.is_empty() {
        let count = few.iter().map(|row| row.count).sum();
        let time = few.iter().map(|row| row.time).sum();
        lines.push(cells(&Row { name: "others".into(), count, cost: Cost::default(), time }));
    }
    let right = Align::Right;
    format!("\n{}", table(&[Align::Left, right, right, right, right, right], &lines))
}

/// What another program needs to do the same: the configuration, the images' shape, how many parameters are trained.
///
/// # Errors
/// A network that cannot be.
pub(super) fn description(config: &RunConfig, shape: &DataShape) -> Result<Map<String, Value>> {
    let network =
        Network::new(&mut ProgramSet::new(), &config.network, &shape.image, shape.classes)
            .usage()?;
    let (parameters, heads) = network.parameter_counts();
    let trained = parameters + if config.method().workers.learn() { heads } else { 0 };
    Ok(fields([
        ("recipe", json!(config.label())),
        ("configuration", serde_json::to_value(config)?),
        ("image", json!(shape.image)),
        ("classes", json!(shape.classes)),
        ("method", json!(config.method)),
        ("batch", json!(config.training.batch_size)),
        ("parameters", json!(trained)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ]))
}

/// The description and what was measured.
pub(super) fn measured(
    mut description: Map<String, Value>,
    measured: &Measured,
) -> Map<String, Value> {
    let speed = |Spread { low, median, high }: Spread| json!({"lower_quartile": low, "median": median, "upper_quartile": high});
    let rows = |rows: Vec<Row>| -> Value {
        let row = |row: Row| {
            json!({
                "name": row.name,
                "operations": row.count,
                "seconds": row.time.as_secs_f64(),
                "flops": row.cost.flops,
                "bytes": row.cost.bytes,
            })
        };
        rows.into_iter().map(row).collect()
    };
    let peak_rates = measured.peak_rates.map(
        |peak_rates| json!({"flops_per_second": peak_rates.flops, "bytes_per_second": peak_rates.bytes}),
    );
    description.extend(fields([
        ("backend", json!(measured.device)),
        ("training_images_per_second", speed(measured.training)),
        ("inference_images_per_second", speed(measured.inference)),
        ("step_seconds", json!(measured.step_seconds())),
        ("step_flops", json!(measured.cost.flops)),
        ("step_moved_bytes", json!(measured.cost.bytes)),
        ("persistent_bytes", json!(measured.memory.persistent)),
        ("step_bytes", json!(measured.memory.temporary)),
        ("peak_memory_bytes", json!(measured.peak)),
        ("parts", rows(by_part(measured))),
        ("operations", rows(by_operation(measured))),
        ("steps", rows(one_by_one(measured))),
        ("peak_rates", json!(peak_rates)),
    ]));
    description
}

/// An object as text.
///
/// # Errors
/// None, in truth: numbers and names can be written.
pub(super) fn json(fields: Map<String, Value>) -> Result<String> {
    Ok(serde_json::to_string_pretty(&Value::Object(fields))?)
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
