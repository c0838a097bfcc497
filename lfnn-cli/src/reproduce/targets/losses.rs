//! Figures 3b and 4: the four loss functions 𝓛₁ … 𝓛₄ of the paper's ablation.

use anyhow::Context;
use lfnn_data::DatasetName;
use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Task};
use super::super::report::{Cell, Report, Stat, Table};
use super::super::runner::Results;
use super::super::trace::{self, LossRow};
use super::super::trial;
use super::{Target, expect_data, one_pass, quick_note};
use crate::chart::{Axis, Figure, Mark, Panel, Point};
use crate::failure::Failure;

/// Which of the two figures.
#[derive(Debug)]
pub(super) struct Losses {
    name: &'static str,
    about: &'static str,
    title: &'static str,
}

pub(super) const FIG3B: Losses = Losses {
    name: "fig3b",
    about: "the four loss functions: accuracy against steps",
    title: "Figure 3b: accuracy with the four loss functions",
};

pub(super) const FIG4: Losses = Losses {
    name: "fig4",
    about: "the four loss functions: the terms of the loss against steps",
    title: "Figure 4: the terms of the loss with the four loss functions",
};

/// Name, what it is, λ₁ and λ₂.
const VARIANTS: [(&str, &str, f64, f64); 4] = [
    ("L1", "global, leader and follower loss", 1.0, 1.0),
    ("L2", "global and leader loss", 1.0, 0.0),
    ("L3", "global and follower loss", 0.0, 1.0),
    ("L4", "global loss alone", 0.0, 0.0),
];

fn id(request: &ReproduceRequest, variant: usize, seed: u64) -> String {
    let (name, _, lambda1, lambda2) = VARIANTS[variant];
    let label = format!("losses-{name}");
    let sets = [format!("leadership.lambda1={lambda1}"), format!("leadership.lambda2={lambda2}")];
    one_pass(request, "lfnn", 32, seed).leaders(30).set(&label, &sets).id()
}

fn computation(
    request: &ReproduceRequest,
    variant: usize,
    seed: u64,
) -> Result<Computation, Failure> {
    let (_, _, lambda1, lambda2) = VARIANTS[variant];
    let mut config = one_pass(request, "lfnn", 32, seed).leaders(30).config()?;
    config.leadership.lambda1 = lambda1;
    config.leadership.lambda2 = lambda2;
    let every = if request.is_paper() { 10 } else { 4 };
    let settings = json!({"config": serde_json::to_value(&config)?, "every": every});
    let other = config.clone();
    Ok(Computation {
        id: id(request, variant, seed),
        settings,
        alone: false,
        // A fifth of the looks tests too.
        trial: Box::new(move |resources| {
            Ok(trial::of_training(&resources.run(&other))?.mul_f64(4.0))
        }),
        work: Box::new(move |resources| {
            Ok(serde_json::to_value(trace::losses(&resources.run(&config), every)?)?)
        }),
    })
}

/// The rows of a variant, for each seed.
fn rows(
    request: &ReproduceRequest,
    results: &Results,
    variant: usize,
) -> Result<Vec<Vec<LossRow>>, Failure> {
    let of = |&seed: &u64| -> Option<anyhow::Result<Vec<LossRow>>> {
        let value = results.value(&id(request, variant, seed))?.clone();
        Some(serde_json::from_value(value).context("a trace that cannot be read"))
    };
    Ok(request.seeds.iter().filter_map(of).collect::<anyhow::Result<_>>()?)
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

impl Target for Losses {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        expect_data(request, DatasetName::Mnist)?;
        let mut tasks = Vec::new();
        for variant in 0..VARIANTS.len() {
            for &seed in &request.seeds {
                tasks.push(Task::Compute(computation(request, variant, seed)?));
            }
        }
        Ok(tasks)
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let mut report = Report { title: self.title.into(), ..Report::default() };
        report.text.extend(quick_note(request, "One pass in batches of 5."));
        report.text.push(
            "One-vs-all networks of 32 single-neuron workers, 30 % of which lead, trained by lfnn in one pass over \
             images with permuted pixels. L1 is the sum of global, leader and follower loss. L2 lacks the follower \
             loss, L3 the leader loss, L4 both (λ₁ and λ₂ are 1 or 0). The figure in the paper has no numbers. Its \
             text says that L4 is worst, that L3 is little better, that L2 gains much after 100 steps, and that L1 is \
             best."
                .into(),
        );
        let head = [
            "loss",
            "made of",
            "test accuracy, %",
            "±",
            "global loss",
            "leader loss",
            "follower loss",
        ];
        let caption = "At the end of the pass; losses are means of the last steps, summed over the ten classifiers";
        let mut table = Table::new(self.name, caption, &head);
        let mut all = Vec::new();
        for (variant, (name, what, ..)) in VARIANTS.into_iter().enumerate() {
            let rows = rows(request, results, variant)?;
            let last = |value: fn(&LossRow) -> Option<f64>| {
                let of = |rows: &Vec<LossRow>| value(rows.last()?);
                Stat::of(&rows.iter().filter_map(of).collect::<Vec<_>>())
            };
            let test = last(|row| row.test_accuracy);
            let loss = |value: fn(&LossRow) -> Option<f64>| {
                last(value).map_or(Cell::Empty, |stat| Cell::Number(stat.mean, 4))
            };
            table.rows.push(vec![
                name.into(),
                what.into(),
                Cell::maybe(test.map(|stat| stat.mean)),
                Cell::maybe(test.and_then(|stat| stat.deviation)),
                loss(|row| Some(row.global)),
                loss(|row| Some(row.leader)),
                loss(|row| Some(row.follower)),
            ]);
            all.push(rows);
        }
        report.tables.push(table);
        let line = |name: &str, style, points, markers| Mark::Line {
            name: name.into(),
            style,
            points,
            markers,
        };
        if self.name == "fig3b" {
            let (mut test, mut train) = (Vec::new(), Vec::new());
            for (at, rows) in all.iter().enumerate() {
                let (name, what, ..) = VARIANTS[at];
                let name = format!("{name}: {what}");
                test.push(line(&name, at, curve(rows, true, |row| row.test_accuracy), true));
                train.push(line(&name, at, curve(rows, false, |row| Some(row.accuracy)), false));
            }
            let panel = |title: &str, marks| Panel {
                title: title.into(),
                x: Axis::new("training step"),
                y: Axis::new("accuracy, %").range(0.0, 100.0),
                marks,
                size: (360.0, 260.0),
            };
            let panels = vec![
                panel("test images", test),
                panel("training images, before each is learnt from", train),
            ];
            let figure = Figure {
                title: "Accuracy with the four loss functions".into(),
                panels,
                columns: 2,
            };
            let caption = "Mean over the seeds; error bars are one standard deviation.";
            report.figures.push((self.name.into(), caption.into(), figure));
            return Ok(report);
        }
        let panels = all.iter().zip(VARIANTS).map(|(rows, (name, what, ..))| Panel {
            title: format!("{name}: {what}"),
            x: Axis::new("training step"),
            y: Axis::new("loss, summed over the classifiers"),
            marks: vec![
                line("global loss", 0, curve(rows, false, |row| Some(row.global)), false),
                line(
                    "leader loss, per leader",
                    2,
                    curve(rows, false, |row| Some(row.leader / 10.0)),
                    false,
                ),
                line("follower loss", 1, curve(rows, false, |row| Some(row.follower)), false),
            ],
            size: (330.0, 210.0),
        });
        let figure = Figure {
            title: "The terms of the loss with the four loss functions".into(),
            panels: panels.collect(),
            columns: 2,
        };
        let caption = "Means over the seeds. A term that a loss function leaves out is shown too: it is \
                       measured, and not learnt from. The leader loss is divided by the ten leaders of a classifier.";
        report.figures.push((self.name.into(), caption.into(), figure));
        Ok(report)
    }
}
