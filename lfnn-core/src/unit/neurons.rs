//! Workers that are runs of neurons of a fully connected layer.

use serde::{Deserialize, Serialize};

use super::workers::{BuildWorkers, Built, Workers};
use super::{Branch, UnitPlace};
use crate::layer::{BuildLayer, GroupedLinear, Layer, LayerBuilder, Sequential, SoftmaxConfig};
use crate::program::Activation;

/// Neurons as workers: a fully connected layer of `count · K` neurons, made by this setting. A worker is K
/// neurons and its logits are their pre-activations.
///
/// ```
/// # use lfnn_core::{config::NetworkConfig, network::Network, program::ProgramSet};
/// let config: NetworkConfig = serde_json::from_str(
///     r#"{"units": [{"layers": ["flatten"], "workers": {"neurons": {"count": 4}}}]}"#,
/// )?;
/// let network = Network::new(&mut ProgramSet::new(), &config, &[8, 8, 1], 10)?;
/// let unit = &network.units()[0];
/// assert_eq!((unit.kind(), unit.predictions().workers), ("neurons", 4));
/// // The workers are the neurons themselves: 4 · 10 of them, on which the output layer builds.
/// assert_eq!(network.parameter_counts(), (64 * 40 + 40 + 40 * 10 + 10, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NeuronsConfig {
    /// Number of workers.
    pub count: usize,
    /// What the unit passes on to the next.
    #[serde(default)]
    pub output_activation: OutputActivation,
}

/// What a unit of neurons passes on to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OutputActivation {
    /// The workers' outputs p: softmax for K > 1, sigmoid for K = 1, the logits for regression (the
    /// paper's choice).
    #[default]
    Output,
    /// ReLU of the logits; p then serves the losses alone.
    Relu,
    /// Sigmoid of the logits.
    Sigmoid,
    /// Hyperbolic tangent of the logits.
    Tanh,
}

impl BuildWorkers for NeuronsConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, place: &UnitPlace<'_>) -> Built {
        let mut layers = builder.within(".layers", "", |builder| {
            let layers = builder.sequential(place.layers, place.input, "layer")?;
            if place.classifiers > 1 && layers.depth() > 0 {
                let message =
                    "one-vs-all networks share no weights: expected no layer with weights";
                return Err(builder.error(message));
            }
            Ok(layers)
        })?;
        builder.within(".workers", "neurons.", |builder| {
            let features = place.classifiers * self.count * place.classes;
            let groups = if place.input_per_classifier { place.classifiers } else { 1 };
            builder.append(&mut layers, &GroupedLinear { features, groups })?;
            let heads = vec![Sequential::new(layers.output_shape())];
            let mut workers = Workers::new(vec![Branch { layers, heads }]);
            let softmax = SoftmaxConfig { width: place.classes };
            let activation: Option<&dyn BuildLayer> = match self.output_activation {
                OutputActivation::Output if !place.probabilities => None,
                OutputActivation::Output if place.classes > 1 => Some(&softmax),
                OutputActivation::Output | OutputActivation::Sigmoid => Some(&Activation::Sigmoid),
                OutputActivation::Relu => Some(&Activation::Relu),
                OutputActivation::Tanh => Some(&Activation::Tanh),
            };
            if let Some(activation) = activation {
                builder.append_uncounted(&mut workers.output_activation, activation)?;
            }
            Ok(workers)
        })
    }
}
