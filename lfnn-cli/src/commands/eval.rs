//! `eval`: loss and error of a trained network, and of the workers inside it.

use std::path::Path;

use anyhow::{Context, anyhow};
use lfnn_core::backend::Precision;
use lfnn_core::metric::Metrics;
use lfnn_core::train::Evaluator;
use serde_json::{Value, json};

use super::of_checkpoint;
use crate::backend::BackendArgs;
use crate::checkpoint::{self, Checkpoint};
use crate::cli::{EvalArgs, Split};
use crate::data::{self, LoadedData};
use crate::digest;
use crate::failure::{Failure, Result};
use crate::format::{self, Align, table};
use crate::output::Output;
use crate::run::{lowest, mean};

/// Runs the command.
///
/// # Errors
/// A checkpoint or data that are missing, broken or do not fit each other.
pub(crate) fn command(args: &EvalArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let checkpoint = checkpoint::load(&path)?;
    let mut config = checkpoint.metadata.config.clone();
    if args.path.is_some() {
        config.dataset.path.clone_from(&args.path);
    }
    let data = LoadedData::load(&config, &data::root(&args.data)?, output)?;
    let model = &checkpoint.metadata.model;
    if data.images().shape != model.input || data.classes != model.names() {
        let message = "the data set's images or classes are not those of the checkpoint";
        return Err(Failure::Runtime(anyhow!("{}: {message}", path.display())));
    }
    if digest::of(&data) != checkpoint.metadata.data {
        output.note(
            "note: this is not the data of the run: images, labels or their order have changed",
        );
    }
    let (name, indices) = match args.split {
        Split::Test => ("test", &data.test),
        Split::Train => ("train", &data.train),
        Split::Validation => ("validation", &data.validation),
    };
    if indices.is_empty() {
        let message = "the run held out no images (`dataset.validation` is 0)";
        return Err(Failure::Usage(anyhow!("--split {name}: {message}")));
    }
    let device = backend.open(Precision::F32, output)?;
    let (network, state) = (&config.network, &checkpoint.state);
    let (batch, workers) = (config.training.batch_size.max(32), config.method().workers.learn());
    let evaluated = Evaluator::new(&*device.backend, network, data.images(), state, batch, workers)
        .and_then(|mut evaluator| evaluator.evaluate(indices));
    let evaluation = evaluated.map_err(|error| of_checkpoint(&path, error))?;
    let text = if args.json {
        to_json(name, &checkpoint, &evaluation)?
    } else {
        to_text(name, &path, &checkpoint, &evaluation)
    };
    output.result(&text)
}

fn to_json(split: &str, checkpoint: &Checkpoint, evaluation: &Metrics) -> anyhow::Result<String> {
    let config = &checkpoint.metadata.config;
    let mut value = json!({
        "split": split,
        "recipe": config.recipe,
        "method": config.method,
        "seed": config.seed,
        "epoch": checkpoint.metadata.epoch,
    });
    if let (Value::Object(value), Value::Object(metrics)) =
        (&mut value, serde_json::to_value(evaluation)?)
    {
        value.extend(metrics);
    }
    serde_json::to_string_pretty(&value).context("cannot write JSON")
}

fn to_text(split: &str, path: &Path, checkpoint: &Checkpoint, evaluation: &Metrics) -> String {
    let config = &checkpoint.metadata.config;
    let mut text = format!(
        "{}: {} · {} · seed {}, after epoch {}\n{split}: {} images, loss {:.4}, error {}\n",
        path.display(),
        config.label(),
        config.method,
        config.seed,
        checkpoint.metadata.epoch,
        format::count(evaluation.examples),
        evaluation.loss(),
        format::percent(evaluation.error())
    );
    if evaluation.units.is_empty() {
        return text;
    }
    let head = ["unit", "workers", "best", "mean", "worst"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (unit, number) in evaluation.units.iter().zip(1..) {
        let errors = unit.workers("worker_errors");
        lines.push(vec![
            format!("{number}"),
            errors.len().to_string(),
            format::percent(lowest(errors)),
            format::percent(mean(errors)),
            format::percent(errors.iter().copied().reduce(f64::max)),
        ]);
    }
    text += &table(&[Align::Right; 5], &lines);
    text
}
