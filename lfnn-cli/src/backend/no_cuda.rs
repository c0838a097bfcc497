//! What stands for `cuda` in a build without that feature: no GPU, and why.

use lfnn_core::backend::Precision;

use super::{Device, line};
use crate::failure::{Failure, lacks};
use crate::output::Output;

/// There is no GPU because this build has no CUDA.
pub(super) struct NoGpu;

impl NoGpu {
    /// In few words.
    pub(super) fn brief(&self) -> String {
        "built without the feature `cuda`".into()
    }

    /// The failure of a command that asked for a GPU.
    pub(super) fn failure(self) -> Failure {
        lacks("a GPU", "cuda")
    }
}

/// Refuses what needs CUDA.
///
/// # Errors
/// Always.
pub(super) fn check() -> Result<(), Failure> {
    Err(NoGpu.failure())
}

/// Refuses any number of streams.
///
/// # Errors
/// Always.
pub(crate) fn streams(_: usize) -> Result<usize, String> {
    Err(NoGpu.failure().to_string())
}

/// No GPU.
///
/// # Errors
/// Always.
pub(super) fn open(_: usize, _: Precision, _: Option<usize>, _: &Output) -> Result<Device, NoGpu> {
    Err(NoGpu)
}

/// No GPU.
///
/// # Errors
/// Always.
#[cfg(feature = "report")]
pub(super) fn first() -> Result<String, NoGpu> {
    Err(NoGpu)
}

/// One line that says so.
pub(super) fn devices() -> Vec<[String; 3]> {
    vec![line("cuda", "no", &NoGpu.brief())]
}
