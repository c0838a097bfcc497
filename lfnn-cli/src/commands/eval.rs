//! `eval`: loss, error and scores of a trained network, and of the workers inside it.

use std::path::Path;

use anyhow::{Context, anyhow};
use lfnn_core::backend::Precision;
use lfnn_core::metric::Metrics;
use lfnn_core::model::{Model, ModelTarget};
use lfnn_core::score::{ClassScores, ValueScore};
use lfnn_core::train::{Evaluator, Images, Labels, TrainError};
use lfnn_data::{DataKind, Examples, Targets, Update, permute_pixels};
use serde_json::{Map, Value, json};

use super::of_checkpoint;
use crate::backend::BackendArgs;
use crate::checkpoint::{self, Checkpoint, SavedModel};
use crate::cli::{EvalArgs, Split};
use crate::config::RunConfig;
use crate::data::{
    self, DataProgress, LoadedData, example_format, flat, load_for_model, print_notes, value_scores,
};
use crate::failure::{Failure, Result};
use crate::format::{self, Align, table};
use crate::output::{Level, Output};
use crate::run::{lowest, mean};
use crate::{digest, scores};

/// Runs the command.
///
/// # Errors
/// A checkpoint or data that are missing, broken or do not fit each other.
pub(crate) fn command(args: &EvalArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let checkpoint = checkpoint::load(&path)?;
    let chosen = Chosen::load(args, &path, &checkpoint, output)?;
    let Chosen { examples, indices, .. } = &chosen;
    let Checkpoint { metadata, state } = &checkpoint;
    let (config, target) = (&metadata.config, &metadata.model.target);
    let standardized;
    let labels = match (&examples.targets, target) {
        (Targets::Values(values), ModelTarget::Values { .. }) => {
            standardized = target.standardize(flat(values));
            Labels::Values(&standardized)
        }
        _ => Labels::Classes(examples.labels()),
    };
    let images = Images {
        pixels: (&examples.inputs).into(),
        labels,
        shape: metadata.model.input,
        classes: target.names().len(),
    };
    let device = backend.open(Precision::F32, output)?;
    let (batch, workers) = (config.training.batch_size.max(32), config.method().workers.learn());
    let evaluate = || -> Result<_, TrainError> {
        let network = &config.network;
        let mut evaluator =
            Evaluator::new(&*device.backend, network, images, state, batch, workers)?;
        let metrics = evaluator.evaluate(indices)?;
        let scores = match &examples.targets {
            Targets::Classes(labels) if args.scores => {
                let labels: Vec<u32> = indices.iter().map(|&at| labels[at as usize]).collect();
                let outputs = evaluator.predict(indices)?;
                let probabilities: Vec<f32> =
                    outputs.iter().flat_map(|row| target.prediction(row)).collect();
                Scores::Classes(ClassScores::new(&probabilities, &labels, target.names().len())?)
            }
            Targets::Classes(_) => Scores::None,
            Targets::Values(values) => {
                let outputs = evaluator.predict(indices)?;
                Scores::Values(value_scores(target, values, indices, &outputs)?)
            }
        };
        Ok((metrics, scores))
    };
    let (metrics, scores) = evaluate().map_err(|error| of_checkpoint(&path, error))?;
    let evaluation = Evaluation { checkpoint: &checkpoint, chosen: &chosen, metrics, scores };
    let text = if args.json { evaluation.to_json()? } else { evaluation.to_text(&path) };
    output.result(&text)
}

/// What is evaluated.
struct Chosen {
    examples: Examples,
    indices: Vec<u32>,
    /// The part of the run's data; of other data, `data`.
    name: &'static str,
    kind: DataKind,
}

impl Chosen {
    fn load(
        args: &EvalArgs,
        path: &Path,
        checkpoint: &Checkpoint,
        output: &Output,
    ) -> Result<Self> {
        let metadata = &checkpoint.metadata;
        let mut config = metadata.config.clone();
        if args.path.is_some() {
            config.dataset.path.clone_from(&args.path);
        }
        let kind = config.dataset.name.kind();
        let root = data::root(&args.data)?;
        let is_flat = args.path.as_deref().is_some_and(|path| !path.join("train").is_dir());
        let data = match kind {
            DataKind::Images if config.dataset.name.is_resized() && is_flat => None,
            DataKind::Images => Some(load_for_model(&config, &root, (path, metadata), output)?),
            // The run's own file, perhaps in another place, is divided as in the run.
            DataKind::Table | DataKind::Arrays => {
                let loaded = LoadedData::load(&config, &root, &Output::new(Level::Silent));
                loaded.ok().filter(|data| digest::of(data) == metadata.data)
            }
        };
        let Some(data) = data else {
            return Self::other(args, path, checkpoint, &config, output);
        };
        let (name, indices) = match args.split.unwrap_or_default() {
            Split::Test => ("test", data.test),
            Split::Train => ("train", data.train),
            Split::Validation => ("validation", data.validation),
        };
        if indices.is_empty() {
            let message =
                format!("the run held out no {}s (`dataset.validation` is 0)", kind.example());
            return Err(Failure::Usage(anyhow!("--split {name}: {message}")));
        }
        Ok(Self { examples: data.examples, indices, name, kind })
    }

    /// All of a file or folder that is not the run's data.
    fn other(
        args: &EvalArgs,
        path: &Path,
        checkpoint: &Checkpoint,
        config: &RunConfig,
        output: &Output,
    ) -> Result<Self> {
        if args.split.is_some() {
            let message = "this is not the data of the run, so it has no such part; without --split all of it is \
                           evaluated";
            return Err(Failure::Usage(anyhow!("--split: {message}")));
        }
        let Checkpoint { metadata, state } = checkpoint.clone();
        let model = Model { description: metadata.model.clone(), state };
        let saved = SavedModel { model, metadata: Some(metadata) };
        let format = example_format(&saved).with_context(|| path.display().to_string())?;
        let source = config.dataset.path.as_deref().unwrap_or(Path::new(""));
        let progress = DataProgress::new(output);
        let loaded = format.examples(source, &|update: &Update<'_>| progress.show(update));
        progress.clear();
        let (mut examples, notes) = loaded?;
        print_notes(&notes, output);
        if args.path.is_none() {
            output.note(
                "note: this is not the data of the run: it has changed; all of it is evaluated",
            );
        }
        if config.dataset.permute_pixels {
            permute_pixels(&mut examples, config.seed);
        }
        let indices = (0..examples.len() as u32).collect();
        Ok(Self { examples, indices, name: "data", kind: format.kind })
    }
}

/// Scores beside the metrics.
enum Scores {
    None,
    Classes(ClassScores),
    Values(Vec<ValueScore>),
}

/// What was found.
struct Evaluation<'a> {
    checkpoint: &'a Checkpoint,
    chosen: &'a Chosen,
    metrics: Metrics,
    scores: Scores,
}

impl Evaluation<'_> {
    fn to_json(&self) -> anyhow::Result<String> {
        let metadata = &self.checkpoint.metadata;
        let config = &metadata.config;
        let mut value = json!({
            "split": self.chosen.name,
            "recipe": config.recipe,
            "method": config.method,
            "seed": config.seed,
            "epoch": metadata.epoch,
        });
        if let (Value::Object(value), Value::Object(metrics)) =
            (&mut value, serde_json::to_value(&self.metrics)?)
        {
            value.extend(metrics);
        }
        let names = metadata.model.names();
        match &self.scores {
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

    fn to_text(&self, path: &Path) -> String {
        let Self { checkpoint: Checkpoint { metadata, .. }, chosen, metrics, scores } = self;
        let config = &metadata.config;
        let error =
            metrics.error().map_or_else(String::new, |error| format!(", error {error:.2} %"));
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
