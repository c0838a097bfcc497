//! The targets: one file each, or one for those that share their trainings.

mod fig3a;
mod fig5;
mod fig6;
mod locality;
mod losses;
mod memory;
mod supplement;
mod sweep;
mod table1;

use anyhow::anyhow;
use lfnn_core::method::PAPER_METHODS;
use lfnn_data::{DatasetName, Presence};

use super::plan::{ReproduceRequest, Task, Training};
use super::report::Report;
use super::runner::Results;
use crate::chart::Stat;
use crate::failure::{Failure, Result};
use crate::run::Summary;

/// A table or figure to reproduce.
#[derive(Debug)]
pub(super) struct Target {
    /// The name by which users choose it.
    pub(super) name: &'static str,
    /// One line for people.
    pub(super) about: &'static str,
    /// The title of its report.
    title: &'static str,
    /// What its report says first at quick scale, beside what all do; may be empty.
    quick: &'static str,
    /// What its report says then.
    text: &'static str,
    /// Whether it consists of parts, each of one recipe, among which one can choose. Otherwise the paper's
    /// scale needs MNIST.
    pub(super) has_parts: bool,
    plan: fn(&ReproduceRequest) -> Result<Vec<Task>>,
    /// Adds tables and figures to a report.
    report: fn(&Results<'_>, &mut Report) -> Result,
}

impl Target {
    /// What must be trained and computed.
    ///
    /// # Errors
    /// Data that is missing, or a setting that does not fit.
    pub(super) fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>> {
        if request.is_paper() && !self.has_parts && !is_there(request, DatasetName::Mnist) {
            return Err(missing(request, DatasetName::Mnist));
        }
        (self.plan)(request)
    }

    /// Tables and figures of what came out.
    ///
    /// # Errors
    /// A result that cannot be read.
    pub(super) fn report(&self, results: &Results<'_>) -> Result<Report> {
        let mut report = Report { name: self.name, title: self.title, ..Report::default() };
        if !results.request.is_paper() {
            let text = format!(
                "This is the quick scale: the embedded 8×8 digits replace the paper's data. It shows that \
                 everything works and what results look like. Do not compare its numbers with the paper's. {}",
                self.quick
            );
            report.text.push(text.trim_end().to_owned());
        }
        report.text.push(self.text.to_owned());
        (self.report)(results, &mut report)?;
        Ok(report)
    }
}

/// Every target.
pub(super) static TARGETS: [Target; 11] = [
    table1::TABLE1,
    sweep::TABLE2,
    sweep::TABLE3,
    fig3a::FIG3A,
    losses::FIG3B,
    losses::FIG4,
    fig5::FIG5,
    fig6::FIG6,
    supplement::SUPPLEMENT,
    locality::LOCALITY,
    memory::MEMORY,
];

/// The caption of a figure whose points are means over the seeds.
const OVER_SEEDS: &str = "Mean over the seeds; error bars are one standard deviation.";

/// MNIST's two columns of Tables 1 and 2: name and recipe.
const MNIST: [(&str, &str); 2] =
    [("MNIST, 257 thousand parameters", "mnist-s"), ("MNIST, 429 thousand parameters", "mnist-m")];

/// Whether a method is one of the paper's Table 1.
fn is_in_paper(name: &str) -> bool {
    PAPER_METHODS.iter().any(|method| method.name == name)
}

/// Whether a data set can be used.
fn is_there(request: &ReproduceRequest, name: DatasetName) -> bool {
    lfnn_data::list(&request.data_root).iter().any(|found| {
        found.name == name && matches!(found.presence, Presence::Present | Presence::Embedded)
    })
}

/// The error for data that is needed and not there.
fn missing(request: &ReproduceRequest, name: DatasetName) -> Failure {
    let root = request.data_root.display();
    Failure::Runtime(anyhow!(
        "{name} is not in {root}, and this target at paper scale needs it; `lfnn-cli data fetch {name}` \
         brings it, --data-dir names another folder"
    ))
}

/// The parts of the recipes that the user chose.
///
/// # Errors
/// A recipe that no part has.
fn chosen<T>(request: &ReproduceRequest, parts: Vec<T>, recipe: fn(&T) -> &str) -> Result<Vec<T>> {
    let names = &request.recipes;
    if let Some(name) = names.iter().find(|name| !parts.iter().any(|part| recipe(part) == *name)) {
        let list = parts.iter().map(recipe).collect::<Vec<_>>().join(", ");
        return Err(Failure::Usage(anyhow!(
            "--recipe {name}: there is no such part, or its data is missing (expected one of {list})"
        )));
    }
    let wanted = |part: &T| names.is_empty() || names.iter().any(|name| name == recipe(part));
    Ok(parts.into_iter().filter(wanted).collect())
}

/// Errors of some trainings in percent: on the test images and while training.
#[derive(Clone, Copy, Debug)]
struct Errors {
    test: Stat,
    train: Option<Stat>,
    parameters: usize,
    head_parameters: usize,
}

impl Errors {
    /// Of those trainings, one for each seed, that came to their end; none if none did.
    fn of(results: &Results<'_>, training: impl Fn(u64) -> Training) -> Option<Self> {
        let seeds = results.request.seeds.iter();
        let runs: Vec<_> = seeds.filter_map(|&seed| results.run(&training(seed))).collect();
        let all = |value: fn(&Summary) -> Option<f64>| -> Vec<f64> {
            runs.iter().filter_map(|run| value(&run.summary)).collect()
        };
        let first = &runs.first()?.summary;
        Some(Self {
            test: Stat::of(&all(Summary::test_error))?,
            train: Stat::of(&all(|summary| summary.metrics.get("train_error").copied())),
            parameters: first.parameters,
            head_parameters: first.head_parameters,
        })
    }
}

/// One-vs-all networks of one hidden layer (paper, Section 3.1): permuted MNIST, or the digits with small
/// batches, so that one pass has about as many steps.
fn one_pass(request: &ReproduceRequest, method: &str, workers: usize, seed: u64) -> Training {
    let width = format!("network.units.0.workers.neurons.count={workers}");
    let training =
        request.training("mnist-permuted-ova", method, seed).set(&format!("{workers}"), &[width]);
    if request.is_paper() {
        return training;
    }
    let sets = ["dataset.name=digits", "training.batch_size=5"];
    training.set("digits", &sets.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use lfnn_core::network::Network;
    use lfnn_core::program::ProgramSet;

    use super::MNIST;
    use crate::config::{Request, resolve};

    #[test]
    fn columns_are_called_by_their_networks_sizes() {
        for (name, recipe) in MNIST {
            let request =
                Request { recipe: Some(recipe), file: None, options: Vec::new(), sets: &[] };
            let config = resolve(&request).unwrap();
            let network =
                Network::new(&mut ProgramSet::new(), &config.network, &[28, 28, 1], 10).unwrap();
            let thousands = (network.parameter_counts().0 + 500) / 1000;
            assert!(name.contains(&format!(" {thousands} thousand ")), "{name}: {thousands}");
        }
    }
}
