//! The kinds of workers (paper, Section 2), each in a file of its own.

use serde::{Deserialize, Serialize};

use super::{
    BlockConfig, Branch, FiltersConfig, HeadConfig, NeuronsConfig, ReadoutConfig, UnitPlace,
};
use crate::config::ConfigError;
use crate::layer::{Layer, LayerBuilder, Sequential};

/// The workers of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkersConfig {
    /// A fully connected layer of `count · K` neurons, made by this setting: a worker is K neurons
    /// and its logits are their pre-activations.
    Neurons(NeuronsConfig),
    /// A worker is a run of filters of the last convolution; its logits are their mean activations.
    Filters(FiltersConfig),
    /// A worker is an even group of neurons or filters with a linear readout of its own.
    Readout(ReadoutConfig),
    /// A list of heads, each with the settings below: a worker sees all features of the unit through a
    /// head of its own.
    Heads(Vec<HeadConfig>),
    /// A worker is a whole copy of the unit's layers with a readout at its end.
    Block(BlockConfig),
}

impl WorkersConfig {
    /// The key in a configuration, the number of workers, and how they are built.
    fn parts(&self) -> (&'static str, usize, &dyn BuildWorkers) {
        match self {
            WorkersConfig::Neurons(config) => ("neurons", config.count, config),
            WorkersConfig::Filters(config) => ("filters", config.count, config),
            WorkersConfig::Readout(config) => ("readout", config.count, config),
            WorkersConfig::Heads(heads) => {
                let count = heads.iter().fold(0, |sum: usize, head| sum.saturating_add(head.count));
                ("heads", count, heads)
            }
            WorkersConfig::Block(config) => ("block", config.count, config),
        }
    }

    /// The key of this kind in a configuration.
    pub fn kind(&self) -> &'static str {
        self.parts().0
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.parts().1
    }

    /// The workers of a unit, built.
    pub(super) fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built {
        let (kind, count, workers) = self.parts();
        builder.within(".workers", "", |builder| {
            builder.limit(&[(&format!("{kind}.count"), count)])?;
            if count == 0 {
                return Err(builder.error("a count of 0, expected at least 1 worker"));
            }
            if place.classifiers > 1 && !matches!(self, WorkersConfig::Neurons(_)) {
                return Err(builder.error("one-vs-all networks have units of `neurons` only"));
            }
            Ok(())
        })?;
        workers.build(builder, place)
    }
}

/// What the configuration of a kind of workers does: it builds a unit's layers and the workers' heads.
pub(super) trait BuildWorkers {
    /// The workers of a unit.
    fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built;
}

/// A unit's workers, or why there are none.
pub(super) type Built = Result<Workers, ConfigError>;

/// A unit's workers, built.
pub(super) struct Workers {
    pub(super) branches: Vec<Branch>,
    /// Shape of the outputs of all branches together.
    pub(super) features: Vec<usize>,
    /// Whether every feature belongs to every worker.
    pub(super) shares_features: bool,
    /// From the features to the unit's output, before the transition.
    pub(super) output_activation: Sequential,
}

impl Workers {
    /// Workers in these branches, side by side along the last axis.
    pub(super) fn new(branches: Vec<Branch>) -> Self {
        let mut features = branches[0].layers.output_shape().to_vec();
        if let Some(last) = features.last_mut() {
            *last *= branches.len();
        }
        let output_activation = Sequential::new(&features);
        Self { branches, features, shares_features: false, output_activation }
    }
}

/// The layers of a unit that has trainable parameters in them.
pub(super) fn layers_with_weights(
    builder: &mut LayerBuilder<'_>,
    place: &UnitPlace<'_>,
) -> Result<Sequential, ConfigError> {
    builder.within(".layers", "", |builder| {
        let layers = builder.sequential(place.layers, place.input, "layer")?;
        if layers.depth() == 0 {
            let message =
                "holds no layer with weights, so there is nothing for the workers to learn";
            return Err(builder.error(message));
        }
        Ok(layers)
    })
}
