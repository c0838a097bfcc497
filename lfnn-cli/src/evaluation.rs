//! A trained network on labelled data: its metrics, its predictions and their scores. `eval` prints them, `report` shows
//! them.

use std::path::Path;

use anyhow::{Context, anyhow};
use lfnn_core::backend::{Backend, Precision};
use lfnn_core::metric::Metrics;
use lfnn_core::model::{Model, ModelTarget};
use lfnn_core::score::{ClassScores, ValueScore};
use lfnn_core::train::{Evaluator, Images, Labels, TrainError};
use lfnn_data::{DataKind, Examples, Targets, Update, permute_pixels};

use crate::backend::BackendArgs;
use crate::checkpoint::{self, Checkpoint, SavedModel};
use crate::cli::{DataFolder, Split};
use crate::commands::of_checkpoint;
use crate::config::RunConfig;
use crate::data::{
    self, DataProgress, LoadedData, example_format, flat, load_for_model, print_notes, value_scores,
};
use crate::digest;
use crate::ensemble::EnsembleArgs;
use crate::failure::{Failure, Result};
use crate::output::{Level, Output};

/// A network and what it does on data.
#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) chosen: Chosen,
    pub(crate) metrics: Metrics,
    /// Of classes, the probabilities of each of the chosen examples, if they are scored.
    #[cfg_attr(not(feature = "report"), expect(dead_code, reason = "a report shows examples"))]
    pub(crate) probabilities: Vec<Vec<f32>>,
    pub(crate) scores: Scores,
}

/// Scores beside the metrics.
#[derive(Debug)]
pub(crate) enum Scores {
    None,
    Classes(ClassScores),
    Values(Vec<ValueScore>),
}

impl Evaluation {
    /// Evaluates the checkpoint with this path.
    ///
    /// # Errors
    /// A checkpoint or data that are missing, broken or do not fit each other.
    pub(crate) fn of(
        path: &Path,
        wanted: Wanted<'_>,
        backend: BackendArgs,
        output: &Output,
    ) -> Result<Self> {
        let mut checkpoint = checkpoint::load(path)?;
        let metadata = &mut checkpoint.metadata;
        wanted.ensemble.apply(&mut metadata.config.network, &metadata.config.method)?;
        let chosen = Chosen::load(wanted, path, &checkpoint, output)?;
        let device = backend.open(Precision::F32, output)?;
        let (metrics, probabilities, scores) =
            evaluate(&checkpoint, &chosen, wanted.scores, &*device.backend)
                .map_err(|error| of_checkpoint(path, error))?;
        Ok(Self { checkpoint, chosen, metrics, probabilities, scores })
    }
}

fn evaluate(
    Checkpoint { metadata, state }: &Checkpoint,
    Chosen { examples, indices, .. }: &Chosen,
    scores: bool,
    backend: &dyn Backend,
) -> Result<(Metrics, Vec<Vec<f32>>, Scores), TrainError> {
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
    let (batch, workers) = (config.training.batch_size.max(32), config.method().workers.learn());
    let mut evaluator = Evaluator::new(backend, &config.network, images, state, batch, workers)?;
    let labels = match &examples.targets {
        Targets::Classes(_) if !scores => {
            return Ok((evaluator.evaluate(indices)?, Vec::new(), Scores::None));
        }
        Targets::Classes(labels) => labels,
        Targets::Values(values) => {
            let (metrics, outputs) = evaluator.evaluate_with_predictions(indices)?;
            let scores = value_scores(target, values, indices, &outputs)?;
            return Ok((metrics, Vec::new(), Scores::Values(scores)));
        }
    };
    let (metrics, outputs) = evaluator.evaluate_with_predictions(indices)?;
    let labels: Vec<u32> = indices.iter().map(|&at| labels[at as usize]).collect();
    let probabilities: Vec<Vec<f32>> = outputs.iter().map(|row| target.prediction(row)).collect();
    let scores = ClassScores::new(&probabilities.concat(), &labels, target.names().len())?;
    Ok((metrics, probabilities, Scores::Classes(scores)))
}

/// What is evaluated.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) examples: Examples,
    pub(crate) indices: Vec<u32>,
    /// The part of the run's data; of other data, `data`.
    pub(crate) name: &'static str,
    pub(crate) kind: DataKind,
}

/// What a user wants to be evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The folder of the data sets.
    pub(crate) data: &'a DataFolder,
    /// The run's data elsewhere, or other data.
    pub(crate) path: Option<&'a Path>,
    /// A part of the run's data.
    pub(crate) split: Option<Split>,
    /// Whose workers predict together with the output layer.
    pub(crate) ensemble: EnsembleArgs,
    /// Whether classes are scored; values always are.
    pub(crate) scores: bool,
}

impl Chosen {
    fn load(
        wanted: Wanted<'_>,
        path: &Path,
        checkpoint: &Checkpoint,
        output: &Output,
    ) -> Result<Self> {
        let metadata = &checkpoint.metadata;
        let mut config = metadata.config.clone();
        if let Some(path) = wanted.path {
            config.dataset.path = Some(path.to_owned());
        }
        let kind = config.dataset.name.kind();
        let root = data::root(wanted.data)?;
        let is_flat = wanted.path.is_some_and(|path| !path.join("train").is_dir());
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
            return Self::other(wanted, path, checkpoint, &config, output);
        };
        let (name, indices) = match wanted.split.unwrap_or_default() {
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
        wanted: Wanted<'_>,
        path: &Path,
        checkpoint: &Checkpoint,
        config: &RunConfig,
        output: &Output,
    ) -> Result<Self> {
        if wanted.split.is_some() {
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
        if wanted.path.is_none() {
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
