//! Workers that are whole blocks with a linear readout.

use serde::{Deserialize, Serialize};

use super::workers::{BuildWorkers, Built, Workers, layers_with_weights};
use super::{Branch, ReadoutConfig, UnitPlace};
use crate::config::Size2;
use crate::layer::{Layer, LayerBuilder};

/// Blocks as workers: a worker is a whole copy of the unit's layers with a readout at its end.
///
/// ```
/// # use lfnn_core::{config::NetworkConfig, network::Network, program::ProgramSet};
/// let config: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{"layers": ["flatten", {"linear": {"features": 16}}, "relu"], "workers": {"block": {"count": 3}}}]}"#,
/// )?;
/// let network = Network::new(&mut ProgramSet::new(), &config, &[8, 8, 1], 10)?;
/// let unit = &network.units()[0];
/// assert_eq!((unit.kind(), unit.predictions().workers), ("block", 3));
/// // Each block has its own layers and reads all of their 16 features.
/// assert_eq!(network.parameter_counts(), (3 * (64 * 16 + 16) + 48 * 10 + 10, 3 * (16 * 10 + 10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Number of blocks side by side.
    #[serde(default = "one")]
    pub count: usize,
    /// Filters are first average-pooled to a grid of this many rows and columns; without it all
    /// positions are read.
    #[serde(default)]
    pub grid: Option<Size2>,
    /// Share of features dropped before the readout, in training.
    #[serde(default)]
    pub dropout: f64,
}

fn one() -> usize {
    1
}

impl BuildWorkers for BlockConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built {
        let Self { count, grid, dropout } = *self;
        builder.within(".workers", "", |builder| {
            builder.limit(&[("block.grid", grid.map_or(1, Size2::largest))])
        })?;
        let readout = ReadoutConfig { count: 1, grid, dropout };
        // Not as many as the count says: the limit of layers may end this long before.
        let mut branches = Vec::new();
        for block in 1..=count {
            let name = format!("block{block}.");
            let branch = builder.within("", &name, |builder| {
                let layers = layers_with_weights(builder, place)?;
                let head = builder.within(".workers", "", |builder| {
                    readout.head(builder, layers.output_shape(), place.classes)
                })?;
                Ok(Branch { layers, heads: vec![head] })
            })?;
            branches.push(branch);
        }
        let workers = Workers::new(branches);
        builder.within(".workers", "", |builder| builder.admit(&workers.features))?;
        Ok(workers)
    }
}
