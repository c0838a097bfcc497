//! A setting that is refused.

use thiserror::Error;

/// A setting that cannot be, with its path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct ConfigError {
    /// Path of the setting, such as `network.units[0].layers[1]` (positions from 0, as in the
    /// configuration).
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

impl ConfigError {
    /// An error at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}
