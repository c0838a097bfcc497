//! The configuration of a run: what CONFIG.md documents.

mod deserialize;
mod diagnostic;
#[cfg(test)]
mod documented;
mod node;
mod resolve;
mod yaml;

use std::path::PathBuf;
use std::sync::LazyLock;

use lfnn_core::backend::Precision;
use lfnn_core::config::{ConfigError, LeadershipConfig, NetworkConfig, Task, TrainingConfig};
use lfnn_core::method::{self, METHODS, Method};
use lfnn_core::train::{Augmentation, Limits};
use lfnn_data::DatasetName;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use diagnostic::nearest;
#[cfg(feature = "report")]
pub(crate) use resolve::read_saved;
pub(crate) use resolve::{Request, differences, option, read_text, resolve, resolve_on, resume};

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunConfig {
    /// The recipe on which it builds, or any name for it.
    #[serde(default)]
    pub(crate) recipe: Option<String>,
    /// The training method.
    #[serde(default = "default_method", deserialize_with = "known_method")]
    pub(crate) method: String,
    /// The arithmetic, of which the CPU has single precision alone.
    #[serde(default, serialize_with = "write_precision", deserialize_with = "known_precision")]
    pub(crate) precision: Precision,
    /// Random seed.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
    /// The images.
    pub(crate) dataset: DatasetConfig,
    /// The network.
    pub(crate) network: NetworkConfig,
    /// Who leads.
    #[serde(default)]
    pub(crate) leadership: LeadershipConfig,
    /// Batch size, optimiser, schedule.
    pub(crate) training: TrainingConfig,
    /// Restrictions for trying things out.
    #[serde(default)]
    pub(crate) limits: LimitsConfig,
    /// What is saved, and when to stop early.
    #[serde(default)]
    pub(crate) checkpoints: CheckpointConfig,
}

/// The images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatasetConfig {
    /// Which data set.
    #[serde(serialize_with = "write_name", deserialize_with = "known_name")]
    pub(crate) name: DatasetName,
    /// Its folder, if it is not the usual one below the data folder.
    #[serde(default)]
    pub(crate) path: Option<PathBuf>,
    /// Height and width to which images of a folder are resized.
    #[serde(default)]
    pub(crate) image_size: Option<[usize; 2]>,
    /// Training images held out for validation.
    #[serde(default)]
    pub(crate) validation: usize,
    /// Whether one random permutation is applied to the pixels of all images.
    #[serde(default)]
    pub(crate) permute_pixels: bool,
    /// Random changes of training images.
    #[serde(default)]
    pub(crate) augmentation: Augmentation,
}

/// Restrictions for trying things out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsConfig {
    /// Train on at most this many batches of each epoch.
    pub(crate) batches: Option<usize>,
    /// Train on the same few batches over and over, without augmentation.
    pub(crate) overfit_batches: Option<usize>,
}

/// What is saved, and when to stop early.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CheckpointConfig {
    /// Save within an epoch whenever this many batches have passed.
    pub(crate) every_batches: Option<usize>,
    /// Save within an epoch whenever this many seconds have passed.
    pub(crate) every_seconds: Option<f64>,
    /// Keep the checkpoints of this many last epochs, each in a file of its own.
    pub(crate) keep_epochs: usize,
    /// Stop after this many epochs without a better validation error.
    pub(crate) patience: Option<usize>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every_batches: None, every_seconds: Some(300.0), keep_epochs: 0, patience: None }
    }
}

/// The configuration of one step taken apart. Keys that matter to a whole run alone are accepted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepConfig {
    /// The training method.
    #[serde(default = "default_method", deserialize_with = "known_method")]
    pub(crate) method: String,
    /// Where dropout and random leaders come from.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
    /// Shape of an image: channels, height, width; compared with the batch.
    #[serde(default)]
    pub(crate) input: Option<Vec<usize>>,
    /// Number of classes (of numbers to predict, in regression).
    pub(crate) classes: usize,
    /// The network.
    pub(crate) network: NetworkConfig,
    /// Who leads.
    #[serde(default)]
    pub(crate) leadership: LeadershipConfig,
    /// Of this, label smoothing matters.
    #[serde(default)]
    pub(crate) training: Option<TrainingConfig>,
    /// Learning rates of later steps; not used.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted for the sake of files made for longer comparisons")]
    pub(crate) rates: Option<Vec<f64>>,
}

impl RunConfig {
    /// The training method. Its name was checked when it was read.
    pub(crate) fn method(&self) -> &'static Method {
        method::by_name(&self.method).unwrap_or(METHODS[0])
    }

    /// The recipe's name, for people and for folders.
    pub(crate) fn label(&self) -> &str {
        self.recipe.as_deref().unwrap_or(self.dataset.name.as_str())
    }

    /// The restrictions, as the core takes them.
    pub(crate) fn limits(&self) -> Limits {
        Limits { batches: self.limits.batches, overfit_batches: self.limits.overfit_batches }
    }

    /// Checks what neither the core nor the data can.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let fail = |path: &str, message: &str| Err(ConfigError::new(path, message));
        if self.network.task == Task::Regression {
            return fail(
                "network.task",
                "regression learns numbers, but the data sets have classes; \
                 `lfnn-cli step` takes numbers as targets",
            );
        }
        if self.training.batch_size == 0 {
            return fail("training.batch_size", "0, expected at least 1");
        }
        if self.training.epochs == 0 {
            return fail("training.epochs", "0, expected at least 1");
        }
        for (path, limit) in [
            ("limits.batches", self.limits.batches),
            ("limits.overfit_batches", self.limits.overfit_batches),
            ("checkpoints.every_batches", self.checkpoints.every_batches),
            ("checkpoints.patience", self.checkpoints.patience),
        ] {
            if limit == Some(0) {
                return fail(path, "0, expected at least 1");
            }
        }
        if let Some(seconds) = self.checkpoints.every_seconds
            && !(seconds > 0.0 && seconds.is_finite())
        {
            let message = format!("{seconds}, expected a number above 0");
            return fail("checkpoints.every_seconds", &message);
        }
        if self.checkpoints.patience.is_some() && self.dataset.validation == 0 {
            return fail(
                "checkpoints.patience",
                "stops by the validation error, but `dataset.validation` holds no image out",
            );
        }
        Ok(())
    }

    /// The whole configuration as YAML.
    ///
    /// # Errors
    /// None is expected.
    pub(crate) fn to_yaml(&self) -> Result<String, serde_json::Error> {
        Ok(yaml::write(&serde_json::to_value(self)?))
    }
}

/// Reads any configuration from the text of a file.
///
/// # Errors
/// Text that is not YAML, or keys and values that do not fit, with file and line.
pub(crate) fn read<T: DeserializeOwned>(text: &str, name: &str) -> anyhow::Result<T> {
    let source = std::sync::Arc::new(node::Source::File(name.to_owned()));
    let tree = yaml::parse(text, &source, 0)?;
    Ok(T::deserialize(&tree)?)
}

fn default_method() -> String {
    "lfnn-l".into()
}

fn default_seed() -> u64 {
    1
}

/// Names of all methods.
pub(crate) fn method_names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| method::names().to_vec());
    &NAMES
}

fn known_method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match method::by_name(&name) {
        Some(_) => Ok(name),
        None => Err(D::Error::unknown_variant(&name, method_names())),
    }
}

fn known_precision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Precision, D::Error> {
    static NAMES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| Precision::ALL.map(Precision::name).to_vec());
    let name = String::deserialize(deserializer)?;
    let found = Precision::ALL.into_iter().find(|precision| precision.name() == name);
    found.ok_or_else(|| D::Error::unknown_variant(&name, &NAMES))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn write_precision<S: Serializer>(precision: &Precision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(precision.name())
}

fn known_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DatasetName, D::Error> {
    static NAMES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| DatasetName::ALL.map(DatasetName::as_str).to_vec());
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| D::Error::unknown_variant(&name, &NAMES))
}

fn write_name<S: Serializer>(name: &DatasetName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}
