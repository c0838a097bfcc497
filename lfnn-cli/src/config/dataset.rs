//! The images of a run.

use std::path::PathBuf;

use lfnn_core::config::Augmentation;
use lfnn_data::DatasetName;
use serde::{Deserialize, Serialize};

/// The images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DatasetConfig {
    /// Data set. `digits` is part of the program; `folder` is a folder of images.
    #[serde(with = "name")]
    #[cfg_attr(test, schemars(schema_with = "name::schema"))]
    pub(crate) name: DatasetName,
    /// Folder of the data set; its usual name in the data folder if null.
    #[serde(default)]
    pub(crate) path: Option<PathBuf>,
    /// Height and width to which the images of a `folder` are resized; those of the first image if
    /// null. Other data sets are never resized.
    #[serde(default)]
    pub(crate) image_size: Option<[usize; 2]>,
    /// Number of training images held out for validation, balanced over the classes.
    #[serde(default)]
    pub(crate) validation: usize,
    /// Whether one random permutation is applied to the pixels of all images.
    #[serde(default)]
    pub(crate) permute_pixels: bool,
    /// Random changes of training images.
    #[serde(default)]
    pub(crate) augmentation: Augmentation,
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
