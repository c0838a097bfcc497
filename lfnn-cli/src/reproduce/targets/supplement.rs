//! The supplement's question: how good the best leader of each unit is, and how leaders and followers compare.

use lfnn_core::metric::UnitMetrics;
use lfnn_data::DatasetName;

use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::{Cell, Report, Stat, Table};
use super::super::runner::{Results, Trained};
use super::fig6::{self, most};
use super::{Target, expect_data, quick_note};
use crate::chart::{Axis, Figure, Mark, Panel};
use crate::failure::Failure;

#[derive(Debug)]
pub(super) struct Supplement;

/// Name and training of each part, for a seed.
fn parts(request: &ReproduceRequest, seed: u64) -> Vec<(&'static str, Training)> {
    let recipe = if request.is_paper() { "mnist-s" } else { "digits" };
    vec![
        ("convolutions, lfnn-l", request.training(recipe, "lfnn-l", seed).leaders(70)),
        ("convolutions, lfnn", request.training(recipe, "lfnn", seed).leaders(70)),
        ("fully connected, lfnn-l", fig6::training(request, seed)),
    ]
}

/// Test errors of a unit: its best leader, its leaders and its followers.
#[derive(Clone, Copy, Debug)]
struct Unit {
    best: f64,
    leaders: f64,
    followers: Option<f64>,
}

/// The units of a run after its last epoch; leaders are those that led most in it.
fn units(run: &Trained) -> Vec<Unit> {
    let Some(row) = run.rows.last() else { return Vec::new() };
    let of = |(trained, tested): (&UnitMetrics, &UnitMetrics)| {
        let (errors, shares) = (tested.workers("worker_errors"), trained.workers("lead_percent"));
        let leaders = most(shares, run.config.leadership.leaders(shares.len()));
        let group = |leads: bool| -> Vec<f64> {
            let members = (0..errors.len()).filter(|at| leaders.contains(at) == leads);
            members.map(|at| errors[at]).collect()
        };
        let mean = |values: Vec<f64>| Stat::of(&values).map(|stat| stat.mean);
        Unit {
            best: group(true).into_iter().fold(f64::INFINITY, f64::min),
            leaders: mean(group(true)).unwrap_or(f64::NAN),
            followers: mean(group(false)),
        }
    };
    row.train.units.iter().zip(&row.test.units).map(of).collect()
}

impl Target for Supplement {
    fn name(&self) -> &'static str {
        "supplement"
    }

    fn about(&self) -> &'static str {
        "the best leader’s error in each unit, and errors of leaders and followers"
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        expect_data(request, DatasetName::Mnist)?;
        let of_seed =
            |&seed: &u64| parts(request, seed).into_iter().map(|(_, one)| Task::Train(one));
        Ok(request.seeds.iter().flat_map(of_seed).collect())
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let mut report = Report {
            title: "Supplement: the best leader of each unit; leaders and followers".into(),
            ..Report::default()
        };
        report.text.extend(quick_note(request, ""));
        report.text.push(
            "Test errors in percent of the workers inside the network, after the last epoch: the best leader, the mean \
             of the leaders and the mean of the followers, each as mean and standard deviation over the seeds. Leaders \
             are the workers of a unit that led most often in the last epoch. The paper has these comparisons in its \
             supplementary materials, which were not available, so none of its values is quoted."
                .into(),
        );
        let head = ["network", "unit", "best leader", "±", "leaders", "±", "followers", "±"];
        let caption = "Test error in percent of workers as predictors; the last line of each is the output layer";
        let mut table = Table::new("supplement", caption, &head);
        let mut panels = Vec::new();
        let names: Vec<&str> = parts(request, 1).into_iter().map(|(name, _)| name).collect();
        for (part, name) in names.into_iter().enumerate() {
            let runs: Vec<&Trained> = request
                .seeds
                .iter()
                .filter_map(|&seed| results.run(&parts(request, seed)[part].1))
                .collect();
            let all: Vec<Vec<Unit>> = runs.iter().map(|run| units(run)).collect();
            let count = all.first().map_or(0, Vec::len);
            let values: [fn(&Unit) -> Option<f64>; 3] =
                [|unit| Some(unit.best), |unit| Some(unit.leaders), |unit| unit.followers];
            let mut bars: [Vec<Option<(f64, f64)>>; 3] = Default::default();
            for unit in 0..count {
                let mut row = vec![name.into(), Cell::Text(format!("unit {}", unit + 1))];
                for (value, bars) in values.iter().zip(&mut bars) {
                    let stat = Stat::of(
                        &all.iter().filter_map(|units| value(&units[unit])).collect::<Vec<_>>(),
                    );
                    row.push(Cell::maybe(stat.map(|stat| stat.mean)));
                    row.push(Cell::maybe(stat.and_then(|stat| stat.deviation)));
                    bars.push(stat.map(|stat| (stat.mean, stat.deviation.unwrap_or(0.0))));
                }
                table.rows.push(row);
            }
            let output: Vec<f64> = runs.iter().filter_map(|run| run.summary.test_error()).collect();
            let output = Stat::of(&output);
            let mut row =
                vec![name.into(), "output".into(), Cell::maybe(output.map(|stat| stat.mean))];
            row.push(Cell::maybe(output.and_then(|stat| stat.deviation)));
            row.resize(8, Cell::Empty);
            table.rows.push(row);
            let looks = [("best leader", 0), ("leaders, mean", 1), ("followers, mean", 2)];
            let mut marks: Vec<Mark> = looks
                .into_iter()
                .zip(bars)
                .map(|((name, style), values)| Mark::Bars { name: name.into(), style, values })
                .collect();
            if let Some(stat) = output {
                marks.push(Mark::Level { name: "output layer".into(), style: 3, y: stat.mean });
            }
            let units: Vec<String> = (1..=count).map(|unit| format!("unit {unit}")).collect();
            panels.push(Panel {
                title: name.into(),
                x: Axis::names("", &units),
                y: Axis::new("test error, %"),
                marks,
                size: (300.0, 220.0),
            });
        }
        report.tables.push(table);
        let title = "Workers inside the network as predictors".into();
        let figure = Figure { title, panels, columns: 2 };
        let caption = "Mean over the seeds; error bars are one standard deviation.";
        report.figures.push(("supplement".into(), caption.into(), figure));
        Ok(report)
    }
}
