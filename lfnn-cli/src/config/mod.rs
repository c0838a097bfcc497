//! The configuration of a run. CONFIG.md and config.schema.json are generated from its types.

mod checkpoints;
mod dataset;
mod deserialize;
mod diagnostic;
#[cfg(test)]
mod generated;
mod init;
mod method;
mod node;
mod resolve;
mod run;
mod step;
#[cfg(test)]
mod tests;
mod yaml;

pub(crate) use checkpoints::CheckpointConfig;
pub(crate) use dataset::DatasetConfig;
pub(crate) use diagnostic::did_you_mean;
pub(crate) use init::InitConfig;
#[cfg(feature = "report")]
pub(crate) use resolve::read_saved;
pub(crate) use resolve::{
    Request, differences, option, read, read_text, resolve, resolve_on, resume,
};
pub(crate) use run::RunConfig;
pub(crate) use step::StepConfig;

/// The JSON schema of a configuration file, for editors.
pub(crate) const SCHEMA: &str = include_str!("../../config.schema.json");
