//! Metrics: sums that a step adds up on the device, and how the host turns them into values.
//!
//! Whoever writes the operations that add to a sum declares its [`Metric`] beside them with
//! [`StepBuilder::metric`](crate::step::StepBuilder::metric). Everything else (the [`Metrics`] that a trainer and an
//! evaluation return, and the files of a run) iterates over what was declared.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::backend::{BackendError, Executable, TensorData, TensorDataMut};
use crate::program::TensorId;

/// What a sum is called and how it becomes a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name in records and files.
    pub name: &'static str,
    /// What it measures, for the documentation of the files.
    pub about: &'static str,
    /// What a value of it describes.
    pub scope: MetricScope,
    /// What the sum is divided by.
    pub per: Per,
    /// What the sum is multiplied by: 100 for a share in percent, the weight of a loss.
    pub factor: f64,
}

/// What a value of a metric describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricScope {
    /// The network: one value, the sum over the elements.
    Network,
    /// A hidden unit: one value, the sum over the elements.
    Unit,
    /// The workers of a hidden unit (of each classifier): one value for each element.
    Worker,
}

/// What a sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The number of examples.
    Example,
    /// The number of batches.
    Batch,
}

/// A metric of a step with the tensor that holds its sum.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSum {
    /// The metric.
    pub metric: Metric,
    /// The hidden unit, from 1; 0 for the network.
    pub unit: usize,
    /// A persistent real tensor.
    pub sum: TensorId,
    /// Number of its elements.
    pub(crate) len: usize,
    /// Those that belong to the metric.
    pub(crate) elements: Range<usize>,
}

/// Values of the metrics of an epoch or an evaluation, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Examples counted.
    pub examples: usize,
    /// Batches counted.
    pub batches: usize,
    /// Those of the network as a whole.
    #[serde(flatten)]
    pub network: BTreeMap<String, f64>,
    /// Those of the hidden units; none where the method trains no workers, and in training none of frozen units.
    pub units: Vec<UnitMetrics>,
}

/// Values of the metrics of a hidden unit, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitMetrics(pub BTreeMap<String, MetricValue>);

/// The value of a metric of a hidden unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// Of the unit as a whole.
    Single(f64),
    /// Of each worker (of each classifier).
    Workers(Vec<f64>),
}

impl Metrics {
    /// Mean global loss.
    pub fn loss(&self) -> f64 {
        self.network.get("loss").copied().unwrap_or_default()
    }

    /// Share of wrong predictions, in percent; none in regression.
    pub fn error(&self) -> Option<f64> {
        self.network.get("error").copied()
    }

    /// Reads the values of a step's metrics after so many batches and examples.
    pub(crate) fn read(
        executable: &dyn Executable,
        metrics: &[MetricSum],
        batches: usize,
        examples: usize,
    ) -> Result<Self, BackendError> {
        Ok(MetricSums::read(executable, metrics)?.values(metrics, batches, examples))
    }
}

/// The sums of a step's metrics, each as its tensor has it.
#[derive(Clone, Debug)]
pub(crate) struct MetricSums(Vec<Vec<f64>>);

impl MetricSums {
    /// Reads them.
    pub(crate) fn read(
        executable: &dyn Executable,
        metrics: &[MetricSum],
    ) -> Result<Self, BackendError> {
        let (mut all, mut sums) = (Vec::with_capacity(metrics.len()), Vec::new());
        for (at, MetricSum { sum, len, elements, .. }) in metrics.iter().enumerate() {
            if is_first_of_tensor(metrics, at) {
                sums.resize(*len, 0.0);
                executable.download(*sum, TensorDataMut::Real(&mut sums))?;
            }
            all.push(sums[elements.clone()].iter().map(|&element| f64::from(element)).collect());
        }
        Ok(Self(all))
    }

    /// What was added since these sums were read.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (now, then) in self.0.iter_mut().flatten().zip(before.0.iter().flatten()) {
            *now -= then;
        }
        self
    }

    /// The values of the metrics after so many batches and examples.
    pub(crate) fn values(&self, metrics: &[MetricSum], batches: usize, examples: usize) -> Metrics {
        let mut values = Metrics { examples, batches, ..Metrics::default() };
        for (MetricSum { metric, unit, .. }, sums) in metrics.iter().zip(&self.0) {
            let count = if metric.per == Per::Batch { batches } else { examples };
            let per = 1.0 / count.max(1) as f64;
            let value = |sum: f64| metric.factor * sum * per;
            let name = metric.name.to_owned();
            let Some(unit) = unit.checked_sub(1) else {
                values.network.insert(name, value(sums.iter().sum()));
                continue;
            };
            let of_unit = match metric.scope {
                MetricScope::Worker => {
                    MetricValue::Workers(sums.iter().map(|&sum| value(sum)).collect())
                }
                MetricScope::Network | MetricScope::Unit => {
                    MetricValue::Single(value(sums.iter().sum()))
                }
            };
            values.units.resize(values.units.len().max(unit + 1), UnitMetrics::default());
            values.units[unit].0.insert(name, of_unit);
        }
        values
    }
}

impl UnitMetrics {
    /// The value of a metric of the unit as a whole.
    pub fn value(&self, name: &str) -> Option<f64> {
        match self.0.get(name)? {
            MetricValue::Single(value) => Some(*value),
            MetricValue::Workers(_) => None,
        }
    }

    /// The values of a metric for each worker (of each classifier); empty if there are none.
    pub fn workers(&self, name: &str) -> &[f64] {
        match self.0.get(name) {
            Some(MetricValue::Workers(values)) => values,
            _ => &[],
        }
    }
}

/// Whether a metric has another tensor than the one before it: a tensor is transferred once for metrics that are
/// declared one after the other.
fn is_first_of_tensor(metrics: &[MetricSum], at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| metrics[before].sum != metrics[at].sum)
}

/// Sets the sums of a step's metrics to zero.
pub(crate) fn clear(
    executable: &mut dyn Executable,
    metrics: &[MetricSum],
) -> Result<(), BackendError> {
    for (at, MetricSum { sum, len, .. }) in metrics.iter().enumerate() {
        if is_first_of_tensor(metrics, at) {
            executable.upload(*sum, TensorData::Real(&vec![0.0; *len]))?;
        }
    }
    Ok(())
}
