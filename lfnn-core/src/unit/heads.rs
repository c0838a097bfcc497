//! Workers that are heads: all of them see the unit's features.

use serde::{Deserialize, Serialize};

use super::workers::{BuildWorkers, Built, Workers, layers_with_weights};
use super::{Branch, ReadoutConfig, UnitPlace};
use crate::config::{ConfigError, Size2};
use crate::layer::{Layer, LayerBuilder, LayerConfig, Sequential};

/// Heads as workers: a worker sees all of the unit's features, through layers of its own and a linear readout. Heads
/// differ by their initial values, their dropout and their settings.
///
/// ```
/// # use lfnn_core::{config::NetworkConfig, network::Network, program::ProgramSet};
/// let config: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{
///         "layers": [{"conv": {"filters": 8, "kernel": 3}}, "relu"],
///         "workers": {"heads": [{"layers": [{"conv": {"filters": 5, "kernel": 1}}, "relu"]}, {"count": 3, "grid": 2}]}
///     }]}"#,
/// )?;
/// let network = Network::new(&mut ProgramSet::new(), &config, &[8, 8, 1], 10)?;
/// let unit = &network.units()[0];
/// assert_eq!((unit.kind(), unit.predictions().workers), ("heads", 4));
/// // The first worker has a convolution in front of its readout; the others read 8 filters, pooled to 2 × 2 values.
/// let heads = (8 * 5 + 5) + (36 * 5 * 10 + 10) + 3 * (4 * 8 * 10 + 10);
/// assert_eq!(network.parameter_counts(), (9 * 8 + 8 + 36 * 8 * 10 + 10, heads));
/// // A local gradient crosses it, and the unit's own.
/// assert_eq!((unit.depth(), unit.local_depth()), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Number of workers with such a head, each with parameters of its own.
    #[serde(default = "one")]
    pub count: usize,
    /// Layers in front of the readout. They belong to the worker alone, and training alone needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = [])))]
    pub layers: Vec<LayerConfig>,
    /// Filters are average-pooled to a grid of this many rows and columns before the readout;
    /// without it all positions are read.
    #[serde(default)]
    pub grid: Option<Size2>,
    /// Share of features dropped before the readout, in training.
    #[serde(default)]
    pub dropout: f64,
}

fn one() -> usize {
    1
}

impl HeadConfig {
    /// So many workers that read all features as they are.
    pub fn new(count: usize) -> Self {
        Self { count, layers: Vec::new(), grid: None, dropout: 0.0 }
    }

    /// One more layer in front of the readout.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<LayerConfig>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// With filters pooled to a grid of this many rows and columns.
    #[must_use]
    pub fn grid(self, grid: impl Into<Size2>) -> Self {
        Self { grid: Some(grid.into()), ..self }
    }
}

impl BuildWorkers for Vec<HeadConfig> {
    fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built {
        let layers = layers_with_weights(builder, place)?;
        let (mut heads, mut worker) = (Vec::new(), 1);
        for (index, config) in self.iter().enumerate() {
            builder.within(&format!(".workers.heads[{index}]"), "", |builder| {
                builder.limit(&[("grid", config.grid.map_or(1, Size2::largest))])?;
                if config.count == 0 {
                    return Err(builder.error("a count of 0, expected at least 1 worker"));
                }
                // Readouts that see the same numbers are one linear map.
                let together = config.layers.is_empty() && config.dropout == 0.0;
                let (copies, workers) =
                    if together { (1, config.count) } else { (config.count, 1) };
                for _ in 0..copies {
                    let features = layers.output_shape();
                    heads.push(builder.within("", &format!("head{worker}."), |builder| {
                        config.build(builder, features, workers * place.classes)
                    })?);
                    worker += workers;
                }
                Ok(())
            })?;
        }
        let shared = Workers::new(vec![Branch { layers, heads }]);
        Ok(Workers { shares_features: true, ..shared })
    }
}

impl HeadConfig {
    /// The layers and the readout of workers with so many logits together.
    fn build(
        &self,
        builder: &mut LayerBuilder<'_>,
        features: &[usize],
        logits: usize,
    ) -> Result<Sequential, ConfigError> {
        let mut head = builder.in_head(|builder| {
            builder.within(".layers", "", |builder| {
                builder.sequential(&self.layers, features, "layer")
            })
        })?;
        let readout = ReadoutConfig { count: 1, grid: self.grid, dropout: self.dropout };
        readout.append(builder, &mut head, logits)?;
        Ok(head)
    }
}
