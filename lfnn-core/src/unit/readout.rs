//! Workers that are groups of features with a linear readout.

use serde::{Deserialize, Serialize};

use super::workers::{BuildWorkers, Built, Workers, layers_with_weights};
use super::{Branch, UnitPlace};
use crate::config::{ConfigError, Size2};
use crate::layer::{
    AdaptiveAvgPoolConfig, DropoutConfig, FlattenConfig, GroupedLinear, Layer, LayerBuilder,
    Sequential,
};

/// Groups of features as workers: a worker is an even group of neurons or filters with a linear readout of its own.
///
/// ```
/// # use lfnn_core::{config::NetworkConfig, network::Network, program::ProgramSet};
/// let config: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{"layers": [{"conv": {"filters": 8, "kernel": 3}}, "relu"], "workers": {"readout": {"count": 4, "grid": 2}}}]}"#,
/// )?;
/// let network = Network::new(&mut ProgramSet::new(), &config, &[8, 8, 1], 10)?;
/// let unit = &network.units()[0];
/// assert_eq!((unit.kind(), unit.predictions().workers), ("readout", 4));
/// // A worker reads 2 of the 8 filters, each pooled to 2 × 2 values.
/// assert_eq!(network.parameter_counts(), (9 * 8 + 8 + 36 * 8 * 10 + 10, 4 * (2 * 4 * 10 + 10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadoutConfig {
    /// Number of workers.
    pub count: usize,
    /// Filters are first average-pooled to a grid of this many rows and columns; without it all
    /// positions are read.
    #[serde(default)]
    pub grid: Option<Size2>,
    /// Share of features dropped before the readout, in training.
    #[serde(default)]
    pub dropout: f64,
}

impl BuildWorkers for ReadoutConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built {
        builder.within(".workers", "", |builder| {
            builder.limit(&[("readout.grid", self.grid.map_or(1, Size2::largest))])
        })?;
        let layers = layers_with_weights(builder, place)?;
        let head = builder.within(".workers", "", |builder| {
            let features = layers.output_shape().last().copied().unwrap_or(0);
            if !features.is_multiple_of(self.count) {
                return Err(builder.error(format!(
                    "{features} features cannot be shared evenly by {} workers",
                    self.count
                )));
            }
            self.head(builder, layers.output_shape(), self.count * place.classes)
        })?;
        Ok(Workers::new(vec![Branch { layers, heads: vec![head] }]))
    }
}

impl ReadoutConfig {
    /// A linear map of each worker's own features to its logits, so many in all.
    pub(super) fn head(
        &self,
        builder: &mut LayerBuilder<'_>,
        features: &[usize],
        logits: usize,
    ) -> Result<Sequential, ConfigError> {
        let mut head = Sequential::new(features);
        self.append(builder, &mut head, logits)?;
        Ok(head)
    }

    /// Appends the linear map, and before it what the features pass through: the pooling, if they are an image, and
    /// the dropout.
    pub(super) fn append(
        &self,
        builder: &mut LayerBuilder<'_>,
        head: &mut Sequential,
        logits: usize,
    ) -> Result<(), ConfigError> {
        head.begin_readout();
        let is_image = head.output_shape().len() == 3;
        if let Some(grid) = self.grid {
            if !is_image {
                return Err(builder.error("a `grid` is for filters, but the features are a vector"));
            }
            builder.append_uncounted(head, &AdaptiveAvgPoolConfig { grid })?;
        }
        let dropout = builder.build(&DropoutConfig { rate: self.dropout }, head.output_shape())?;
        if self.dropout > 0.0 {
            head.push(dropout);
        }
        if is_image {
            builder.append_uncounted(head, &FlattenConfig)?;
        }
        let linear = GroupedLinear { features: logits, groups: self.count };
        builder.in_head(|builder| {
            builder.within("", "readout.", |builder| builder.append(head, &linear))
        })
    }
}
