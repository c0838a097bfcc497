//! `early-exit`: what predictions cost and get wrong that stop at the first unit that is sure enough.

use lfnn_core::backend::Precision;
use lfnn_core::model::Model;
use lfnn_core::train::{ExitPoint, TrainError};
use serde_json::json;

use super::of_checkpoint;
use crate::backend::BackendArgs;
use crate::checkpoint::{self, Checkpoint};
use crate::cli::EarlyExitArgs;
use crate::data;
use crate::failure::Result;
use crate::format::{Align, table};
use crate::output::Output;

/// Probabilities from which a prediction stops; no prediction reaches the last.
const THRESHOLDS: [f32; 9] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 2.0];

/// Runs the command.
///
/// # Errors
/// A checkpoint or data that are missing, broken or do not fit each other; a network whose workers do not predict
/// classes.
pub(crate) fn command(args: &EarlyExitArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let Checkpoint { metadata, state } = checkpoint::load(&path)?;
    let mut config = metadata.config.clone();
    if args.path.is_some() {
        config.dataset.path.clone_from(&args.path);
    }
    let root = data::root(&args.data)?;
    let loaded = data::load_for_model(&config, &root, (&path, &metadata), output)?;
    let (model, batch) = (metadata.model, config.training.batch_size.max(32));
    let chosen_on = if loaded.validation.is_empty() { &loaded.train } else { &loaded.validation };
    let units = model.network.units.len();
    let device = backend.open(Precision::F32, output)?;
    let evaluate = || -> Result<_, TrainError> {
        let examples = loaded.examples.dataset()?.named(model.names())?;
        let model = Model { description: model.clone(), state };
        let mut early = model.early_exit(&*device.backend, batch, &examples.select(chosen_on)?)?;
        let points = early.evaluate(&examples.select(&loaded.test)?, &THRESHOLDS)?;
        Ok((early.workers(), points))
    };
    let (workers, points) = evaluate().map_err(|error| of_checkpoint(&path, error))?;
    if let Some(folder) = &args.out {
        draw(folder, config.label(), &points)?;
    }
    if args.json {
        let point = |point: &ExitPoint| {
            json!({
                "threshold": (point.threshold <= 1.0).then_some(point.threshold),
                "error": point.error,
                "arithmetic": point.arithmetic,
                "exits": point.exits,
            })
        };
        let points: Vec<_> = points.iter().map(point).collect();
        let all = json!({
            "workers": workers.iter().map(|worker| worker + 1).collect::<Vec<_>>(),
            "points": points,
        });
        return output.result(&serde_json::to_string_pretty(&all)?);
    }
    output.result(&to_text(&workers, &points, units, loaded.test.len()))
}

fn to_text(workers: &[usize], points: &[ExitPoint], units: usize, examples: usize) -> String {
    let numbers: Vec<String> = workers.iter().map(|worker| (worker + 1).to_string()).collect();
    let mut text = format!("workers that speak for units 1 to {units}: {}\n", numbers.join(", "));
    let mut head = vec!["stop from".to_owned(), "error".into(), "arithmetic".into()];
    head.extend((1..=units).map(|unit| format!("unit {unit}")));
    head.push("output".into());
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut lines = vec![head];
    for ExitPoint { threshold, error, arithmetic, exits } in points {
        let from = if *threshold > 1.0 { "never".into() } else { format!("{threshold}") };
        let mut line = vec![from, format!("{error:.2} %"), percent(*arithmetic)];
        line.extend(exits.iter().map(|&count| percent(count as f64 / examples.max(1) as f64)));
        lines.push(line);
    }
    text += &table(&vec![Align::Right; units + 4], &lines);
    text
}

/// Error against arithmetic.
#[cfg(feature = "report")]
fn draw(folder: &std::path::Path, label: &str, points: &[ExitPoint]) -> Result {
    use crate::chart::{Axis, Figure, Mark, Panel, Point, Shape};
    crate::files::create_folder(folder)?;
    let mut curve: Vec<Point> =
        points.iter().map(|point| Point::new(100.0 * point.arithmetic, point.error)).collect();
    curve.sort_by(|a, b| a.x.total_cmp(&b.x));
    let whole = points.last().map_or(0.0, |point| point.error);
    let marks = vec![
        Mark::new("stopping at the first unit that is sure", 0, Shape::MarkedLine(curve)),
        Mark::new("never stopping", 1, Shape::Level(whole)),
    ];
    let (x, y) = (Axis::new("arithmetic of a prediction, %"), Axis::new("test error, %"));
    let panels = vec![Panel::new("", x, y, marks, (420.0, 280.0))];
    let figure = Figure { title: format!("{label}: early exit"), panels, columns: 1 };
    Ok(figure.write(folder, "early_exit")?)
}

#[cfg(not(feature = "report"))]
fn draw(_: &std::path::Path, _: &str, _: &[ExitPoint]) -> Result {
    Err(crate::failure::lacks("`--out`", "report"))
}
