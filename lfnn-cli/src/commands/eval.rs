//! `eval`: loss, error and scores of a trained network, and of the workers inside it.

use std::path::Path;

use anyhow::Context;
use lfnn_core::metric::Metrics;
use serde_json::{Map, Value, json};

use crate::backend::BackendArgs;
use crate::checkpoint::{self, Checkpoint};
use crate::cli::EvalArgs;
use crate::evaluation::{Evaluation, Scores, Wanted};
use crate::failure::Result;
use crate::format::{self, Align, table};
use crate::output::Output;
use crate::run::{lowest, mean};
use crate::scores;

/// Runs the command.
///
/// # Errors
/// A checkpoint or data that are missing, broken or do not fit each other.
pub(crate) fn command(args: &EvalArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let &EvalArgs { ref data, split, ensemble, scores, .. } = args;
    let wanted = Wanted { data, path: args.path.as_deref(), split, ensemble, scores };
    let evaluation = Evaluation::of(&path, wanted, backend, output)?;
    let text = if args.json { to_json(&evaluation)? } else { to_text(&evaluation, &path) };
    output.result(&text)
}

fn to_json(evaluation: &Evaluation) -> anyhow::Result<String> {
    let metadata = &evaluation.checkpoint.metadata;
    let config = &metadata.config;
    let mut value = json!({
        "split": evaluation.chosen.name,
        "recipe": config.recipe,
        "method": config.method,
        "seed": config.seed,
        "epoch": metadata.epoch,
        "ensemble": config.network.output.ensemble,
    });
    if let (Value::Object(value), Value::Object(metrics)) =
        (&mut value, serde_json::to_value(&evaluation.metrics)?)
    {
        value.extend(metrics);
    }
    let names = metadata.model.names();
    match &evaluation.scores {
        Scores::None => {}
        Scores::Classes(scores) => {
            value["scores"] = serde_json::to_value(scores)?;
            value["scores"]["names"] = json!(names);
        }
        Scores::Values(scores) => {
            let named = names.iter().cloned().zip(scores.iter().map(|score| json!(score)));
            value["values"] = named.collect::<Map<_, _>>().into();
        }
    }
    serde_json::to_string_pretty(&value).context("cannot write JSON")
}

fn to_text(evaluation: &Evaluation, path: &Path) -> String {
    let Evaluation { checkpoint: Checkpoint { metadata, .. }, chosen, metrics, scores, .. } =
        evaluation;
    let config = &metadata.config;
    let error = metrics.error().map_or_else(String::new, |error| format!(", error {error:.2} %"));
    let mut text = format!(
        "{}: {} · {} · seed {}, after epoch {}\n{}: {} {}s, loss {:.4}{error}\n",
        path.display(),
        config.label(),
        config.method,
        config.seed,
        metadata.epoch,
        chosen.name,
        format::count(metrics.examples),
        chosen.kind.example(),
        metrics.loss(),
    );
    if config.network.output.ensemble > 0 {
        let units = format::number_of(config.network.output.ensemble, "unit");
        text += &format!("predicted by the output layer and the workers of the last {units}\n");
    }
    text += &workers(metrics);
    let names = metadata.model.names();
    match scores {
        Scores::None => text,
        Scores::Classes(scores) => text + "\n" + &scores::of_classes(names, scores),
        Scores::Values(scores) => {
            text + "\n" + &scores::of_values(chosen.name, names.iter().zip(scores))
        }
    }
}

/// Errors of the workers of each unit; losses, in a regression.
fn workers(metrics: &Metrics) -> String {
    if metrics.units.is_empty() {
        return String::new();
    }
    let head = ["unit", "workers", "best", "mean", "worst"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (unit, number) in metrics.units.iter().zip(1..) {
        let (values, text): (_, fn(Option<f64>) -> String) = match unit.workers("worker_errors") {
            [] => (unit.workers("worker_losses"), format::loss),
            errors => (errors, format::percent),
        };
        lines.push(vec![
            format!("{number}"),
            values.len().to_string(),
            text(lowest(values)),
            text(mean(values)),
            text(values.iter().copied().reduce(f64::max)),
        ]);
    }
    table(&[Align::Right; 5], &lines)
}
