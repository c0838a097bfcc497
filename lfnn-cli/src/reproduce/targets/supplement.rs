//! The supplement's question: how good the best leader of each unit is, and how leaders and followers compare.

use lfnn_core::metric::UnitMetrics;

use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::Report;
use super::super::runner::{Results, Trained};
use super::fig6::{self, most};
use super::{OVER_SEEDS, Target};
use crate::chart::{Axis, Mark, Panel, Shape, Stat};
use crate::failure::Result;
use crate::page::{Cell, Table};

pub(super) const SUPPLEMENT: Target = Target {
    name: "supplement",
    about: "the best leader’s error in each unit, and errors of leaders and followers",
    title: "Supplement: the best leader of each unit; leaders and followers",
    quick: "",
    text: "Test errors in percent of the workers inside the network, after the last epoch: the best leader, the mean \
 of the leaders and the mean of the followers, each as mean and standard deviation over the seeds. Leaders \
 are the workers of a unit that led most often in the last epoch. The paper has these comparisons in its \
 supplementary materials, which were not available, so none of its values is quoted.",
    has_parts: false,
    plan: |request| {
        let of_seed =
            |&seed: &u64| parts(request, seed).into_iter().map(|(_, one)| Task::Train(one));
        Ok(request.seeds.iter().flat_map(of_seed).collect())
    },
    report,
};

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

fn report(results: &Results<'_>, report: &mut Report) -> Result {
    let request = results.request;
    let head = "network|unit|best leader|±|leaders|±|followers|±";
    let caption =
        "Test error in percent of workers as predictors; the last line of each is the output layer";
    let mut table = Table::new("supplement", caption, head);
    let mut panels = Vec::new();
    for (part, (name, _)) in parts(request, 1).into_iter().enumerate() {
        let run = |&seed: &u64| results.run(&parts(request, seed)[part].1);
        let runs: Vec<&Trained> = request.seeds.iter().filter_map(run).collect();
        let all: Vec<Vec<Unit>> = runs.iter().map(|run| units(run)).collect();
        let names: Vec<String> =
            (1..=all.first().map_or(0, Vec::len)).map(|unit| format!("unit {unit}")).collect();
        let values: [fn(&Unit) -> Option<f64>; 3] =
            [|unit| Some(unit.best), |unit| Some(unit.leaders), |unit| unit.followers];
        let mut bars: [Vec<Option<(f64, f64)>>; 3] = Default::default();
        for (unit, unit_name) in names.iter().enumerate() {
            let mut row = vec![name.into(), unit_name.as_str().into()];
            for (value, bars) in values.iter().zip(&mut bars) {
                let values = all.iter().filter_map(|units| value(&units[unit]));
                let stat = Stat::of(&values.collect::<Vec<_>>());
                row.extend(Cell::stat(stat));
                bars.push(stat.map(Stat::bar));
            }
            table.rows.push(row);
        }
        let output = runs.iter().filter_map(|run| run.summary.test_error());
        let output = Stat::of(&output.collect::<Vec<_>>());
        let mut row = vec![name.into(), "output".into()];
        row.extend(Cell::stat(output));
        row.resize(8, Cell::Empty);
        table.rows.push(row);
        let looks = ["best leader", "leaders, mean", "followers, mean"].into_iter().zip(bars);
        let bars = looks
            .enumerate()
            .map(|(style, (name, values))| Mark::new(name, style, Shape::Bars(values)));
        let level = output.map(|stat| Mark::new("output layer", 3, Shape::Level(stat.mean)));
        let marks = bars.chain(level).collect();
        let (x, y) = (Axis::names("", &names), Axis::new("test error, %"));
        panels.push(Panel::new(name, x, y, marks, (300.0, 220.0)));
    }
    report.tables.push(table);
    report.figure("supplement", OVER_SEEDS, "Workers inside the network as predictors", 2, panels);
    Ok(())
}
