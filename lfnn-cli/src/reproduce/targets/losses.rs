//! Figures 3b and 4: the four loss functions 𝓛₁ … 𝓛₄ of the paper's ablation.

use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Task};
use super::super::report::Report;
use super::super::runner::Results;
use super::super::trace::{self, LossRow};
use super::{OVER_SEEDS, Target, one_pass};
use crate::chart::{Axis, Mark, Panel, Point, Shape, Stat, dodge};
use crate::failure::Result;
use crate::page::{Cell, Table};
use crate::resolved::ResolvedRun;

pub(super) const FIG3B: Target = Target {
    name: "fig3b",
    about: "the four loss functions: accuracy against steps",
    title: "Figure 3b: accuracy with the four loss functions",
    quick: "One pass in batches of 5.",
    text: "One-vs-all networks of 32 single-neuron workers, 30 % of which lead, trained by lfnn in one pass over \
 images with permuted pixels. L1 is the sum of global, leader and follower loss. L2 lacks the follower \
 loss, L3 the leader loss, L4 both (λ₁ and λ₂ are 1 or 0). The figure in the paper has no numbers. Its \
 text says that L4 is worst, that L3 is little better, that L2 gains much after 100 steps, and that L1 is \
 best.",
    has_parts: false,
    plan,
    report: accuracies,
};

pub(super) const FIG4: Target = Target {
    name: "fig4",
    about: "the four loss functions: the terms of the loss against steps",
    title: "Figure 4: the terms of the loss with the four loss functions",
    report: terms,
    ..FIG3B
};

/// Name, what it is, λ₁ and λ₂.
const VARIANTS: [(&str, &str, f64, f64); 4] = [
    ("L1", "global, leader and follower loss", 1.0, 1.0),
    ("L2", "global and leader loss", 1.0, 0.0),
    ("L3", "global and follower loss", 0.0, 1.0),
    ("L4", "global loss alone", 0.0, 0.0),
];

fn id(request: &ReproduceRequest, variant: usize, seed: u64) -> String {
    let label = format!("losses-{}", VARIANTS[variant].0);
    one_pass(request, "lfnn", 32, seed).leaders(30).set(&label, &[]).id()
}

fn plan(request: &ReproduceRequest) -> Result<Vec<Task>> {
    let every = if request.is_paper() { 10 } else { 4 };
    let mut tasks = Vec::new();
    for (variant, (_, _, lambda1, lambda2)) in VARIANTS.into_iter().enumerate() {
        for &seed in &request.seeds {
            let mut config = one_pass(request, "lfnn", 32, seed).leaders(30).config()?;
            config.leadership.lambda1 = lambda1;
            config.leadership.lambda2 = lambda2;
            let (id, settings) = (id(request, variant, seed), json!({"every": every}));
            // A fifth of the rows tests too.
            let work = move |run: &ResolvedRun| trace::losses(run, every);
            tasks.push(Task::Compute(Computation::of_run(id, config, settings, 4.0, work)?));
        }
    }
    Ok(tasks)
}

/// Mean and spread over the seeds, against steps.
fn curve(
    all: &[Vec<LossRow>],
    spread: bool,
    value: impl Fn(&LossRow) -> Option<f64>,
) -> Vec<Point> {
    let length = all.iter().map(Vec::len).min().unwrap_or(0);
    let point = |at: usize| {
        let values: Vec<f64> = all.iter().filter_map(|rows| value(&rows[at])).collect();
        let stat = Stat::of(&values)?;
        let spread = if spread { stat.deviation.unwrap_or(0.0) } else { 0.0 };
        Some(Point { x: all[0][at].step as f64, y: stat.mean, spread })
    };
    (0..length).filter_map(point).collect()
}

/// Adds the table, and gives the rows of each variant for each seed.
fn table(results: &Results<'_>, report: &mut Report) -> Result<Vec<Vec<Vec<LossRow>>>> {
    let head = "loss|made of|test accuracy, %|±|global loss|leader loss|follower loss";
    let caption = "At the end of the pass; losses are means of the last steps, summed over the ten classifiers";
    let mut table = Table::new(report.name, caption, head);
    let mut all = Vec::new();
    for (variant, (name, what, ..)) in VARIANTS.into_iter().enumerate() {
        let mut rows: Vec<Vec<LossRow>> = Vec::new();
        for &seed in &results.request.seeds {
            rows.extend(results.read(&id(results.request, variant, seed))?);
        }
        let last = |value: fn(&LossRow) -> Option<f64>| {
            let of = |rows: &Vec<LossRow>| value(rows.last()?);
            Stat::of(&rows.iter().filter_map(of).collect::<Vec<_>>())
        };
        let loss = |value: fn(&LossRow) -> Option<f64>| {
            last(value).map_or(Cell::Empty, |stat| Cell::Number(stat.mean, 4))
        };
        let [mean, deviation] = Cell::stat(last(|row| row.test_accuracy));
        table.rows.push(vec![
            name.into(),
            what.into(),
            mean,
            deviation,
            loss(|row| Some(row.global)),
            loss(|row| Some(row.leader)),
            loss(|row| Some(row.follower)),
        ]);
        all.push(rows);
    }
    report.tables.push(table);
    Ok(all)
}

fn accuracies(results: &Results<'_>, report: &mut Report) -> Result {
    let (mut test, mut train) = (Vec::new(), Vec::new());
    for (style, rows) in table(results, report)?.iter().enumerate() {
        let name = format!("{}: {}", VARIANTS[style].0, VARIANTS[style].1);
        let tested = Shape::MarkedLine(curve(rows, true, |row| row.test_accuracy));
        test.push(Mark::new(&name, style, tested));
        let trained = Shape::Line(curve(rows, false, |row| Some(row.accuracy)));
        // The legend has its look from the other panel.
        train.push(Mark::new("", style, trained));
    }
    let panel = |title: &str, marks| {
        let y = Axis::new("accuracy, %").range(0.0, 100.0);
        Panel::new(title, Axis::new("training step"), y, marks, (360.0, 260.0))
    };
    let panels = vec![
        panel("test images", dodge(test)),
        panel("training images, before each is learnt from", train),
    ];
    report.figure("fig3b", OVER_SEEDS, "Accuracy with the four loss functions", 2, panels);
    Ok(())
}

fn terms(results: &Results<'_>, report: &mut Report) -> Result {
    type Term = (&'static str, usize, fn(&LossRow) -> f64);
    let terms: [Term; 3] = [
        ("global loss", 0, |row| row.global),
        ("leader loss, per leader", 2, |row| row.leader / 10.0),
        ("follower loss", 1, |row| row.follower),
    ];
    let mut panels = Vec::new();
    for (rows, (name, what, ..)) in table(results, report)?.iter().zip(VARIANTS) {
        let line = |(name, style, value): Term| {
            Mark::new(name, style, Shape::Line(curve(rows, false, |row| Some(value(row)))))
        };
        panels.push(Panel::new(
            &format!("{name}: {what}"),
            Axis::new("training step"),
            Axis::new("loss, summed over the classifiers"),
            terms.map(line).to_vec(),
            (330.0, 210.0),
        ));
    }
    report.figure(
        "fig4",
        "Means over the seeds. A term that a loss function leaves out is shown too: it is \
         measured, and not learnt from. The leader loss is divided by the ten leaders of a classifier.",
        "The terms of the loss with the four loss functions",
        2,
        panels,
    );
    Ok(())
}
