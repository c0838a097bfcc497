//! Trainings watched step by step: the terms of the loss, and the movement of the workers.

use lfnn_core::metric::Metrics;
use lfnn_core::train::Trainer;
use serde::{Deserialize, Serialize};

use super::plan::Session;
use crate::failure::Result;
use crate::interrupt;
use crate::resolved::ResolvedRun;

/// What a training shows every few steps.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct LossRow {
    /// Steps so far.
    pub(super) step: usize,
    /// Right predictions of the images trained on since the last row, each before it was learnt from, in
    /// percent.
    pub(super) accuracy: f64,
    /// Right predictions of the test images after this step, in percent, every few rows.
    pub(super) test_accuracy: Option<f64>,
    /// Mean global loss since the last row.
    pub(super) global: f64,
    /// Mean leader loss, summed over the units.
    pub(super) leader: f64,
    /// Mean follower loss, summed over the units.
    pub(super) follower: f64,
}

/// Trains for an epoch and looks every `every` steps, at the test images every fifth time.
///
/// # Errors
/// What fails in training, or the user's wish to stop.
pub(super) fn losses(run: &ResolvedRun, every: usize) -> Result<Vec<LossRow>> {
    let session = Session::open(run)?;
    let (data, mut trainer) = (&session.data, session.trainer()?);
    let (mut rows, mut before) = (Vec::new(), ([0.0; 4], 0));
    while !trainer.epoch_is_done() {
        interrupt::check()?;
        trainer.train_step()?;
        let step = trainer.step_in_epoch();
        if !step.is_multiple_of(every) && !trainer.epoch_is_done() {
            continue;
        }
        trainer.check_finite()?;
        let now = sums(&trainer.metrics()?);
        let batches = (step - before.1) as f64;
        let since = |at: usize| now[at] - before.0[at];
        let examples = batches * trainer.batch_size() as f64;
        let tested = (rows.len() % 5 == 4 || trainer.epoch_is_done())
            .then(|| trainer.evaluate(&data.test))
            .transpose()?;
        rows.push(LossRow {
            step,
            accuracy: 100.0 * (1.0 - since(0) / examples),
            test_accuracy: tested.and_then(|tested| Some(100.0 - tested.error()?)),
            global: since(1) / examples,
            leader: since(2) / batches,
            follower: since(3) / batches,
        });
        before = (now, step);
    }
    Ok(rows)
}

/// Sums since the epoch began, from means.
fn sums(metrics: &Metrics) -> [f64; 4] {
    let (batches, examples) = (metrics.batches as f64, metrics.examples as f64);
    let local = |name| metrics.units.iter().filter_map(|unit| unit.value(name)).sum::<f64>();
    let wrong = metrics.error().unwrap_or(0.0) / 100.0 * examples;
    let (leader, follower) = (local("leader_loss"), local("follower_loss"));
    [wrong, metrics.loss() * examples, leader * batches, follower * batches]
}

/// Images on which the outputs of workers are compared.
const PROBE: usize = 100;

/// How a worker moved in a step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Move {
    /// Whether it led.
    pub(super) leads: bool,
    /// Its mean output for images of its classifier's class and for all others, before the step.
    pub(super) from: [f64; 2],
    /// The same after the step.
    pub(super) to: [f64; 2],
}

/// A step's movement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Activity {
    /// Which step, from 1.
    pub(super) step: usize,
    /// Order parameters, means over the classifiers: of all workers, of leaders, of followers.
    pub(super) order: [f64; 3],
    /// Mean length of a worker's movement: of leaders, of followers.
    pub(super) size: [f64; 2],
    /// The movements of one classifier's workers, for the steps that are drawn.
    pub(super) moves: Vec<Move>,
}

/// Trains for an epoch and compares the outputs of the first unit's workers before and after each step,
/// on the same test images all the time. `drawn` are the steps whose movements are kept.
///
/// # Errors
/// What fails in training, or the user's wish to stop.
pub(super) fn activity(run: &ResolvedRun, drawn: &[usize]) -> Result<Vec<Activity>> {
    let session = Session::open(run)?;
    let (data, mut trainer) = (&session.data, session.trainer()?);
    let probe = &data.test[..data.test.len().min(PROBE)];
    let classes: Vec<u32> = probe.iter().map(|&at| data.labels()[at as usize]).collect();
    let predictions = trainer.network().units().first().map(|unit| unit.predictions());
    let (classifiers, workers) =
        predictions.map_or((0, 0), |predictions| (predictions.classifiers, predictions.workers));
    let look = |trainer: &mut Trainer| -> Result<Vec<f32>> {
        Ok(trainer.worker_outputs(probe)?.into_iter().next().unwrap_or_default())
    };
    // In how many batches each worker has been a leader.
    let leads = |trainer: &Trainer| -> Result<Vec<f64>> {
        let metrics = trainer.metrics()?;
        let count = |share: &f64| (share / 100.0 * metrics.batches as f64).round();
        let shares = metrics.units.first().map_or(&[][..], |unit| unit.workers("lead_percent"));
        Ok(shares.iter().map(count).collect())
    };
    let (mut before, mut led) = (look(&mut trainer)?, leads(&trainer)?);
    let mut rows = Vec::new();
    while !trainer.epoch_is_done() {
        interrupt::check()?;
        trainer.train_step()?;
        let (after, now) = (look(&mut trainer)?, leads(&trainer)?);
        let step = trainer.step_in_epoch();
        let outputs = Outputs { before: &before, after: &after, predictors: classifiers * workers };
        let leader: Vec<bool> = now.iter().zip(&led).map(|(now, then)| now > then).collect();
        let mut row = outputs.activity(step, &leader, classifiers, workers);
        if drawn.contains(&step) {
            row.moves = outputs.moves(&leader, workers, &classes);
        }
        rows.push(row);
        (before, led) = (after, now);
    }
    trainer.check_finite()?;
    Ok(rows)
}

/// Outputs of all workers, `[images, classifiers · workers]`, before and after a step.
struct Outputs<'a> {
    before: &'a [f32],
    after: &'a [f32],
    predictors: usize,
}

impl Outputs<'_> {
    /// A worker's movement: the change of its output for each image.
    fn movement(&self, predictor: usize) -> impl Iterator<Item = f64> + Clone {
        let rows = self.before.chunks_exact(self.predictors);
        let rows = rows.zip(self.after.chunks_exact(self.predictors));
        rows.map(move |(before, after)| f64::from(after[predictor]) - f64::from(before[predictor]))
    }

    fn activity(
        &self,
        step: usize,
        leader: &[bool],
        classifiers: usize,
        workers: usize,
    ) -> Activity {
        let (mut order, mut size) = ([0.0; 3], [0.0; 2]);
        for classifier in 0..classifiers {
            let own = classifier * workers..(classifier + 1) * workers;
            let groups: [&dyn Fn(usize) -> bool; 3] =
                [&|_| true, &|at| leader[at], &|at| !leader[at]];
            for (which, belongs) in groups.into_iter().enumerate() {
                let members: Vec<usize> = own.clone().filter(|&at| belongs(at)).collect();
                order[which] += self.order(&members) / classifiers as f64;
                if which > 0 {
                    let length = |&at: &usize| {
                        let squares: Vec<f64> = self.movement(at).map(|d| d * d).collect();
                        (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt()
                    };
                    let sum: f64 = members.iter().map(length).sum();
                    size[which - 1] += sum / members.len().max(1) as f64 / classifiers as f64;
                }
            }
        }
        Activity { step, order, size, moves: Vec::new() }
    }

    /// The length of the mean direction of movement: 1 if all workers change their outputs in the same
    /// way, about 1/√N if in ways that have nothing to do with one another.
    fn order(&self, members: &[usize]) -> f64 {
        let images = self.before.len() / self.predictors.max(1);
        let mut mean = vec![0.0; images];
        for &at in members {
            let length = self.movement(at).map(|d| d * d).sum::<f64>().sqrt();
            if length > 0.0 {
                for (sum, d) in mean.iter_mut().zip(self.movement(at)) {
                    *sum += d / length;
                }
            }
        }
        mean.iter().map(|sum| sum * sum).sum::<f64>().sqrt() / members.len().max(1) as f64
    }

    /// The movements of the first classifier's workers in the plane of their mean outputs.
    fn moves(&self, leader: &[bool], workers: usize, classes: &[u32]) -> Vec<Move> {
        let mean = |outputs: &[f32], at: usize, own: bool| {
            let rows = outputs.chunks_exact(self.predictors).zip(classes);
            let seen =
                rows.filter(|&(_, &class)| (class == 0) == own).map(|(row, _)| f64::from(row[at]));
            let (sum, count) = seen.fold((0.0, 0.0f64), |(sum, count), y| (sum + y, count + 1.0));
            sum / count.max(1.0)
        };
        let place = |outputs: &[f32], at| [mean(outputs, at, true), mean(outputs, at, false)];
        let of = |at| Move {
            leads: leader[at],
            from: place(self.before, at),
            to: place(self.after, at),
        };
        (0..workers).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_change_in_the_same_way_have_order_1_and_opposite_ones_0() {
        // Two images, four workers: the first two move alike, the third the other way, the fourth rests.
        let before = [0.5; 8];
        let after = [0.6, 0.7, 0.4, 0.5, 0.7, 0.9, 0.3, 0.5];
        let outputs = Outputs { before: &before, after: &after, predictors: 4 };
        assert!((outputs.order(&[0, 1]) - 1.0).abs() < 1e-6);
        assert!(outputs.order(&[0, 2]) < 1e-6);
        assert!((outputs.order(&[0, 1, 2, 3]) - 0.25).abs() < 1e-6);
        let moves = outputs.moves(&[true, false, false, false], 4, &[0, 3]);
        assert!(moves[0].leads && !moves[1].leads);
        let close =
            |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() < 1e-6 && (a[1] - b[1]).abs() < 1e-6;
        assert!(close(moves[0].to, [0.6, 0.7]) && close(moves[0].from, [0.5, 0.5]));
    }
}
