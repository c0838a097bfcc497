//! The examples of a run.

use std::path::PathBuf;

use lfnn_core::config::{Augmentation, ConfigError, Task};
use lfnn_core::model::{InputElements, ModelDescription};
use lfnn_data::{
    BitDepth, DataKind, DatasetName, ImageOptions, MissingCells, Source, TableColumns,
};
use serde::{Deserialize, Serialize};

/// The examples: images, rows of a table, or arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DatasetConfig {
    /// Data set. `digits` is part of the program; `folder` is a folder of images, `table` a CSV or TSV
    /// file, `arrays` a .npz or .safetensors file or a folder of .npy files.
    #[serde(with = "name")]
    #[cfg_attr(test, schemars(schema_with = "name::schema"))]
    pub(crate) name: DatasetName,
    /// Folder or file of the data set; its usual name in the data folder if null.
    #[serde(default)]
    pub(crate) path: Option<PathBuf>,
    /// Height and width to which the images of a `folder` are resized; those of the first image if
    /// null. Other data sets are never resized.
    #[serde(default)]
    pub(crate) image_size: Option<[usize; 2]>,
    /// Channels of the images of a `folder`: 1 (grey) or 3 (red, green and blue). If null, 1 where every
    /// image is grey.
    #[serde(default)]
    pub(crate) channels: Option<usize>,
    /// Bits of each channel of the images of a `folder`: 8 (bytes) or 16 (real numbers from 0 to 1). If
    /// null, 16 where any file has them.
    #[serde(default)]
    pub(crate) bits: Option<usize>,
    /// Column of a `table` to predict; in a regression perhaps several.
    #[serde(default)]
    pub(crate) target: Option<Columns>,
    /// Columns of a `table` to predict from: `all` others, or these.
    #[serde(default)]
    pub(crate) features: Columns,
    /// What a `table`, or `arrays` or a `folder` without a test part, are tested on: a share between 0
    /// and 1, balanced over the classes; of a table perhaps another file. A fifth if null.
    #[serde(default)]
    pub(crate) test: Option<TestPart>,
    /// What an empty cell among the features of a `table` becomes.
    #[serde(default)]
    #[cfg_attr(test, schemars(schema_with = "missing_schema"))]
    pub(crate) missing: MissingCells,
    /// Number of training examples held out for validation, balanced over the classes. Of a `folder` with
    /// a folder `val`, that is the validation part.
    #[serde(default)]
    pub(crate) validation: usize,
    /// Whether one random permutation is applied to the pixels of all images.
    #[serde(default)]
    pub(crate) permute_pixels: bool,
    /// Random changes of training images.
    #[serde(default)]
    pub(crate) augmentation: Augmentation,
}

/// Columns of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected the name of a column, or a list of names")]
pub(crate) enum Columns {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// The name that stands for all columns.
const ALL: &str = "all";

impl Default for Columns {
    fn default() -> Self {
        Self::One(ALL.to_owned())
    }
}

impl Columns {
    fn names(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::Several(names) => names.clone(),
        }
    }
}

/// What is tested on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a share between 0 and 1, or a file")]
pub(crate) enum TestPart {
    /// A share of the examples.
    Share(f64),
    /// A file.
    File(PathBuf),
}

impl DatasetConfig {
    /// Checks that every key means something for this data set.
    ///
    /// # Errors
    /// The first key that does not, or one that is missing.
    pub(super) fn validate(&self, task: Task) -> Result<(), ConfigError> {
        let kind = self.name.kind();
        let (images, table) = (kind == DataKind::Images, kind == DataKind::Table);
        let for_table = "it is for the data set `table`";
        let for_images = "it is for images";
        let (resized, for_folder) = (self.name.is_resized(), "it is for the data set `folder`");
        let given = [
            ("target", self.target.is_some() && !table, for_table),
            ("features", self.features != Columns::default() && !table, for_table),
            ("missing", self.missing != MissingCells::default() && !table, for_table),
            (
                "test",
                self.test.is_some() && images && !resized,
                "it is for the data sets `folder`, `table` and `arrays`",
            ),
            ("image_size", self.image_size.is_some() && !images, for_folder),
            ("channels", self.channels.is_some() && !resized, for_folder),
            ("bits", self.bits.is_some() && !resized, for_folder),
            ("permute_pixels", self.permute_pixels && table, for_images),
            ("augmentation", self.augmentation != Augmentation::default() && table, for_images),
        ];
        for (key, is_wrong, instead) in given {
            if is_wrong {
                let message = format!("means nothing for the data set `{}`; {instead}", self.name);
                return Err(ConfigError::new(format!("dataset.{key}"), message));
            }
        }
        let choices = [("channels", self.channels, [1, 3]), ("bits", self.bits, [8, 16])];
        for (key, given, [one, other]) in choices {
            if let Some(given) = given.filter(|given| ![one, other].contains(given)) {
                let message = format!("{given}, expected {one} or {other}");
                return Err(ConfigError::new(format!("dataset.{key}"), message));
            }
        }
        if table && self.target.is_none() {
            let message = "missing; expected the column of the table to predict";
            return Err(ConfigError::new("dataset.target", message));
        }
        match &self.test {
            Some(TestPart::Share(share)) if !(*share > 0.0 && *share < 1.0) => {
                let message = format!("{share}, expected a share between 0 and 1, or a file");
                return Err(ConfigError::new("dataset.test", message));
            }
            Some(TestPart::File(_)) if !table => {
                let message = "a file, expected a share between 0 and 1: only a table has its rows in two files";
                return Err(ConfigError::new("dataset.test", message));
            }
            _ => {}
        }
        if task == Task::Regression && images {
            let message = format!(
                "regression learns numbers, but the data set `{}` has classes; `table` and `arrays` have numbers",
                self.name
            );
            return Err(ConfigError::new("network.task", message));
        }
        Ok(())
    }

    /// Its name; of a user's own table or arrays, that of the file.
    pub(crate) fn label(&self) -> String {
        let file = match (self.name.kind(), &self.path) {
            (DataKind::Images, _) | (_, None) => None,
            (_, Some(path)) => path.file_name(),
        };
        file.map_or_else(|| self.name.to_string(), |file| file.display().to_string())
    }

    /// The same data set, with images such as a network was trained on.
    pub(crate) fn like(&self, model: &ModelDescription) -> Self {
        let mut dataset = self.clone();
        if dataset.name.is_resized() {
            let bits = if model.elements == InputElements::Bytes { 8 } else { 16 };
            (dataset.channels, dataset.bits) = (Some(model.input[2]), Some(bits));
        }
        dataset
    }

    /// The data set, as the data crate takes it.
    pub(crate) fn source(&self, task: Task, seed: u64) -> Source {
        let features = (self.features != Columns::default()).then(|| self.features.names());
        Source {
            name: self.name,
            path: self.path.clone(),
            images: ImageOptions {
                size: self.image_size.map(|[height, width]| (height, width)),
                channels: self.channels,
                depth: self.bits.and_then(BitDepth::of_bits),
            },
            columns: TableColumns {
                target: self.target.as_ref().map(Columns::names).unwrap_or_default(),
                features,
                regression: task == Task::Regression,
                missing: self.missing,
            },
            test: self.test.as_ref().map(|test| match test {
                TestPart::Share(share) => lfnn_data::TestPart::Share(*share),
                TestPart::File(file) => lfnn_data::TestPart::File(file.clone()),
            }),
            validation: self.validation,
            seed,
        }
    }
}

#[cfg(test)]
fn missing_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "oneOf": [
        { "const": "error", "description": "An error" },
        { "const": "mean", "description": "The mean of the column in the training rows; no category" },
    ] })
}

/// A data set as its name.
mod name {
    use std::sync::LazyLock;

    use lfnn_data::DatasetName;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    static NAMES: LazyLock<Vec<&str>> =
        LazyLock::new(|| DatasetName::ALL.map(DatasetName::as_str).to_vec());

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DatasetName, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map_err(|_| D::Error::unknown_variant(&name, &NAMES))
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    pub(super) fn serialize<S: Serializer>(name: &DatasetName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    #[cfg(test)]
    pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": *NAMES })
    }
}
