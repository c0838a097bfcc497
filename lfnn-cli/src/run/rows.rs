//! A row of metrics: an epoch, with what was measured in training and after it.

use std::collections::BTreeMap;

use lfnn_core::metric::{MetricValue, Metrics};
use serde::{Deserialize, Serialize};

use crate::format;

/// An epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochRow {
    /// Which one, from 1.
    pub(crate) epoch: usize,
    /// The learning rate of its last step.
    pub(crate) learning_rate: f64,
    /// While training: each example as it was seen.
    pub(crate) train: Metrics,
    /// After the epoch, if images are held out.
    pub(crate) validation: Option<Metrics>,
    /// After the epoch.
    pub(crate) test: Metrics,
    /// Seconds of training, without evaluation and saving.
    pub(crate) seconds: f64,
    /// Training images per second of these.
    pub(crate) images_per_second: f64,
    /// Largest memory of the process so far.
    pub(crate) peak_memory_bytes: u64,
}

/// The value of a metric in a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// On which images: `train`, `validation` or `test`.
    pub(crate) images: &'static str,
    /// The hidden unit, from 1; none for the network.
    pub(crate) unit: Option<usize>,
    /// The worker of the unit, from 1; none for the unit as a whole.
    pub(crate) worker: Option<usize>,
    /// The metric; `…_lowest` and `…_mean` of one that has a value for each worker.
    pub(crate) name: String,
    /// What was measured.
    pub(crate) value: f64,
}

impl Entry {
    /// The unit and the worker, each with this mark after it.
    pub(crate) fn place(&self, mark: &str) -> String {
        let part = |name: &str, number: Option<usize>| {
            number.map(|number| format!("{name}{number}{mark}")).unwrap_or_default()
        };
        part("unit", self.unit) + &part("worker", self.worker)
    }
}

impl EpochRow {
    /// Every metric, in an order that is that of any other row of the run.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let validation = self.validation.as_ref();
        for (images, metrics) in
            [("train", Some(&self.train)), ("validation", validation), ("test", Some(&self.test))]
        {
            let Some(metrics) = metrics else { continue };
            let mut add = |unit, worker, name: &str, value| {
                entries.push(Entry { images, unit, worker, name: name.to_owned(), value });
            };
            for (name, &value) in &metrics.network {
                add(None, None, name, value);
            }
            for (unit, metrics) in (1..).zip(&metrics.units) {
                for (name, value) in &metrics.0 {
                    let values = match value {
                        MetricValue::Single(value) => {
                            add(Some(unit), None, name, *value);
                            continue;
                        }
                        MetricValue::Workers(values) => values,
                    };
                    let statistics = [("lowest", lowest(values)), ("mean", mean(values))];
                    for (statistic, value) in statistics {
                        let name = format!("{name}_{statistic}");
                        value.into_iter().for_each(|value| add(Some(unit), None, &name, value));
                    }
                    for (worker, &value) in (1..).zip(values) {
                        add(Some(unit), Some(worker), name, value);
                    }
                }
            }
        }
        entries
    }

    /// The metrics of the network by their names, such as `test_error`.
    pub(crate) fn network(&self) -> BTreeMap<String, f64> {
        let entries = self.entries().into_iter().filter(|entry| entry.unit.is_none());
        entries.map(|entry| (format!("{}_{}", entry.images, entry.name), entry.value)).collect()
    }
}

/// The name of R² among the metrics of the network.
pub(crate) const R2: &str = "r2";

/// How good a network is, for people: its error in percent or, in a regression, R².
pub(crate) fn score(metrics: Option<&Metrics>) -> String {
    let r2 = metrics.and_then(|metrics| metrics.network.get(R2));
    match (metrics.and_then(Metrics::error), r2) {
        (None, Some(r2)) => format!("{r2:.4}"),
        (error, _) => format::percent(error),
    }
}

/// The least of some values; none of none.
pub(crate) fn lowest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

/// The mean of some values; none of none.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use lfnn_core::config::SimilarityConfig;
    use lfnn_core::method::by_name;
    use lfnn_core::train::{Normalization, StepProgram};

    use crate::config::{Request, resolve};
    use crate::train::setup;

    /// A method with leaders and one without, and a loss that units have where they are asked to.
    #[test]
    fn every_metric_is_documented() {
        let mut config = resolve(&Request::default()).unwrap();
        config.network.units[0].similarity = Some(SimilarityConfig::new(1.0));
        let normalization = Normalization { mean: vec![0.0], std: vec![1.0] };
        for method in ["lfnn-l", "lg-bp"] {
            let method = by_name(method).unwrap();
            let setup = lfnn_core::train::Setup { method, ..setup(&config, &normalization) };
            let metrics = StepProgram::new(&setup, [8, 8, 1], 10).unwrap().metrics;
            assert!(metrics.len() >= 2 + 3 * 3, "{}", method.name);
            for metric in metrics.iter().map(|declared| declared.metric) {
                let line = format!("| `{}` | {} |", metric.name, metric.about);
                assert!(include_str!("../../CONFIG.md").contains(&line), "CONFIG.md lacks {line}");
            }
        }
    }
}
