//! Table 1: test and training error of every method.

use lfnn_core::method::names;
use lfnn_data::DatasetName;

use super::super::paper;
use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::Report;
use super::super::runner::Results;
use super::{Errors, MNIST, OVER_SEEDS, Target, chosen, is_in_paper, is_there, missing};
use crate::chart::{Axis, Mark, Panel, Point, Shape};
use crate::failure::Result;
use crate::page::{Cell, Table};

/// Most forward gradients are too noisy for the recipes' rate, which is 0.003.
/// Found on the held-out images of `mnist-s` after four epochs; docs/results.md has the search.
const RATES: [(&str, &str); 3] = [("fg-w", "1e-3"), ("fg-a", "3e-4"), ("lg-fg-w", "1e-3")];

/// The recipe that SGD trains.
const TINY: &str = "tiny-imagenet";

pub(super) const TABLE1: Target = Target {
    name: "table1",
    about: "test and training error of every method, 70 % leaders",
    title: "Table 1: test and training error of every method",
    quick: "",
    text: "Errors in percent after the last epoch, mean and standard deviation over the seeds; δ = 70 %. \
           The training error is the running error of the last epoch, on augmented images where the \
           recipe augments, and so can lie above the test error. “Paper” is the value of Table 1 at \
           this size, “difference” ours less the paper’s: negative is better. Networks, augmentation \
           and schedules here are not the paper’s, whose networks are block-wise. Methods that are not in \
           the paper’s table are below its nine; their values are those of Ren et al. 2022, Table 3.",
    has_parts: true,
    plan,
    report,
};

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

fn columns(request: &ReproduceRequest) -> Result<Vec<Column>> {
    let column = |name, recipe, paper| Column { name, recipe, sets: Vec::new(), label: "", paper };
    if !request.is_paper() {
        return chosen(request, vec![column("digits", "digits", "")], |column| column.recipe);
    }
    let mut columns = Vec::new();
    for (name, recipe, paper, data) in [
        (MNIST[0].0, MNIST[0].1, MNIST[0].1, DatasetName::Mnist),
        (MNIST[1].0, MNIST[1].1, MNIST[1].1, DatasetName::Mnist),
        ("CIFAR-10", "cifar10-m", "cifar10-m", DatasetName::Cifar10),
        ("Tiny ImageNet", TINY, "", DatasetName::TinyImagenet),
    ] {
        columns.extend(is_there(request, data).then(|| column(name, recipe, paper)));
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

fn plan(request: &ReproduceRequest) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for column in columns(request)? {
        // Seed by seed: what is stopped can be reported with fewer of them.
        for &seed in &request.seeds {
            let of = |method| Task::Train(training(request, &column, method, seed));
            tasks.extend(names().into_iter().map(of));
        }
    }
    Ok(tasks)
}

fn report(results: &Results<'_>, report: &mut Report) -> Result {
    let request = results.request;
    let paper = paper::read()?;
    if request.is_paper() {
        let rates = RATES.map(|(method, rate)| format!("{method} {rate}"));
        report.text.push(format!(
            "Every method has the recipe’s settings, which were tuned for lfnn-l. With AdamW, these methods have \
            learning rates of their own: {}.",
            rates.join(", ")
        ));
        report.text.push(paper.table1.note.clone());
    }
    let head = "method|test|±|paper|difference|training|±|paper|parameters|head parameters";
    let mut panels = Vec::new();
    for column in columns(request)? {
        let caption = format!("{}: errors in percent", column.name);
        let name = format!("table1-{}{}", column.recipe, column.label);
        let mut table = Table::new(&name, &caption, head);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (at, method) in names().into_iter().enumerate() {
            let found = Errors::of(results, |seed| training(request, &column, method, seed));
            let (label, source) = if is_in_paper(method) {
                (method.to_owned(), &paper.table1)
            } else {
                (format!("{method} (not in the paper’s table)"), &paper.beside_table1)
            };
            let quoted = source.get(column.paper, method).copied();
            let stat = found.map(|errors| errors.test);
            let difference = stat.zip(quoted).map(|(ours, [test, _])| ours.mean - test);
            let [test, test_deviation] = Cell::stat(stat);
            let [train, train_deviation] = Cell::stat(found.and_then(|errors| errors.train));
            table.rows.push(vec![
                label.into(),
                test,
                test_deviation,
                Cell::maybe(quoted.map(|[test, _]| test)),
                Cell::maybe(difference),
                train,
                train_deviation,
                Cell::maybe(quoted.map(|[_, train]| train)),
                found.map_or(Cell::Empty, |errors| Cell::count(errors.parameters)),
                found.map_or(Cell::Empty, |errors| Cell::count(errors.head_parameters)),
            ]);
            // Beside one another around the middle of the method's place.
            ours.extend(stat.map(|stat| stat.point(at as f64 - 0.12)));
            theirs.extend(quoted.map(|[test, _]| Point::new(at as f64 + 0.12, test)));
        }
        let mut marks = vec![Mark::new("this program", 1, Shape::Points(ours))];
        if !theirs.is_empty() {
            marks.push(Mark::new("published", 3, Shape::Points(theirs)));
        }
        // From half a percent to four fifths: equal distances are equal factors.
        let (x, y) = (Axis::names("", &names()), Axis::new("test error, %").log());
        panels.push(Panel::new(column.name, x, y, marks, (360.0, 230.0)));
        report.tables.push(table);
    }
    report.figure("table1", OVER_SEEDS, "Test error of every method", 2, panels);
    Ok(())
}
