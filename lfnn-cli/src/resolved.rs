//! A run as the command line asks for it, resolved once: commands only read it.

use std::path::PathBuf;

use lfnn_core::model::ModelDescription;

use crate::backend::{BackendArgs, Device};
use crate::config::RunConfig;
use crate::data::{DataShape, LoadedData};
use crate::failure::Failure;
use crate::output::Output;

/// What a command works with and what no result depends on.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    /// The folder of the data sets.
    pub(crate) data_root: PathBuf,
    /// What computes.
    pub(crate) backend: BackendArgs,
}

impl Resources {
    /// A run of this configuration.
    #[cfg(feature = "report")]
    pub(crate) fn run(&self, config: &RunConfig) -> ResolvedRun {
        ResolvedRun { config: config.clone(), resources: self.clone() }
    }

    /// The same with so many threads of the CPU.
    #[cfg(feature = "report")]
    pub(crate) fn with_threads(&self, threads: usize) -> Self {
        let backend = BackendArgs { threads: Some(threads), ..self.backend };
        Self { backend, ..self.clone() }
    }
}

/// A configuration, and with what it is run.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedRun {
    /// What decides the result.
    pub(crate) config: RunConfig,
    /// What does not.
    pub(crate) resources: Resources,
}

impl ResolvedRun {
    /// Loads the data, with images as those that a run was trained on that is resumed.
    ///
    /// # Errors
    /// Data that is missing or broken, or settings that do not fit it.
    pub(crate) fn load(
        &self,
        trained: Option<&ModelDescription>,
        output: &Output,
    ) -> Result<LoadedData, Failure> {
        let root = &self.resources.data_root;
        match trained {
            Some(model) => LoadedData::load_like(&self.config, model, root, output),
            None => LoadedData::load(&self.config, root, output),
        }
    }

    /// Shape and size of the data, without loading it where that can be avoided.
    ///
    /// # Errors
    /// An image folder that cannot be read.
    pub(crate) fn data_shape(&self, output: &Output) -> Result<DataShape, Failure> {
        DataShape::of(&self.config, &self.resources.data_root, output)
    }

    /// Opens the backend, in the precision of the configuration.
    ///
    /// # Errors
    /// A backend that is missing or lacks the precision.
    pub(crate) fn device(&self, output: &Output) -> Result<Device, Failure> {
        self.resources.backend.open(self.config.precision, output)
    }
}
