//! Tables 2 and 3: `lfnn` and `lfnn-l` with 10 % to 100 % of the workers leading.

use lfnn_data::DatasetName;

use super::super::paper::{self, Quoted, Sweep as Values};
use super::super::plan::{ReproduceRequest, Task, Training, distinct, workers};
use super::super::report::{Cell, Report, Table};
use super::super::runner::Results;
use super::{Errors, MNIST, Target, chosen, is_there, missing, quick_note};
use crate::chart::{Axis, Figure, Mark, Panel, Point};
use crate::failure::Failure;

const PERCENTAGES: [usize; 10] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
const METHODS: [&str; 2] = ["lfnn-l", "lfnn"];

/// A table of the paper.
#[derive(Debug)]
pub(super) struct Sweep {
    name: &'static str,
    about: &'static str,
    title: &'static str,
    /// How the networks differ from the paper's; may be empty.
    note: &'static str,
    /// Name, recipe and data set of each part.
    parts: &'static [(&'static str, &'static str, DatasetName)],
}

pub(super) const TABLE2: Sweep = Sweep {
    name: "table2",
    about: "lfnn and lfnn-l with 10 % to 100 % leaders, MNIST and CIFAR-10",
    title: "Table 2: leadership size on MNIST and CIFAR-10",
    note: "",
    parts: &[
        (MNIST[0].0, MNIST[0].1, DatasetName::Mnist),
        (MNIST[1].0, MNIST[1].1, DatasetName::Mnist),
        ("CIFAR-10", "cifar10-m", DatasetName::Cifar10),
    ],
};

pub(super) const TABLE3: Sweep = Sweep {
    name: "table3",
    about: "lfnn and lfnn-l with 10 % to 100 % leaders, Tiny ImageNet",
    title: "Table 3: leadership size on Tiny ImageNet",
    note: "The network is far smaller than the paper’s and trained for fewer epochs: compare how the error changes \
           with the share of leaders.",
    parts: &[("Tiny ImageNet", "tiny-imagenet-workers", DatasetName::TinyImagenet)],
};

impl Sweep {
    /// Name and recipe of each part whose data is there.
    fn parts(
        &self,
        request: &ReproduceRequest,
    ) -> Result<Vec<(&'static str, &'static str)>, Failure> {
        if !request.is_paper() {
            return chosen(request, vec![("digits", "digits")], |part| part.1);
        }
        let there = self.parts.iter().filter(|(_, _, data)| is_there(request, *data));
        let parts: Vec<_> = there.map(|&(name, recipe, _)| (name, recipe)).collect();
        if parts.is_empty() {
            return Err(missing(request, self.parts[0].2));
        }
        chosen(request, parts, |part| part.1)
    }
}

/// The trainings with this percentage of leaders.
fn trainings(
    request: &ReproduceRequest,
    recipe: &str,
    method: &str,
    percent: usize,
) -> Vec<Training> {
    request
        .seeds
        .iter()
        .map(|&seed| request.training(recipe, method, seed).leaders(percent))
        .collect()
}

/// Percentages, each with the one whose trainings it shares.
fn shared(request: &ReproduceRequest, recipe: &str) -> Result<Vec<(usize, usize)>, Failure> {
    let config = request.training(recipe, METHODS[0], 1).config()?;
    // 70 % is Table 1's: where it leads as many, its trainings are taken.
    let mut order = vec![70];
    order.extend(PERCENTAGES.iter().filter(|&&percent| percent != 70));
    let mut pairs = distinct(&config, &order);
    pairs.sort_unstable();
    Ok(pairs)
}

impl Target for Sweep {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn has_parts(&self) -> bool {
        true
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        let mut tasks = Vec::new();
        for (_, recipe) in self.parts(request)? {
            let percentages = shared(request, recipe)?;
            // Seed by seed: what is stopped can be reported with fewer of them.
            for &seed in &request.seeds {
                for method in METHODS {
                    let of = |&(_, percent): &(usize, usize)| {
                        Task::Train(request.training(recipe, method, seed).leaders(percent))
                    };
                    tasks.extend(percentages.iter().map(of));
                }
            }
        }
        Ok(tasks)
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let paper = paper::read()?;
        let paper = if self.name == "table2" { paper.table2 } else { paper.table3 };
        let mut report = Report { title: self.title.into(), ..Report::default() };
        report.text.extend(quick_note(request, ""));
        report.text.push(
            "Errors in percent after the last epoch, mean and standard deviation over the seeds. The training error is \
             the running error of the last epoch. With few workers, several percentages select the same number of \
             leaders. Those rows are the same trainings and differ only in the paper’s value."
                .into(),
        );
        if request.is_paper() && !paper.note.is_empty() {
            report.text.push(paper.note.clone());
        }
        if request.is_paper() && !self.note.is_empty() {
            report.text.push(self.note.into());
        }
        let mut panels = Vec::new();
        for (name, recipe) in self.parts(request)? {
            let mut marks = Vec::new();
            for (method, style) in METHODS.into_iter().zip([1, 2]) {
                let (table, ours, theirs) =
                    table(request, results, (name, recipe, method), &paper)?;
                report.tables.push(table);
                let line = |name: String, style, points, markers| Mark::Line {
                    name,
                    style,
                    points,
                    markers,
                };
                marks.push(line(format!("{method}, this program"), style, ours, true));
                if !theirs.is_empty() {
                    let label = format!("{method}, paper, {}", paper.source);
                    marks.push(line(label, style + 3, theirs, true));
                }
            }
            panels.push(Panel {
                title: name.into(),
                x: Axis::new("workers that lead, δ, %")
                    .range(5.0, 105.0)
                    .ticks(&[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0]),
                y: Axis::new("test error, %"),
                marks,
                size: (400.0, 250.0),
            });
        }
        let title = "Test error against the share of workers that lead".into();
        let figure = Figure { title, panels, columns: 2 };
        let caption = "Mean over the seeds; error bars are one standard deviation.";
        report.figures.push((self.name.into(), caption.into(), figure));
        Ok(report)
    }
}

/// A method's table, and the points of its curve and the paper's.
fn table(
    request: &ReproduceRequest,
    results: &Results,
    (name, recipe, method): (&str, &str, &str),
    paper: &Quoted<Values>,
) -> Result<(Table, Vec<Point>, Vec<Point>), Failure> {
    let config = request.training(recipe, method, 1).config()?;
    let head = ["δ, %", "leaders", "test", "±", "paper", "difference", "training", "±", "paper"];
    let caption = format!("{name}, {method}: errors in percent");
    let mut table = Table::new(&format!("{recipe}-{method}"), &caption, &head);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let quoted = paper.get(recipe, method);
    for (at, (percent, same)) in shared(request, recipe)?.into_iter().enumerate() {
        let found = Errors::of(results, &trainings(request, recipe, method, same));
        let mean = found.map(|errors| errors.test.mean);
        let train = found.and_then(|errors| errors.train);
        let of_paper = quoted.and_then(|values| values.test.get(at)).copied();
        let mut leadership = config.leadership;
        leadership.delta = percent as f64 / 100.0;
        let lead = |count: &usize| format!("{} of {count}", leadership.leaders(*count));
        let mut leaders: Vec<String> = workers(&config).iter().map(lead).collect();
        leaders.dedup();
        let x = percent as f64;
        table.rows.push(vec![
            Cell::count(percent),
            leaders.join(", ").into(),
            Cell::maybe(mean),
            Cell::maybe(found.and_then(|errors| errors.test.deviation)),
            Cell::maybe(of_paper),
            Cell::maybe(mean.zip(of_paper).map(|(ours, paper)| ours - paper)),
            Cell::maybe(train.map(|stat| stat.mean)),
            Cell::maybe(train.and_then(|stat| stat.deviation)),
            Cell::maybe(quoted.and_then(|values| values.train.get(at)).copied()),
        ]);
        if let Some(errors) = found {
            let spread = errors.test.deviation.unwrap_or(0.0);
            ours.push(Point { x, y: errors.test.mean, spread });
        }
        theirs.extend(of_paper.map(|y| Point { x, y, spread: 0.0 }));
    }
    Ok((table, ours, theirs))
}
