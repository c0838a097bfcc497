//! The workers of a unit.

use serde::{Deserialize, Serialize};

use super::one_usize;

/// The four kinds of workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkersConfig {
    /// A fully connected layer of `count · K` neurons, made by this setting: a worker is K neurons
    /// and its logits are their pre-activations.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": ["flatten"], "workers": {"neurons": {"count": 4}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Neurons, 4));
    /// // The workers are the neurons themselves: 4 · 10 of them, on which the output layer builds.
    /// assert_eq!(network.parameter_counts(), (64 * 40 + 40 + 40 * 10 + 10, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Neurons {
        /// Number of workers.
        count: usize,
        /// What the unit hands on.
        #[serde(default)]
        output_activation: OutputActivation,
    },
    /// A worker is a run of filters of the last convolution; its logits are their mean activations.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": [{"conv": {"filters": 40, "kernel": 3}}, "relu"], "workers": {"filters": {"count": 4}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Filters, 4));
    /// // A worker is 10 of the 40 filters, one for each class.
    /// assert_eq!(network.parameter_counts(), (9 * 40 + 40 + 36 * 40 * 10 + 10, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Filters {
        /// Number of workers.
        count: usize,
        /// Factor s on the mean activations.
        #[serde(default = "one")]
        scale: f64,
    },
    /// A worker is an even group of neurons or filters with a linear readout of its own.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": [{"conv": {"filters": 8, "kernel": 3}}, "relu"], "workers": {"readout": {"count": 4, "grid": 2}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Readout, 4));
    /// // A worker reads 2 of the 8 filters, each pooled to 2 × 2 values.
    /// assert_eq!(network.parameter_counts(), (9 * 8 + 8 + 36 * 8 * 10 + 10, 4 * (2 * 4 * 10 + 10)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Readout {
        /// Number of workers.
        count: usize,
        /// Filters are first average-pooled to a grid of this many rows and columns; without it all
        /// positions are read.
        #[serde(default)]
        grid: Option<usize>,
        /// Share of features dropped before the readout, in training.
        #[serde(default)]
        dropout: f64,
    },
    /// A worker is a whole copy of the unit's layers with a readout at its end.
    ///
    /// ```
    /// # use lfnn_core::{config::NetworkConfig, network::Network, unit::WorkerKind};
    /// let config: NetworkConfig = serde_json::from_str(
    ///     r#"{"units": [{"layers": ["flatten", {"linear": {"features": 16}}, "relu"], "workers": {"block": {"count": 3}}}]}"#,
    /// )?;
    /// let network = Network::new(&config, &[8, 8, 1], 10)?;
    /// let unit = &network.units()[0];
    /// assert_eq!((unit.kind(), unit.predictions().workers), (WorkerKind::Block, 3));
    /// // Each block has its own layers and reads all of their 16 features.
    /// assert_eq!(network.parameter_counts(), (3 * (64 * 16 + 16) + 48 * 10 + 10, 3 * (16 * 10 + 10)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Block {
        /// Number of blocks side by side.
        #[serde(default = "one_usize")]
        count: usize,
        /// See `Readout`.
        #[serde(default)]
        grid: Option<usize>,
        /// See `Readout`.
        #[serde(default)]
        dropout: f64,
    },
}

impl WorkersConfig {
    /// Every whole number that it holds, with its key; the count of the workers comes first.
    pub(crate) fn settings(&self) -> Vec<(&'static str, usize)> {
        match *self {
            WorkersConfig::Neurons { count, output_activation: _ } => {
                vec![("neurons.count", count)]
            }
            WorkersConfig::Filters { count, scale: _ } => vec![("filters.count", count)],
            WorkersConfig::Readout { count, grid, dropout: _ } => {
                vec![("readout.count", count), ("readout.grid", grid.unwrap_or(1))]
            }
            WorkersConfig::Block { count, grid, dropout: _ } => {
                vec![("block.count", count), ("block.grid", grid.unwrap_or(1))]
            }
        }
    }
}

/// What a unit of neurons hands on to the next.
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

fn one() -> f64 {
    1.0
}
