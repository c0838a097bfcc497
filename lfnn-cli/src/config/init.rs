//! The weights that a run begins with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Weights to begin with, of another run or model. A tensor is loaded where name and shape are those of the network;
/// every other one has its random initial values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct InitConfig {
    /// A checkpoint, or a run's folder, whose last checkpoint is taken.
    pub(crate) path: PathBuf,
    /// SHA-256 of the checkpoint's file: a run records it, and refuses a file with another one.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
    /// Whether inputs are normalised as they were in the checkpoint's training, as its units expect.
    #[serde(default = "yes")]
    pub(crate) normalization: bool,
}

impl InitConfig {
    /// The weights in this checkpoint or run.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, sha256: None, normalization: true }
    }
}

fn yes() -> bool {
    true
}
