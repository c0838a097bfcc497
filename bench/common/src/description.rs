//! The network and the training step, from what `lfnn-cli bench --json` prints.

use anyhow::{Result, bail};
use lfnn_core::config::{LeadershipConfig, NetworkConfig, Scope, Task, TrainingConfig};
use lfnn_core::program::{Align, Reduction};
use serde::Deserialize;

/// The methods that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Method {
    /// Backpropagation.
    #[serde(rename = "bp")]
    Bp,
    /// Local losses, units cut from one another.
    #[serde(rename = "lfnn-l")]
    LfnnL,
}

/// What is to be computed.
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    configuration: Configuration,
    image: [usize; 3],
    /// Number of classes.
    pub classes: usize,
}

/// The part of a run's configuration that decides what a step computes.
#[derive(Clone, Debug, Deserialize)]
struct Configuration {
    method: Method,
    network: NetworkConfig,
    #[serde(default)]
    leadership: LeadershipConfig,
    training: TrainingConfig,
}

impl Description {
    /// Reads a description, and refuses what is not compared.
    pub fn parse(text: &str) -> Result<Self> {
        let description: Self = serde_json::from_str(text)?;
        let Configuration { network, leadership, training, .. } = &description.configuration;
        if network.task != Task::Classification {
            bail!("classification alone is compared");
        }
        if leadership.scope != Scope::Batch {
            bail!("leaders of batches alone are compared");
        }
        if leadership.reduction != Reduction::Sum || leadership.align != Align::Output {
            bail!("sums over workers, and outputs that align, alone are compared");
        }
        if training.clip_norm.is_some() {
            bail!("clipped gradients are not compared");
        }
        if training.output_lr_factor != 1.0 {
            bail!("one learning rate for all layers alone is compared");
        }
        if training.label_smoothing != 0.0 {
            bail!("smoothed labels are not compared");
        }
        Ok(description)
    }

    /// The network.
    pub fn network(&self) -> &NetworkConfig {
        &self.configuration.network
    }

    /// Who leads.
    pub fn leadership(&self) -> &LeadershipConfig {
        &self.configuration.leadership
    }

    /// The optimiser and its settings.
    pub fn training(&self) -> &TrainingConfig {
        &self.configuration.training
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.configuration.method
    }

    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.configuration.training.batch_size
    }

    /// An image's channels, height and width, in the order of the other frameworks.
    pub fn image(&self) -> [usize; 3] {
        let [height, width, channels] = self.image;
        [channels, height, width]
    }
}
