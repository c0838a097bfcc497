//! `plot`: the curves of any runs together.

use std::path::Path;

use anyhow::anyhow;
use lfnn_core::metric::Metrics;

use crate::chart::{Axis, Figure, Mark, Panel, Point, Shape};
use crate::cli::PlotArgs;
use crate::failure::{Failure, Result, Usage};
use crate::files::create_folder;
use crate::output::Output;
use crate::run::{EpochRow, R2, read_rows};

/// A run and what it has measured.
struct Run {
    name: String,
    rows: Vec<EpochRow>,
}

/// Runs the command.
///
/// # Errors
/// A folder without a run's metrics, or one that cannot be written.
pub(crate) fn command(args: &PlotArgs, output: &Output) -> Result {
    let runs = args.runs.iter().map(|folder| read(folder)).collect::<Result<Vec<_>, _>>()?;
    let folder = &args.out;
    create_folder(folder)?;
    curves(&named_apart(runs)).write(folder, "curves")?;
    for extension in ["svg", "png"] {
        output.result(&folder.join("curves").with_extension(extension).display().to_string())?;
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Run> {
    if !folder.is_dir() {
        let message = "no such folder; expected a run's folder";
        return Err(Failure::Usage(anyhow!("{}: {message}", folder.display())));
    }
    let rows = read_rows(folder)?;
    if rows.is_empty() {
        let message = "no epochs to plot (metrics.jsonl is missing or empty)";
        return Err(anyhow!("{}: {message}", folder.display())).usage();
    }
    let name = folder.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_owned()));
    let name = name.map_or_else(|| folder.display().to_string(), |name| name.display().to_string());
    Ok(Run { name, rows })
}

/// Runs of one name get a number each.
fn named_apart(mut runs: Vec<Run>) -> Vec<Run> {
    for at in 1..runs.len() {
        let same =
            runs[..at].iter().filter(|run| run.name.split(" (").next() == Some(&runs[at].name));
        let same = same.count();
        if same > 0 {
            runs[at].name += &format!(" ({})", same + 1);
        }
    }
    runs
}

/// Whether the end of the curves would be flat on an axis that begins at 0.
fn spans_decades(marks: &[Mark]) -> bool {
    let values = marks.iter().flat_map(|mark| match &mark.shape {
        Shape::Line(points) | Shape::MarkedLine(points) => points.as_slice(),
        _ => &[],
    });
    let (low, high) = values
        .fold((f64::INFINITY, 0.0f64), |(low, high), point| (low.min(point.y), high.max(point.y)));
    low > 0.0 && high > 10.0 * low
}

/// Errors and losses against epochs.
fn curves(runs: &[Run]) -> Figure {
    type Value = fn(&EpochRow) -> Option<f64>;
    fn r2(metrics: &Metrics) -> Option<f64> {
        metrics.network.get(R2).copied()
    }
    let quantities: [(&str, Value); 7] = [
        ("test error, %", |row| row.test.error()),
        ("validation error, %", EpochRow::validation_error),
        ("training error while learning, %", |row| row.train.error()),
        ("test R²", |row| r2(&row.test)),
        ("validation R²", |row| r2(row.validation.as_ref()?)),
        ("training R² while learning", |row| r2(&row.train)),
        ("training loss", |row| Some(row.train.loss())),
    ];
    let mut panels = Vec::new();
    for (label, value) in quantities {
        let mut marks = Vec::new();
        for (style, run) in runs.iter().enumerate() {
            let point = |row: &EpochRow| Some(Point::new(row.epoch as f64, value(row)?));
            let points: Vec<Point> = run.rows.iter().filter_map(point).collect();
            if !points.is_empty() {
                let shape = if points.len() <= 40 { Shape::MarkedLine } else { Shape::Line };
                marks.push(Mark::new(&run.name, style, shape(points)));
            }
        }
        if !marks.is_empty() {
            let (x, y) = (Axis::new("epoch"), Axis::new(label));
            let y = if spans_decades(&marks) { y.log() } else { y };
            panels.push(Panel::new("", x, y, marks, (330.0, 230.0)));
        }
    }
    let title = if let [run] = runs { run.name.clone() } else { format!("{} runs", runs.len()) };
    Figure { title, panels, columns: 2 }
}
