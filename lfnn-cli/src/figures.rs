//! Figures of any runs: curves of their metrics, leadership over the epochs, and how good the workers are.
//!
//! What a run does not measure is left out: a method without leaders has no leadership, a regression no error.

use std::collections::BTreeSet;

use lfnn_core::config::Task;
use lfnn_core::metric::{Metrics, UnitMetrics};

use crate::chart::{Axis, Figure, Mark, Panel, Point, Shape, Stat};
use crate::cli::HorizontalAxis;
use crate::run::{EpochRow, R2, RecordedRun, lowest, mean};

/// Runs that differ in their seeds alone.
#[derive(Clone, Debug)]
pub(crate) struct SeedGroup<'a> {
    /// The run's name, or what the names of the runs have in common.
    pub(crate) name: String,
    /// In the order in which they were given.
    pub(crate) runs: Vec<&'a RecordedRun>,
}

impl<'a> SeedGroup<'a> {
    /// Puts runs into groups, in the order of their first runs.
    pub(crate) fn of(runs: &'a [RecordedRun]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for run in runs {
            match groups.iter_mut().find(|group| group.takes(run)) {
                Some(group) => group.runs.push(run),
                None => groups.push(Self { name: String::new(), runs: vec![run] }),
            }
        }
        for at in 0..groups.len() {
            let mut name = groups[at].common_name();
            if groups[..at].iter().any(|group| group.name == name) {
                name += &format!(", group {}", at + 1);
            }
            groups[at].name = name;
        }
        groups
    }

    /// Whether a run differs from those of the group in its seed, and in nothing else.
    fn takes(&self, run: &RecordedRun) -> bool {
        let Some(config) = &run.config else { return false };
        self.runs.iter().all(|other| {
            other.config.as_ref().is_some_and(|other| {
                let mut alike = other.clone();
                alike.seed = config.seed;
                alike == *config && other.seed != config.seed
            })
        })
    }

    fn common_name(&self) -> String {
        let [first, others @ ..] = &self.runs[..] else { return String::new() };
        if others.is_empty() {
            return first.name.clone();
        }
        let is_common = |(at, letter): &(usize, char)| {
            others
                .iter()
                .all(|run| run.name.get(*at..).is_some_and(|rest| rest.starts_with(*letter)))
        };
        let common: String =
            first.name.char_indices().take_while(is_common).map(|(_, letter)| letter).collect();
        let common = common.trim_end_matches(['-', '_', '.', ' ', '(']);
        // Names without a beginning in common.
        let config =
            first.config.as_ref().map(|config| format!("{}-{}", config.label(), config.method));
        let name = if common.is_empty() { config.unwrap_or_default() } else { common.to_owned() };
        format!("{name}, {} seeds", self.runs.len())
    }

    /// Means over the runs after each epoch that all of them have, with their standard deviations.
    fn points(&self, axis: HorizontalAxis, value: impl Fn(&EpochRow) -> Option<f64>) -> Vec<Point> {
        let curves: Vec<Vec<(usize, f64, f64)>> =
            self.runs.iter().map(|run| curve(run, axis, &value)).collect();
        let Some((first, others)) = curves.split_first() else { return Vec::new() };
        let at_epoch = |&(epoch, x, y): &(usize, f64, f64)| {
            let find = |curve: &Vec<(usize, f64, f64)>| {
                curve.iter().find(|point| point.0 == epoch).map(|point| (point.1, point.2))
            };
            let others = others.iter().map(find).collect::<Option<Vec<_>>>()?;
            let (xs, ys): (Vec<f64>, Vec<f64>) = [(x, y)].into_iter().chain(others).unzip();
            Some(Stat::of(&ys)?.point(mean(&xs)?))
        };
        first.iter().filter_map(at_epoch).collect()
    }
}

/// Epoch, position and value of a run after each epoch that has the value.
fn curve(
    run: &RecordedRun,
    axis: HorizontalAxis,
    value: impl Fn(&EpochRow) -> Option<f64>,
) -> Vec<(usize, f64, f64)> {
    let mut seconds = 0.0;
    let point = |row: &EpochRow| {
        seconds += row.seconds;
        let x = match axis {
            HorizontalAxis::Epoch => row.epoch as f64,
            HorizontalAxis::Time => seconds,
        };
        Some((row.epoch, x, value(row)?))
    };
    run.rows.iter().filter_map(point).collect()
}

/// The images on which metrics are measured, with what they are called, in the order in which they are shown.
type Images = (&'static str, fn(&EpochRow) -> Option<&Metrics>);
const IMAGES: [Images; 3] = [
    ("test", |row| Some(&row.test)),
    ("validation", |row| row.validation.as_ref()),
    ("training", |row| Some(&row.train)),
];

/// The network's metrics by their names: the error first, the loss last.
fn network_metrics(runs: &[RecordedRun]) -> Vec<String> {
    let rows = runs.iter().flat_map(|run| &run.rows);
    let metrics = rows.flat_map(|row| IMAGES.iter().filter_map(|(_, metrics)| metrics(row)));
    let names: BTreeSet<&String> = metrics.flat_map(|metrics| metrics.network.keys()).collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    names.sort_by_key(|name| (name != "error", name == "loss"));
    names
}

/// A metric for people, with its unit.
fn label(images: &str, metric: &str) -> String {
    let unit = if metric.ends_with("error") || metric.ends_with("percent") { ", %" } else { "" };
    let name = if metric == R2 { "R²".to_owned() } else { metric.replace('_', " ") };
    format!("{images} {name}{unit}")
}

/// Every metric of the networks against epochs or time.
pub(crate) fn curves(runs: &[RecordedRun], axis: HorizontalAxis) -> Figure {
    let groups = SeedGroup::of(runs);
    let (mut panels, mut columns) = (Vec::new(), 0);
    for metric in network_metrics(runs) {
        let before = panels.len();
        for (images, metrics) in IMAGES {
            let value = |row: &EpochRow| metrics(row)?.network.get(&metric).copied();
            let marks: Vec<Mark> = groups
                .iter()
                .enumerate()
                .flat_map(|(style, group)| line(&group.name, style, group.points(axis, value)))
                .collect();
            if !marks.is_empty() {
                panels.push(panel(&label(images, &metric), marks, axis));
            }
        }
        columns = columns.max(panels.len() - before);
    }
    Figure { title: title(runs), panels, columns }
}

/// A line through points, above the band of their spread if there is any.
fn line(name: &str, style: usize, points: Vec<Point>) -> Vec<Mark> {
    let mut marks = Vec::new();
    if points.iter().any(|point| point.spread > 0.0) {
        marks.push(Mark::new("one standard deviation", style, Shape::Band(points.clone())));
    }
    let points: Vec<Point> = points.into_iter().map(|point| Point::new(point.x, point.y)).collect();
    if !points.is_empty() {
        let shape = if points.len() <= 40 { Shape::MarkedLine } else { Shape::Line };
        marks.push(Mark::new(name, style, shape(points)));
    }
    marks
}

fn panel(label: &str, mut marks: Vec<Mark>, axis: HorizontalAxis) -> Panel {
    let y = if spans_decades(&marks) { Axis::new(label).log() } else { Axis::new(label) };
    let x = match axis {
        HorizontalAxis::Epoch => Axis::new("epoch").whole(),
        HorizontalAxis::Time => time_axis(&mut marks),
    };
    Panel::new("", x, y, marks, (300.0, 210.0))
}

fn points_of(mark: &Mark) -> &[Point] {
    match &mark.shape {
        Shape::Line(points) | Shape::MarkedLine(points) => points,
        _ => &[],
    }
}

/// Whether the end of the curves would be flat on an axis that begins at 0, to which they fall.
fn spans_decades(marks: &[Mark]) -> bool {
    let values = marks.iter().flat_map(points_of).map(|point| point.y);
    let (low, high) = values
        .fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let falls = marks.iter().map(points_of).any(|points| match points {
        [first, .., last] => last.y <= first.y,
        _ => false,
    });
    falls && low > 0.0 && high > 10.0 * low
}

/// An axis of time in a unit that leaves few digits; the seconds of the marks become such units.
fn time_axis(marks: &mut [Mark]) -> Axis {
    let longest = marks.iter().flat_map(points_of).map(|point| point.x).fold(0.0, f64::max);
    let (unit, seconds) = match longest {
        ..=180.0 => ("s", 1.0),
        ..=10_800.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    };
    for mark in marks {
        if let Shape::Line(points) | Shape::MarkedLine(points) | Shape::Band(points) =
            &mut mark.shape
        {
            points.iter_mut().for_each(|point| point.x /= seconds);
        }
    }
    Axis::new(&format!("time of training, {unit}"))
}

/// What the runs are: methods and data sets, where these are known.
pub(crate) fn title(runs: &[RecordedRun]) -> String {
    let unique = |value: fn(&RecordedRun) -> Option<&str>| {
        let mut names: Vec<&str> = Vec::new();
        for name in runs.iter().filter_map(value) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    };
    let methods = unique(|run| Some(&run.config.as_ref()?.method));
    let data = unique(|run| Some(run.config.as_ref()?.label()));
    let what = if methods.is_empty() { String::new() } else { format!("{methods} on {data}") };
    match runs {
        [run] if what.is_empty() => run.name.clone(),
        [run] => format!("{}: {what}", run.name),
        _ if what.is_empty() => format!("{} runs", runs.len()),
        _ => format!("{what}: {} runs", runs.len()),
    }
}

/// Columns of a heat map that can be told apart.
const COLUMNS: usize = 120;

/// The leaders of each unit of each run over the epochs; none if no run has leaders.
pub(crate) fn leadership(runs: &[RecordedRun]) -> Option<Figure> {
    let (mut panels, mut columns) = (Vec::new(), 0);
    for run in runs {
        let units = run.rows.iter().map(|row| row.train.units.len()).max().unwrap_or(0);
        for unit in 0..units {
            let shares = |row: &EpochRow| {
                row.train.units.get(unit).map(|unit| unit.workers("lead_percent").to_vec())
            };
            let name = format!("unit {}", unit + 1);
            let name = if runs.len() > 1 { format!("{}, {name}", run.name) } else { name };
            panels.extend(heat_map(&name, run, shares));
        }
        columns = columns.max(units);
    }
    let title = match runs {
        [run] => format!("Leadership over the epochs: {}", run.name),
        _ => format!("Leadership over the epochs: {} runs", runs.len()),
    };
    (!panels.is_empty()).then(|| Figure { title, panels, columns: columns.clamp(1, 3) })
}

/// A row for each worker, a column for each epoch, or for a few of a long training.
fn heat_map(
    title: &str,
    run: &RecordedRun,
    shares: impl Fn(&EpochRow) -> Option<Vec<f64>>,
) -> Option<Panel> {
    let epochs = run.rows.last()?.epoch;
    let step = epochs.div_ceil(COLUMNS);
    let columns = epochs.div_ceil(step);
    let mut values: Vec<Vec<Vec<f64>>> = Vec::new();
    for row in &run.rows {
        for (worker, percent) in shares(row).unwrap_or_default().into_iter().enumerate() {
            if worker == values.len() {
                values.push(vec![Vec::new(); columns]);
            }
            values[worker][(row.epoch - 1) / step].push(percent / 100.0);
        }
    }
    let rows: Vec<Vec<Option<f64>>> =
        values.iter().map(|columns| columns.iter().map(|column| mean(column)).collect()).collect();
    let workers = rows.len();
    let high = (14.0 * workers as f64).clamp(40.0, 220.0).max(workers as f64);
    let whole = |label: &str, last: usize| {
        let axis = Axis::new(label).whole().range(0.5, last as f64 + 0.5);
        let all: Vec<f64> = (1..=last).map(|number| number as f64).collect();
        if last <= 8 { axis.ticks(&all) } else { axis }
    };
    let mark = Mark::new("of the batches", 0, Shape::Heat { step: step as f64, rows });
    let wide = (16.0 * columns as f64).clamp(180.0, 300.0);
    let x = whole("epoch", epochs).range(0.5, (columns * step) as f64 + 0.5);
    (workers > 0).then(|| Panel::new(title, x, whole("worker", workers), vec![mark], (wide, high)))
}

/// Metrics of workers, the network's that compares with each, and what they are called.
const WORKER_METRICS: [(&str, &str, &str); 2] =
    [("worker_errors", "error", "test error, %"), ("worker_losses", "loss", "test loss")];

/// The workers' losses and errors in each unit of a run; none if the method trains no workers.
pub(crate) fn workers(run: &RecordedRun) -> Option<Figure> {
    let units = run.rows.iter().map(|row| row.test.units.len()).max().unwrap_or(0);
    let task = run.config.as_ref().map(|config| config.network.task);
    let mut panels = Vec::new();
    for (metric, of_network, label) in WORKER_METRICS {
        for unit in 0..units {
            let range = |row: &EpochRow| worker_range(row.test.units.get(unit)?, metric);
            let points = |value: &dyn Fn(&EpochRow) -> Option<f64>| -> Vec<Point> {
                let points = curve(run, HorizontalAxis::Epoch, value).into_iter();
                points.map(|(_, x, y)| Point::new(x, y)).collect()
            };
            let band = |row: &EpochRow| {
                let [low, _, high] = range(row)?;
                let (y, spread) = (f64::midpoint(low, high), (high - low) / 2.0);
                Some(Point { x: row.epoch as f64, y, spread })
            };
            let band: Vec<Point> = run.rows.iter().filter_map(band).collect();
            if band.is_empty() {
                continue;
            }
            let mut marks = vec![Mark::new("lowest to highest worker", 2, Shape::Band(band))];
            marks.extend(line("mean of the workers", 2, points(&|row| Some(range(row)?[1]))));
            marks.extend(line("best worker", 1, points(&|row| Some(range(row)?[0]))));
            // The workers of one-vs-all networks decide about one class each, and the network about all.
            if task != Some(Task::OneVsAll) {
                let output = points(&|row| row.test.network.get(of_network).copied());
                marks.extend(line("output layer", 0, output));
            }
            let mut panel = panel(label, marks, HorizontalAxis::Epoch);
            (panel.title, panel.size) = (format!("unit {}", unit + 1), (240.0, 150.0));
            panels.push(panel);
        }
    }
    let title = "Workers inside the network".to_owned();
    (!panels.is_empty()).then(|| Figure { title, panels, columns: units.clamp(1, 3) })
}

/// A metric of a unit's workers: its lowest value, its mean and its highest value.
pub(crate) fn worker_range(unit: &UnitMetrics, metric: &str) -> Option<[f64; 3]> {
    let values = unit.workers(metric);
    let highest = values.iter().copied().reduce(f64::max);
    Some([lowest(values)?, mean(values)?, highest?])
}
