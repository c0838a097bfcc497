//! Figure 3a: accuracy after one pass over permuted MNIST against leadership size, for five widths.

use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::Report;
use super::super::runner::Results;
use super::{Errors, Target, one_pass};
use crate::chart::{Axis, Mark, Panel, Shape, Stat, dodge};
use crate::failure::Result;
use crate::page::{Cell, Table};

pub(super) const FIG3A: Target = Target {
    name: "fig3a",
    about: "one pass over permuted images, one-vs-all: accuracy against leadership size, bp as the line to reach",
    title: "Figure 3a: accuracy after one pass against leadership size",
    quick: "One pass in batches of 5.",
    text: "Ten networks, one for each class against the rest, of one hidden layer of single sigmoid \
           neurons, trained by lfnn (λ₁ = λ₂ = 1, Adam, learning rate 5e-3) in one pass over images whose \
           pixels are permuted. Test accuracy in percent, mean and standard deviation over the seeds. The \
           paper shows the figure without numbers; its text says that 90 % or 100 % leaders reach the \
           accuracy of backpropagation, and that 10 % to 30 % still do decently.",
    has_parts: false,
    plan,
    report,
};

fn widths(request: &ReproduceRequest) -> &'static [usize] {
    if request.is_paper() { &[32, 64, 128, 256, 512] } else { &[32, 64, 128] }
}

fn percentages(request: &ReproduceRequest) -> &'static [usize] {
    if request.is_paper() {
        &[10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    } else {
        &[10, 30, 50, 70, 90, 100]
    }
}

fn training(
    request: &ReproduceRequest,
    width: usize,
    percent: Option<usize>,
    seed: u64,
) -> Training {
    match percent {
        Some(percent) => one_pass(request, "lfnn", width, seed).leaders(percent),
        None => one_pass(request, "bp", width, seed),
    }
}

fn plan(request: &ReproduceRequest) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for &width in widths(request) {
        for percent in percentages(request).iter().copied().map(Some).chain([None]) {
            let task = |&seed: &u64| Task::Train(training(request, width, percent, seed));
            tasks.extend(request.seeds.iter().map(task));
        }
    }
    Ok(tasks)
}

fn report(results: &Results<'_>, report: &mut Report) -> Result {
    let request = results.request;
    let head = "workers|δ, %|accuracy|±|less bp's";
    let mut table = Table::new("fig3a", "Test accuracy in percent after one pass", head);
    let (mut marks, mut panels) = (Vec::new(), Vec::new());
    let accuracy = |width: usize, percent: Option<usize>| {
        let errors = Errors::of(results, |seed| training(request, width, percent, seed));
        errors.map(|errors| Stat { mean: 100.0 - errors.test.mean, ..errors.test })
    };
    for (style, &width) in widths(request).iter().enumerate() {
        let bp = accuracy(width, None);
        let mut points = Vec::new();
        for &percent in percentages(request) {
            let found = accuracy(width, Some(percent));
            let [mean, deviation] = Cell::stat(found);
            let difference = Cell::maybe(found.zip(bp).map(|(found, bp)| found.mean - bp.mean));
            let (width, percent_cell) = (Cell::count(width), Cell::count(percent));
            table.rows.push(vec![width, percent_cell, mean, deviation, difference]);
            points.extend(found.map(|found| found.point(percent as f64)));
        }
        let [mean, deviation] = Cell::stat(bp);
        table.rows.push(vec![Cell::count(width), "bp".into(), mean, deviation, Cell::Empty]);
        let name = format!("{width} workers");
        let line = Mark::new(&name, style + 1, Shape::MarkedLine(points));
        let level = bp.map(|bp| Mark::new("bp", 0, Shape::Level(bp.mean)));
        let both = [line.clone()].into_iter().chain(level).collect();
        panels.push(panel(&name, both, (240.0, 170.0)));
        marks.push(line);
    }
    report.figure(
        "fig3a",
        "All widths together. Error bars are one standard deviation over the seeds.",
        "Accuracy after one pass against leadership size",
        1,
        vec![panel("", dodge(marks), (460.0, 280.0))],
    );
    report.figure(
        "fig3a-bp",
        "Each width with the accuracy of the same network trained by backpropagation.",
        "Accuracy after one pass against leadership size, compared with backpropagation",
        3,
        panels,
    );
    report.tables.push(table);
    Ok(())
}

fn panel(title: &str, marks: Vec<Mark>, size: (f64, f64)) -> Panel {
    let x = Axis::new("workers that lead, δ, %").range(5.0, 105.0);
    let x = x.ticks(&[10.0, 30.0, 50.0, 70.0, 90.0]);
    Panel::new(title, x, Axis::new("test accuracy, %"), marks, size)
}
