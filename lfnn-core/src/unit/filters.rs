//! Workers that are runs of filters of a convolution.

use serde::{Deserialize, Serialize};

use super::workers::{BuildWorkers, Built, Workers, layers_with_weights};
use super::{Branch, UnitPlace};
use crate::layer::{FilterMeanConfig, Layer, LayerBuilder, Sequential};

/// Filters as workers: a worker is a run of filters of the last convolution; its logits are their mean activations.
///
/// ```
/// # use lfnn_core::{config::NetworkConfig, network::Network, program::ProgramSet};
/// let config: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{"layers": [{"conv": {"filters": 40, "kernel": 3}}, "relu"], "workers": {"filters": {"count": 4}}}]}"#,
/// )?;
/// let network = Network::new(&mut ProgramSet::new(), &config, &[8, 8, 1], 10)?;
/// let unit = &network.units()[0];
/// assert_eq!((unit.kind(), unit.predictions().workers), ("filters", 4));
/// // A worker is 10 of the 40 filters, one for each class.
/// assert_eq!(network.parameter_counts(), (9 * 40 + 40 + 36 * 40 * 10 + 10, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FiltersConfig {
    /// Number of workers.
    pub count: usize,
    /// Factor s on the mean activations.
    #[serde(default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

impl BuildWorkers for FiltersConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built {
        let layers = layers_with_weights(builder, place)?;
        let mut head = Sequential::new(layers.output_shape());
        head.begin_readout();
        let mean =
            FilterMeanConfig { workers: self.count, width: place.classes, scale: self.scale };
        builder.within(".workers", "", |builder| builder.append(&mut head, &mean))?;
        Ok(Workers::new(vec![Branch { layers, heads: vec![head] }]))
    }
}
