//! `--ensemble`: the workers of the last units predict together with the output layer.

use anyhow::anyhow;
use clap::Args;
use lfnn_core::config::NetworkConfig;
use lfnn_core::method;

use crate::failure::{Failure, Result};

/// The option, of commands that predict with a trained network.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct EnsembleArgs {
    /// How many of the last units predict together with the output layer: the mean of the
    /// log-probabilities of their workers and its own [default: as configured, or none]
    #[arg(long, value_name = "UNITS")]
    ensemble: Option<usize>,
}

impl EnsembleArgs {
    /// Gives the workers of a network their votes.
    ///
    /// # Errors
    /// More units than there are, or workers that the method did not train.
    pub(crate) fn apply(self, network: &mut NetworkConfig, method: &str) -> Result {
        let Some(units) = self.ensemble else { return Ok(()) };
        let hidden = network.units.len();
        let message = if units > hidden {
            format!("expected at most the {hidden} hidden units")
        } else if units > 0 && method::by_name(method).is_some_and(|known| !known.workers.learn()) {
            format!("`{method}` trains no workers")
        } else {
            network.output.ensemble = units;
            return Ok(());
        };
        Err(Failure::Usage(anyhow!("--ensemble {units}: {message}")))
    }
}
