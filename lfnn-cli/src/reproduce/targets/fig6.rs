//! Figure 6: how often each worker leads, per unit and epoch.

use super::super::plan::{ReproduceRequest, Task, Training};
use super::super::report::Report;
use super::super::runner::{Results, Trained};
use super::Target;
use crate::chart::{Axis, Mark, Panel, Shape};
use crate::failure::Result;
use crate::page::{Cell, Table};

pub(super) const FIG6: Target = Target {
    name: "fig6",
    about: "how often each of 32 workers leads, in each unit and epoch, lfnn-l with 20 % leaders",
    title: "Figure 6: how often each worker leads",
    quick: "Batches of 4, so that an epoch has 300 of them.",
    text: "Two fully connected units of 32 softmax workers trained by lfnn-l; in every batch the six of a \
           unit with the lowest loss lead (20 %), and an epoch has 300 batches. The paper finds that \
           several workers lead most of the time from the first epoch on, and that by the fifth exactly six \
           do and all others no longer.",
    has_parts: false,
    plan: |request| {
        Ok(request.seeds.iter().map(|&seed| Task::Train(training(request, seed))).collect())
    },
    report,
};

/// Two fully connected units of 32 workers, six of which lead.
pub(super) fn training(request: &ReproduceRequest, seed: u64) -> Training {
    let training = request.training("mnist-fc", "lfnn-l", seed).leaders(20);
    if request.is_paper() {
        return training;
    }
    let sets = ["dataset.name=digits", "training.batch_size=4", "limits.batches=300"];
    training.set("digits", &sets.map(str::to_owned))
}

fn report(results: &Results<'_>, report: &mut Report) -> Result {
    let request = results.request;
    let head = "seed|unit|epoch|lead ≥ 90 %|lead 10 % to 90 %|lead < 10 %|of the six kept";
    let caption = "Workers by how often they led; and how many of the six that led most also led most in \
                   the epoch before";
    let mut table = Table::new("fig6", caption, head);
    for &seed in &request.seeds {
        if let Some(run) = results.run(&training(request, seed)) {
            rows(&mut table, seed, run);
            if request.seeds.first() == Some(&seed) {
                let caption = "Seed 1. Area and darkness of a dot: the share of an epoch’s 300 batches in \
                               which the worker led.";
                let panels = (0..units(run)).map(|unit| panel(run, unit)).collect();
                report.figure("fig6", caption, "How often each worker leads", 1, panels);
            }
        }
    }
    report.tables.push(table);
    Ok(())
}

/// The workers that led most, in the order of their numbers.
pub(super) fn most(shares: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    // Of equal ones the order stays.
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    order.truncate(count);
    order.sort_unstable();
    order
}

fn rows(table: &mut Table, seed: u64, run: &Trained) {
    for unit in 0..units(run) {
        let mut before: Option<Vec<usize>> = None;
        for row in &run.rows {
            let shares = row.train.units[unit].workers("lead_percent");
            let among = |low: f64, high: f64| {
                let within = shares.iter().filter(|&&share| share >= low && share < high);
                Cell::count(within.count())
            };
            let now = most(shares, run.config.leadership.leaders(shares.len()));
            let kept =
                before.as_ref().map(|then| now.iter().filter(|at| then.contains(at)).count());
            table.rows.push(vec![
                Cell::count(seed as usize),
                Cell::count(unit + 1),
                Cell::count(row.epoch),
                among(90.0, f64::INFINITY),
                among(10.0, 90.0),
                among(0.0, 10.0),
                kept.map_or(Cell::Empty, Cell::count),
            ]);
            before = Some(now);
        }
    }
}

fn units(run: &Trained) -> usize {
    run.rows.first().map_or(0, |row| row.train.units.len())
}

fn panel(run: &Trained, unit: usize) -> Panel {
    let dots = run.rows.iter().flat_map(|row| {
        let shares = row.train.units[unit].workers("lead_percent").iter().enumerate();
        shares.map(|(worker, share)| (worker as f64 + 1.0, row.epoch as f64, share / 100.0))
    });
    let last = run.rows.len() as f64;
    let ticks: Vec<f64> = (1..=run.rows.len()).map(|epoch| epoch as f64).collect();
    Panel::new(
        &format!("unit {}", unit + 1),
        Axis::new("worker").range(0.0, 33.0).ticks(&[1.0, 8.0, 16.0, 24.0, 32.0]),
        Axis::new("epoch").range(0.4, last + 0.6).ticks(&ticks),
        vec![Mark::new("of the batches", 0, Shape::Dots(dots.collect()))],
        (460.0, 34.0 * last + 10.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_led_most_with_ties_by_number() {
        assert_eq!(most(&[3.0, 9.0, 3.0, 0.0, 9.0], 3), [0, 1, 4]);
        assert_eq!(most(&[1.0, 1.0], 5), [0, 1]);
    }
}
