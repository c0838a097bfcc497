//! A data set as the core takes it: one array of examples, lists of indices, and statistics.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use lfnn_core::config::Task;
use lfnn_core::data::Split;
use lfnn_core::model::{InputElements, ModelDescription, ModelTarget};
use lfnn_core::program::DType;
use lfnn_core::score::ValueScore;
use lfnn_core::train::{DataLayout, Images, Labels, Normalization, Setup, TrainError};
use lfnn_data::{
    Counted, DataKind, Dataset, DatasetSize, ExampleFormat, Examples, ImageShape, Inputs, Note,
    TableEncoding, TargetNames, Targets, Update, permute_pixels,
};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{Metadata, SavedModel};
use crate::cli::DataFolder;
use crate::config::{DatasetConfig, RunConfig};
use crate::digest;
use crate::failure::{Failure, Usage};
use crate::format;
use crate::output::{Level, Output};

/// As many names of classes or values are shown at most.
const MOST_NAMES: usize = 5;

/// A data set in memory.
#[derive(Debug)]
pub(crate) struct LoadedData {
    /// Training examples, validation examples that the data set has a part for, then test examples.
    pub(crate) examples: Examples,
    /// The classes, or the numbers to predict with their means and deviations over the examples to train on.
    pub(crate) target: ModelTarget,
    /// In a regression, what the network learns to predict, `[examples, values]`: the numbers of the data set with
    /// mean 0 and variance 1 over the examples to train on.
    standardized: Array2<f32>,
    /// How a table became numbers.
    pub(crate) encoding: Option<TableEncoding>,
    /// Indices of the examples to train on.
    pub(crate) train: Vec<u32>,
    /// Indices of the examples held out.
    pub(crate) validation: Vec<u32>,
    /// Indices of the test examples.
    pub(crate) test: Vec<u32>,
    /// Mean and standard deviation of the examples to train on.
    pub(crate) normalization: Normalization,
}

impl LoadedData {
    /// Loads the data set of a configuration.
    ///
    /// # Errors
    /// Data that is missing or broken, or settings that do not fit it.
    pub(crate) fn load(config: &RunConfig, root: &Path, output: &Output) -> Result<Self, Failure> {
        let progress = DataProgress::new(output);
        let source = config.dataset.source(config.network.task, config.seed);
        let loaded = Dataset::load(&source, root, &|update: &Update<'_>| progress.show(update));
        progress.clear();
        let loaded = loaded?;
        print_notes(&loaded.notes, output);
        let Dataset { train, validation, test, targets, encoding, .. } = loaded;
        let all =
            |part: &Examples, first: usize| (first as u32..(first + part.len()) as u32).collect();
        let mut examples = train;
        let split = match validation {
            None => examples.hold_out(config.dataset.validation, config.seed)?,
            Some(part) => {
                let train = all(&examples, 0);
                let validation = all(&part, examples.len());
                examples.append(part)?;
                Split { train, validation }
            }
        };
        let test_indices = all(&test, examples.len());
        examples.append(test)?;
        if config.dataset.permute_pixels {
            permute_pixels(&mut examples, config.seed);
        }
        let (target, standardized) = match (&examples.targets, targets) {
            (Targets::Classes(_), TargetNames::Classes(names) | TargetNames::Values(names)) => {
                (ModelTarget::Classes { names }, Array2::default((0, 0)))
            }
            (Targets::Values(values), TargetNames::Classes(names) | TargetNames::Values(names)) => {
                let Normalization { mean, std } =
                    Normalization::of_values(flat(values), values.ncols(), &split.train);
                let target = ModelTarget::Values { names, mean, std };
                let standardized = target.standardize(flat(values));
                let standardized = Array2::from_shape_vec(values.raw_dim(), standardized);
                (target, standardized.context("values of another number")?)
            }
        };
        let mut data = Self {
            examples,
            target,
            standardized,
            encoding,
            train: split.train,
            validation: split.validation,
            test: test_indices,
            normalization: Normalization { mean: Vec::new(), std: Vec::new() },
        };
        data.normalization = Normalization::of(&data.images(), &data.train);
        Ok(data)
    }

    /// Loads the data set of a configuration, with images as those that a network was trained on.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn load_like(
        config: &RunConfig,
        model: &ModelDescription,
        root: &Path,
        output: &Output,
    ) -> Result<Self, Failure> {
        let dataset = config.dataset.like(model);
        Self::load(&RunConfig { dataset, ..config.clone() }, root, output)
    }

    /// The examples, as the core takes them.
    pub(crate) fn images(&self) -> Images<'_> {
        let labels = match &self.target {
            ModelTarget::Classes { .. } => Labels::Classes(self.labels()),
            ModelTarget::Values { .. } => Labels::Values(flat(&self.standardized)),
        };
        let pixels = (&self.examples.inputs).into();
        Images { pixels, labels, shape: self.shape(), classes: self.target.names().len() }
    }

    /// R² of predictions for these examples that have this loss, the share of the variance that they explain:
    /// 1 − (mean squared error) / variance, of several values over their sums. None where the values do not vary, and
    /// in a classification.
    pub(crate) fn r2(&self, examples: &[u32], loss: f64) -> Option<f64> {
        let rows: Vec<usize> = examples.iter().map(|&at| at as usize).collect();
        if self.standardized.is_empty() || rows.is_empty() {
            return None;
        }
        let chosen = self.standardized.select(Axis(0), &rows).mapv(f64::from);
        let variance = chosen.var_axis(Axis(0), 0.0).mean().filter(|variance| *variance > 0.0)?;
        Some(1.0 - loss / variance)
    }

    /// Height, width and channels of an example.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.examples.shape.extents()
    }

    /// The model that is trained on them.
    pub(crate) fn model(&self, setup: &Setup<'_>) -> ModelDescription {
        let preprocessing = Preprocessing { table: self.encoding.clone() };
        ModelDescription {
            target: self.target.clone(),
            preprocessing: preprocessing.to_json(),
            ..self.images().describe(setup)
        }
    }

    /// The class of every example; none in a regression.
    pub(crate) fn labels(&self) -> &[u32] {
        self.examples.labels()
    }

    /// Name and size of the data set, in a line.
    pub(crate) fn describe(&self, config: &RunConfig) -> String {
        let DatasetConfig { name, .. } = config.dataset;
        let features = match (name.kind(), self.shape()) {
            (DataKind::Images, _) if !name.is_resized() => String::new(),
            (_, [1, 1, features]) => format!(", {}", format::number_of(features, "feature")),
            (_, shape) => format!(" of {}", format::shape(&shape)),
        };
        let names = self.target.names();
        let list = match name.kind() {
            DataKind::Table | DataKind::Arrays if names.len() <= MOST_NAMES => {
                format!(" ({})", names.join(", "))
            }
            _ => String::new(),
        };
        format!(
            "data: {}, {} training, {} validation and {} test {}s{features}, {}{list}",
            config.dataset.label(),
            format::count(self.train.len()),
            format::count(self.validation.len()),
            format::count(self.test.len()),
            name.kind().example(),
            outputs(config, names.len()),
        )
    }

    /// Frees the inputs, once the backend has them.
    pub(crate) fn drop_host_images(&mut self) {
        self.examples.inputs = Inputs::Bytes(Vec::new());
    }
}

/// Loads the data set of a checkpoint's run, or another in its place, which a note says.
///
/// # Errors
/// Data that is missing or broken, or other inputs or classes than those of the checkpoint.
pub(crate) fn load_for_model(
    config: &RunConfig,
    root: &Path,
    (path, metadata): (&Path, &Metadata),
    output: &Output,
) -> Result<LoadedData, Failure> {
    let data = LoadedData::load_like(config, &metadata.model, root, output)?;
    if data.shape() != metadata.model.input || data.target.names() != metadata.model.names() {
        let message = "the data set's images or classes are not those of the checkpoint";
        return Err(Failure::Runtime(anyhow!("{}: {message}", path.display())));
    }
    if digest::of(&data) != metadata.data {
        output.note(
            "note: this is not the data of the run: images, labels or their order have changed",
        );
    }
    Ok(data)
}

/// What is predicted, in words: `10 classes`, `1 value`.
pub(crate) fn outputs(config: &RunConfig, count: usize) -> String {
    match config.network.task {
        Task::Regression => format::number_of(count, "value"),
        _ => format!("{count} classes"),
    }
}

/// Scores of a network's outputs for these examples of `values`, in the data's own units.
///
/// # Errors
/// Outputs of other numbers.
pub(crate) fn value_scores(
    target: &ModelTarget,
    values: &Array2<f32>,
    examples: &[u32],
    outputs: &[Vec<f32>],
) -> Result<Vec<ValueScore>, TrainError> {
    let rows: Vec<usize> = examples.iter().map(|&at| at as usize).collect();
    let values = values.select(Axis(0), &rows);
    let predicted: Vec<f32> = outputs.iter().flat_map(|row| target.prediction(row)).collect();
    ValueScore::of(&predicted, flat(&values), values.ncols())
}

/// The numbers of an array whose rows follow one another, as all of this program's do.
pub(crate) fn flat(values: &Array2<f32>) -> &[f32] {
    values.as_slice().unwrap_or_default()
}

/// How the inputs of a model are made of a user's data: what a checkpoint keeps beside the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preprocessing {
    /// How the columns of a table become numbers.
    pub(crate) table: Option<TableEncoding>,
}

impl Preprocessing {
    fn to_json(&self) -> Value {
        if *self == Self::default() { Value::Null } else { serde_json::json!(self) }
    }

    /// What a model says of it.
    ///
    /// # Errors
    /// The preprocessing of another program.
    pub(crate) fn of(model: &ModelDescription) -> anyhow::Result<Self> {
        match &model.preprocessing {
            Value::Null => Ok(Self::default()),
            value => Self::deserialize(value)
                .context("the model's preprocessing is that of another program"),
        }
    }
}

/// What the examples of a model are.
///
/// # Errors
/// The preprocessing of another program.
pub(crate) fn example_format(saved: &SavedModel) -> anyhow::Result<ExampleFormat> {
    let model = &saved.model.description;
    let Preprocessing { table: encoding } = Preprocessing::of(model)?;
    let kind = match &saved.metadata {
        Some(metadata) => metadata.config.dataset.name.kind(),
        None if encoding.is_some() => DataKind::Table,
        None if model.elements == InputElements::Bytes => DataKind::Images,
        None => DataKind::Arrays,
    };
    let [height, width, channels] = model.input;
    let targets = match &model.target {
        ModelTarget::Classes { names } => TargetNames::Classes(names.clone()),
        ModelTarget::Values { names, .. } => TargetNames::Values(names.clone()),
    };
    let shape = ImageShape { height, width, channels };
    let bytes = model.elements == InputElements::Bytes;
    Ok(ExampleFormat { kind, shape, bytes, targets, encoding })
}

/// Prints what a user may not expect of a data set.
pub(crate) fn print_notes(notes: &[Note], output: &Output) {
    if output.level() >= Level::Normal {
        notes.iter().for_each(|note| output.note(&format!("note: {note}")));
    }
}

/// What is known of a data set without its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataShape {
    /// Height, width, channels.
    pub(crate) image: [usize; 3],
    /// Number of classes, or of numbers to predict.
    pub(crate) classes: usize,
    /// Number of training examples, those held out included.
    pub(crate) train: usize,
    /// Number of test examples.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only a GPU holds test images"))]
    pub(crate) test: usize,
    /// Type of the numbers of an example, on the device.
    pub(crate) dtype: DType,
}

impl DataShape {
    /// Shape, classes and size of a data set. A user's own data must be there, all others need not.
    ///
    /// # Errors
    /// Data of the user's own that cannot be read.
    pub(crate) fn of(config: &RunConfig, root: &Path, output: &Output) -> Result<Self, Failure> {
        if let Some(DatasetSize { shape, classes, train, test }) = config.dataset.name.size() {
            return Ok(Self { image: shape.extents(), classes, train, test, dtype: DType::U8 });
        }
        let data = LoadedData::load(config, root, output)?;
        let DataLayout { shape: image, classes, dtype, .. } = data.images().layout();
        let train = data.train.len() + data.validation.len();
        Ok(Self { image, classes, train, test: data.test.len(), dtype })
    }

    /// So many of the examples, as the core lays them out.
    #[cfg(feature = "cuda")]
    pub(crate) fn layout(self, count: usize) -> DataLayout {
        DataLayout { shape: self.image, classes: self.classes, count, dtype: self.dtype }
    }

    /// Bytes that the inputs of so many examples take.
    pub(crate) fn bytes(self, count: usize) -> usize {
        let size = if self.dtype == DType::U8 { 1 } else { size_of::<f32>() };
        count * size * self.image.iter().product::<usize>()
    }
}

/// The folder of the data sets: the one given, or the user's cache folder.
///
/// # Errors
/// A user without a home.
pub(crate) fn root(given: &DataFolder) -> Result<PathBuf, Failure> {
    if let Some(given) = &given.data_dir {
        return Ok(given.clone());
    }
    directories::ProjectDirs::from("", "", "lfnn")
        .map(|folders| folders.cache_dir().to_owned())
        .context("no cache folder is known for this user; --data-dir names one")
        .usage()
}

/// Long work on data, shown as a bar on a terminal and not at all in a pipe.
#[derive(Debug)]
pub(crate) struct DataProgress<'a> {
    output: &'a Output,
    bar: Mutex<Option<(String, ProgressBar)>>,
}

impl<'a> DataProgress<'a> {
    /// Nothing is shown yet.
    pub(crate) fn new(output: &'a Output) -> Self {
        Self { output, bar: Mutex::new(None) }
    }

    /// Shows an update.
    pub(crate) fn show(&self, update: &Update<'_>) {
        let Some(bars) = self.output.bars() else { return };
        let Ok(mut shown) = self.bar.lock() else { return };
        let bar = match &*shown {
            Some((what, bar)) if what == update.what => bar,
            _ => {
                if let Some((_, old)) = shown.take() {
                    old.finish_and_clear();
                }
                let bar = bars.add(ProgressBar::new(update.total));
                let counts = match update.counted {
                    Counted::Bytes => {
                        "{binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}"
                    }
                    Counted::Images | Counted::Files => "{human_pos} of {human_len}, {per_sec}",
                };
                let template = format!("{{msg}} {{wide_bar}} {counts}, {{eta}} left");
                if let Ok(style) = ProgressStyle::with_template(&template) {
                    bar.set_style(style);
                }
                bar.set_message(update.what.to_owned());
                &shown.insert((update.what.to_owned(), bar)).1
            }
        };
        // Reports of several threads may come out of order.
        if update.done > bar.position() {
            bar.set_position(update.done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Ok(mut shown) = self.bar.lock()
            && let Some((_, bar)) = shown.take()
        {
            bar.finish_and_clear();
        }
    }
}
