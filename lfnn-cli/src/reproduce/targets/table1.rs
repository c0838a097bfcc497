//! Table 1: test and training error of every method.

use lfnn_data::DatasetName;

use super::super::paper;
use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::{Cell, Report, Table};
use super::super::runner::Results;
use super::{Errors, MNIST, Target, chosen, is_there, methods, missing, quick_note};
use crate::chart::{Axis, Figure, Mark, Panel, Point};
use crate::failure::Failure;

/// Forward gradients are too noisy for the recipes' rate, which is 0.003.
/// Found on the held-out images of `mnist-s` after four epochs; docs/results.md has the search.
const RATES: [(&str, &str); 4] =
    [("fg-w", "1e-3"), ("fg-a", "3e-4"), ("lg-fg-w", "1e-3"), ("lg-fg-a", "1e-4")];

/// The recipe that SGD trains.
const TINY: &str = "tiny-imagenet";

#[derive(Debug)]
pub(super) struct Table1;

/// A column of the table.
struct Column {
    name: &'static str,
    recipe: &'static str,
    /// For an image folder that is no data set of a name.
    sets: Vec<String>,
    label: &'static str,
    /// The column of the paper's values.
    paper: &'static str,
}

fn columns(request: &ReproduceRequest) -> Result<Vec<Column>, Failure> {
    let column = |name, recipe, paper| Column { name, recipe, sets: Vec::new(), label: "", paper };
    if !request.is_paper() {
        return chosen(request, vec![column("digits", "digits", "")], |column| column.recipe);
    }
    let mut columns = Vec::new();
    if is_there(request, DatasetName::Mnist) {
        columns.extend(MNIST.map(|(name, recipe)| column(name, recipe, recipe)));
    }
    if is_there(request, DatasetName::Cifar10) {
        columns.push(column("CIFAR-10", "cifar10-m", "cifar10-m"));
    }
    if is_there(request, DatasetName::TinyImagenet) {
        columns.push(column("Tiny ImageNet", TINY, ""));
    }
    let imagenet = request.data_root.join("imagenet");
    if imagenet.join("train").is_dir() {
        let path = imagenet.display().to_string();
        let sets = [
            "dataset.name=folder".to_owned(),
            format!("dataset.path={}", serde_json::to_string(&path)?),
            "dataset.image_size=[64,64]".to_owned(),
        ];
        columns.push(Column {
            name: "ImageNet folder, 64×64",
            recipe: TINY,
            sets: sets.to_vec(),
            label: "imagenet",
            paper: "imagenet",
        });
    }
    if columns.is_empty() {
        return Err(missing(request, DatasetName::Mnist));
    }
    chosen(request, columns, |column| column.recipe)
}

/// The learning rate of AdamW with which a forward gradient is trained, where it is not the recipe's.
fn rate(request: &ReproduceRequest, column: &Column, method: &str) -> Option<&'static str> {
    if !request.is_paper() || column.recipe == TINY {
        return None;
    }
    RATES.iter().find(|(name, _)| *name == method).map(|(_, rate)| *rate)
}

fn training(request: &ReproduceRequest, column: &Column, method: &str, seed: u64) -> Training {
    let mut training = request.training(column.recipe, method, seed).leaders(70);
    if let Some(rate) = rate(request, column, method) {
        training =
            training.set(&format!("lr{rate}"), &[format!("training.optimizer.adamw.lr={rate}")]);
    }
    if column.sets.is_empty() { training } else { training.set(column.label, &column.sets) }
}

fn trainings(request: &ReproduceRequest, column: &Column, method: &str) -> Vec<Training> {
    request.seeds.iter().map(|&seed| training(request, column, method, seed)).collect()
}

impl Target for Table1 {
    fn name(&self) -> &'static str {
        "table1"
    }

    fn about(&self) -> &'static str {
        "test and training error of every method, 70 % leaders"
    }

    fn has_parts(&self) -> bool {
        true
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        let mut tasks = Vec::new();
        for column in columns(request)? {
            // Seed by seed: what is stopped can be reported with fewer of them.
            for &seed in &request.seeds {
                let of = |method| Task::Train(training(request, &column, method, seed));
                tasks.extend(methods().into_iter().map(of));
            }
        }
        Ok(tasks)
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let paper = paper::read()?.table1;
        let mut report = Report {
            title: "Table 1: test and training error of every method".into(),
            ..Report::default()
        };
        report.text.extend(quick_note(request, ""));
        report.text.push(
            "Errors in percent after the last epoch, mean and standard deviation over the seeds; δ = 70 %. \
             The training error is the running error of the last epoch, on augmented images where the \
             recipe augments, and so can lie above the test error. “Paper” is the value of Table 1 at \
             this size, “difference” ours less the paper’s: negative is better. Networks, augmentation \
             and schedules here are not the paper’s, whose networks are block-wise."
                .into(),
        );
        if request.is_paper() {
            let rates: Vec<String> =
                RATES.iter().map(|(method, rate)| format!("{method} {rate}")).collect();
            report.text.push(format!(
                "Every method has the recipe’s settings, which were tuned for lfnn-l. With AdamW, these methods have \
                 learning rates of their own: {}.",
                rates.join(", ")
            ));
            report.text.push(paper.note.clone());
        }
        let head = [
            "method",
            "test",
            "±",
            "paper",
            "difference",
            "training",
            "±",
            "paper",
            "parameters",
            "head parameters",
        ];
        let mut panels = Vec::new();
        for column in columns(request)? {
            let caption = format!("{}: errors in percent", column.name);
            let mut table =
                Table::new(&format!("table1-{}{}", column.recipe, column.label), &caption, &head);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for method in methods() {
                let found = Errors::of(results, &trainings(request, &column, method));
                let quoted = paper.get(column.paper, method).copied();
                let test = found.map(|errors| errors.test);
                let train = found.and_then(|errors| errors.train);
                let mean = test.map(|stat| stat.mean);
                let difference = mean.zip(quoted).map(|(ours, [test, _])| ours - test);
                table.rows.push(vec![
                    method.into(),
                    Cell::maybe(mean),
                    Cell::maybe(test.and_then(|stat| stat.deviation)),
                    Cell::maybe(quoted.map(|[test, _]| test)),
                    Cell::maybe(difference),
                    Cell::maybe(train.map(|stat| stat.mean)),
                    Cell::maybe(train.and_then(|stat| stat.deviation)),
                    Cell::maybe(quoted.map(|[_, train]| train)),
                    found.map_or(Cell::Empty, |errors| Cell::count(errors.parameters)),
                    found.map_or(Cell::Empty, |errors| Cell::count(errors.head_parameters)),
                ]);
                ours.push(test.map(|stat| (stat.mean, stat.deviation.unwrap_or(0.0))));
                theirs.push(quoted.map(|[test, _]| (test, 0.0)));
            }
            let mut marks = vec![markers("this program", 1, -0.12, &ours)];
            if theirs.iter().any(Option::is_some) {
                marks.push(markers("paper, Table 1", 3, 0.12, &theirs));
            }
            panels.push(Panel {
                title: column.name.into(),
                x: Axis::names("", &methods()),
                // From half a percent to four fifths: equal distances are equal factors.
                y: Axis::new("test error, %").log(),
                marks,
                size: (360.0, 230.0),
            });
            report.tables.push(table);
        }
        let figure = Figure { title: "Test error of every method".into(), panels, columns: 2 };
        let caption = "Mean over the seeds; error bars are one standard deviation.";
        report.figures.push(("table1".into(), caption.into(), figure));
        Ok(report)
    }
}

/// A value for each method, beside the middle of its place.
fn markers(name: &str, style: usize, aside: f64, values: &[Option<(f64, f64)>]) -> Mark {
    let point = |(at, value): (usize, &Option<(f64, f64)>)| {
        value.map(|(y, spread)| Point { x: at as f64 + aside, y, spread })
    };
    let points = values.iter().enumerate().filter_map(point).collect();
    Mark::Points { name: name.into(), style, points }
}
