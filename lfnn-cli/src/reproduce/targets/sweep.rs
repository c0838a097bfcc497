//! Tables 2 and 3: `lfnn` and `lfnn-l` with 10 % to 100 % of the workers leading.

use lfnn_data::DatasetName;

use super::super::paper::{self, Quoted, Sweep as Values};
use super::super::plan::{ReproduceRequest, Task};
use super::super::report::Report;
use super::super::runner::Results;
use super::{Errors, MNIST, OVER_SEEDS, Target, chosen, is_there, missing};
use crate::chart::{Axis, Mark, Panel, Point, Shape, dodge};
use crate::config::RunConfig;
use crate::failure::Result;
use crate::page::{Cell, Table};
use crate::run::mean;

const PERCENTAGES: [usize; 10] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
const METHODS: [&str; 2] = ["lfnn-l", "lfnn"];

/// Name, recipe and data set of each part of a table.
type Parts = [(&'static str, &'static str, DatasetName)];

const PARTS2: &Parts = &[
    (MNIST[0].0, MNIST[0].1, DatasetName::Mnist),
    (MNIST[1].0, MNIST[1].1, DatasetName::Mnist),
    ("CIFAR-10", "cifar10-m", DatasetName::Cifar10),
];
const PARTS3: &Parts = &[("Tiny ImageNet", "tiny-imagenet-workers", DatasetName::TinyImagenet)];

pub(super) const TABLE2: Target = Target {
    name: "table2",
    about: "lfnn and lfnn-l with 10 % to 100 % leaders, MNIST and CIFAR-10",
    title: "Table 2: leadership size on MNIST and CIFAR-10",
    quick: "",
    text: "Errors in percent after the last epoch, mean and standard deviation over the seeds. The training error is \
 the running error of the last epoch. With few workers, several percentages select the same number of \
 leaders. Those rows are the same trainings and differ only in the paper’s value. The figure shows each training \
 once, at the share of the workers that lead.",
    has_parts: true,
    plan: |request| plan(request, PARTS2),
    report: |results, report| add(results, report, PARTS2, &paper::read()?.table2, ""),
};

pub(super) const TABLE3: Target = Target {
    name: "table3",
    about: "lfnn and lfnn-l with 10 % to 100 % leaders, Tiny ImageNet",
    title: "Table 3: leadership size on Tiny ImageNet",
    plan: |request| plan(request, PARTS3),
    report: |results, report| {
        let note = "The network is far smaller than the paper’s and trained for fewer epochs: compare \
                    how the error changes with the share of leaders.";
        add(results, report, PARTS3, &paper::read()?.table3, note)
    },
    ..TABLE2
};

/// Name and recipe of each part whose data is there.
fn parts(request: &ReproduceRequest, parts: &Parts) -> Result<Vec<(&'static str, &'static str)>> {
    if !request.is_paper() {
        return chosen(request, vec![("digits", "digits")], |part| part.1);
    }
    let there = parts.iter().filter(|(_, _, data)| is_there(request, *data));
    let found: Vec<_> = there.map(|&(name, recipe, _)| (name, recipe)).collect();
    if found.is_empty() {
        return Err(missing(request, parts[0].2));
    }
    chosen(request, found, |part| part.1)
}

/// How many workers of each unit lead with this percentage, and of how many.
fn leaders(config: &RunConfig, percent: usize) -> Vec<(usize, usize)> {
    let mut leadership = config.leadership;
    leadership.delta = percent as f64 / 100.0;
    let counts = config.network.units.iter().map(|unit| unit.workers.count());
    counts.map(|count| (leadership.leaders(count), count)).collect()
}

/// Percentages, each with the first that makes as many lead in every unit: those trainings are the same, and are
/// trained once.
fn shared(request: &ReproduceRequest, recipe: &str) -> Result<Vec<(usize, usize)>> {
    let config = request.training(recipe, METHODS[0], 1).config()?;
    // 70 % is Table 1's: where it leads as many, its trainings are taken.
    let order = [70].into_iter().chain(PERCENTAGES);
    let same =
        |percent| order.clone().find(|&one| leaders(&config, one) == leaders(&config, percent));
    Ok(PERCENTAGES.map(|percent| (percent, same(percent).unwrap_or(percent))).to_vec())
}

fn plan(request: &ReproduceRequest, all: &Parts) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for (_, recipe) in parts(request, all)? {
        let percentages = shared(request, recipe)?;
        // Seed by seed: what is stopped can be reported with fewer of them.
        for &seed in &request.seeds {
            for method in METHODS {
                let training = request.training(recipe, method, seed);
                let of =
                    |&(_, percent): &(_, usize)| Task::Train(training.clone().leaders(percent));
                tasks.extend(percentages.iter().map(of));
            }
        }
    }
    Ok(tasks)
}

/// Adds tables and a figure to a report.
fn add(
    results: &Results<'_>,
    report: &mut Report,
    all: &Parts,
    paper: &Quoted<Values>,
    note: &str,
) -> Result {
    let request = results.request;
    if request.is_paper() {
        let notes = [paper.note.as_str(), note];
        report.text.extend(notes.iter().filter(|note| !note.is_empty()).map(ToString::to_string));
    }
    let mut panels = Vec::new();
    for (name, recipe) in parts(request, all)? {
        let mut marks = Vec::new();
        for (method, style) in METHODS.into_iter().zip([1, 2]) {
            let (table, ours, theirs) = table(results, (name, recipe, method), paper)?;
            report.tables.push(table);
            let label = format!("{method}, this program");
            marks.push(Mark::new(label, style, Shape::MarkedLine(ours)));
            if !theirs.is_empty() {
                let label = format!("{method}, paper, {}", paper.source);
                marks.push(Mark::new(label, style + 3, Shape::MarkedLine(theirs)));
            }
        }
        let x = Axis::new("workers that lead, %").range(5.0, 105.0);
        let x = x.ticks(&PERCENTAGES.map(|percent| percent as f64));
        panels.push(Panel::new(name, x, Axis::new("test error, %"), dodge(marks), (400.0, 250.0)));
    }
    let title = "Test error against the share of workers that lead";
    report.figure(report.name, OVER_SEEDS, title, 2, panels);
    Ok(())
}

/// A method's table, and the points of its curve and the paper's.
fn table(
    results: &Results<'_>,
    (name, recipe, method): (&str, &str, &str),
    paper: &Quoted<Values>,
) -> Result<(Table, Vec<Point>, Vec<Point>)> {
    let request = results.request;
    let config = request.training(recipe, method, 1).config()?;
    let head = "δ, %|leaders|test|±|paper|difference|training|±|paper";
    let caption = format!("{name}, {method}: errors in percent");
    let mut table = Table::new(&format!("{recipe}-{method}"), &caption, head);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let quoted = paper.get(recipe, method);
    for (at, (percent, same)) in shared(request, recipe)?.into_iter().enumerate() {
        let found =
            Errors::of(results, |seed| request.training(recipe, method, seed).leaders(same));
        let test_mean = found.map(|errors| errors.test.mean);
        let [test, test_deviation] = Cell::stat(found.map(|errors| errors.test));
        let [train, train_deviation] = Cell::stat(found.and_then(|errors| errors.train));
        let of_paper = quoted.and_then(|values| values.test.get(at)).copied();
        let counts = leaders(&config, percent);
        let share = |&(lead, of): &(usize, usize)| 100.0 * lead as f64 / of as f64;
        let x = mean(&counts.iter().map(share).collect::<Vec<_>>()).unwrap_or_default();
        let mut leaders: Vec<_> =
            counts.into_iter().map(|(lead, of)| format!("{lead} of {of}")).collect();
        leaders.dedup();
        table.rows.push(vec![
            Cell::count(percent),
            leaders.join(", ").into(),
            test,
            test_deviation,
            Cell::maybe(of_paper),
            Cell::maybe(test_mean.zip(of_paper).map(|(ours, paper)| ours - paper)),
            train,
            train_deviation,
            Cell::maybe(quoted.and_then(|values| values.train.get(at)).copied()),
        ]);
        // A training is one point, at the share that leads.
        if ours.last().is_none_or(|last: &Point| last.x < x) {
            ours.extend(found.map(|errors| errors.test.point(x)));
        }
        theirs.extend(of_paper.map(|y| Point::new(percent as f64, y)));
    }
    Ok((table, ours, theirs))
}
