//! Figure 3a: accuracy after one pass over permuted MNIST against leadership size, for five widths.

use lfnn_data::DatasetName;

use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::{Cell, Report, Table};
use super::super::runner::Results;
use super::{Errors, Target, expect_data, one_pass, quick_note};
use crate::chart::{Axis, Figure, Mark, Panel, Point};
use crate::failure::Failure;

#[derive(Debug)]
pub(super) struct Fig3a;

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

fn trainings(request: &ReproduceRequest, width: usize, percent: Option<usize>) -> Vec<Training> {
    let of = |&seed: &u64| match percent {
        Some(percent) => one_pass(request, "lfnn", width, seed).leaders(percent),
        None => one_pass(request, "bp", width, seed),
    };
    request.seeds.iter().map(of).collect()
}

impl Target for Fig3a {
    fn name(&self) -> &'static str {
        "fig3a"
    }

    fn about(&self) -> &'static str {
        "one pass over permuted images, one-vs-all: accuracy against leadership size, bp as the line to reach"
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        expect_data(request, DatasetName::Mnist)?;
        let mut tasks = Vec::new();
        for &width in widths(request) {
            let all = percentages(request).iter().map(|&percent| Some(percent)).chain([None]);
            for percent in all {
                tasks.extend(trainings(request, width, percent).into_iter().map(Task::Train));
            }
        }
        Ok(tasks)
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let mut report = Report {
            title: "Figure 3a: accuracy after one pass against leadership size".into(),
            ..Report::default()
        };
        report.text.extend(quick_note(request, "One pass in batches of 5."));
        report.text.push(
            "Ten networks, one for each class against the rest, of one hidden layer of single sigmoid \
             neurons, trained by lfnn (λ₁ = λ₂ = 1, Adam, learning rate 5e-3) in one pass over images whose \
             pixels are permuted. Test accuracy in percent, mean and standard deviation over the seeds. The \
             paper shows the figure without numbers; its text says that 90 % or 100 % leaders reach the \
             accuracy of backpropagation, and that 10 % to 30 % still do decently."
                .into(),
        );
        let head = ["workers", "δ, %", "accuracy", "±", "less bp's"];
        let mut table = Table::new("fig3a", "Test accuracy in percent after one pass", &head);
        let (mut marks, mut panels) = (Vec::new(), Vec::new());
        for (style, &width) in widths(request).iter().enumerate() {
            let bp = Errors::of(results, &trainings(request, width, None));
            let mut points = Vec::new();
            for &percent in percentages(request) {
                let found = Errors::of(results, &trainings(request, width, Some(percent)));
                let right = found.map(|errors| 100.0 - errors.test.mean);
                let spread = found.and_then(|errors| errors.test.deviation);
                let over = right.zip(bp).map(|(right, bp)| right - (100.0 - bp.test.mean));
                table.rows.push(vec![
                    Cell::count(width),
                    Cell::count(percent),
                    Cell::maybe(right),
                    Cell::maybe(spread),
                    Cell::maybe(over),
                ]);
                points.extend(right.map(|y| Point {
                    x: percent as f64,
                    y,
                    spread: spread.unwrap_or(0.0),
                }));
            }
            table.rows.push(vec![
                Cell::count(width),
                "bp".into(),
                Cell::maybe(bp.map(|errors| 100.0 - errors.test.mean)),
                Cell::maybe(bp.and_then(|errors| errors.test.deviation)),
                Cell::Empty,
            ]);
            let line = Mark::Line {
                name: format!("{width} workers"),
                style: style + 1,
                points,
                markers: true,
            };
            let mut own = vec![line.clone()];
            if let Some(bp) = bp {
                own.push(Mark::Level { name: "bp".into(), style: 0, y: 100.0 - bp.test.mean });
            }
            marks.push(line);
            panels.push(panel(&format!("{width} workers"), own, (240.0, 170.0)));
        }
        let all = vec![panel("", marks, (460.0, 280.0))];
        let title: String = "Accuracy after one pass against leadership size".into();
        let caption = "All widths together. Error bars are one standard deviation over the seeds.";
        let together = Figure { title: title.clone(), panels: all, columns: 1 };
        report.figures.push(("fig3a".into(), caption.into(), together));
        let apart =
            Figure { title: format!("{title}, compared with backpropagation"), panels, columns: 3 };
        let caption =
            "Each width with the accuracy of the same network trained by backpropagation.";
        report.figures.push(("fig3a-bp".into(), caption.into(), apart));
        report.tables.push(table);
        Ok(report)
    }
}

fn panel(title: &str, marks: Vec<Mark>, size: (f64, f64)) -> Panel {
    let x = Axis::new("workers that lead, δ, %").range(5.0, 105.0);
    let x = x.ticks(&[10.0, 30.0, 50.0, 70.0, 90.0]);
    Panel { title: title.into(), x, y: Axis::new("test accuracy, %"), marks, size }
}
