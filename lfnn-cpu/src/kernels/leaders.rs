//! Selection of leaders, what followers align with, and the mask of a gradient.

use lfnn_core::program::{
    AlignmentTarget, EpochLeaders, MaskFollowers, Predictions, Reference, SelectLeaders, clock,
};
use lfnn_core::random::below;
use rayon::prelude::*;

use super::losses::examples;
use crate::memory::{BufferResolver, In, Out};
use crate::simd::vectorized;
use crate::work::{Kernel, Workspace, piece_rows};

vectorized! {
    /// How many of `losses` come before a loss in the order of losses: those that are smaller, and
    /// where `ties` is set those that are equal. NaN counts as infinite.
    fn count_before(losses: &[f32], loss: f32, ties: bool) -> usize {
        let mut count = 0u32;
        for &other in losses {
            let other = if other.is_nan() { f32::INFINITY } else { other };
            count += u32::from(other < loss || (ties && other == loss));
        }
        count as usize
    }
}

/// Selects the leaders of one classifier; gives the best worker.
fn select(losses: &[f32], count: usize, leaders: &mut [f32]) -> u32 {
    let mut best = 0;
    for (worker, leads) in leaders.iter_mut().enumerate() {
        let loss = if losses[worker].is_nan() { f32::INFINITY } else { losses[worker] };
        let (before, after) = losses.split_at(worker);
        // Ties go to the smaller index.
        let rank = count_before(before, loss, true) + count_before(after, loss, false);
        *leads = if rank < count { 1.0 } else { 0.0 };
        if rank == 0 {
            best = worker as u32;
        }
    }
    best
}

/// Selects in every row and classifier.
fn select_all(
    predictions: &Predictions,
    count: usize,
    losses: &[f32],
    leaders: &mut [f32],
    best: &mut [u32],
) {
    let workers = predictions.workers;
    // Ranking is quadratic in the workers.
    let classifiers = piece_rows(workers * workers);
    let losses = losses.par_chunks(classifiers * workers);
    let leaders = leaders.par_chunks_mut(classifiers * workers);
    best.par_chunks_mut(classifiers).zip(leaders).zip(losses).for_each(
        |((best, leaders), losses)| {
            let classifiers = losses.chunks_exact(workers).zip(leaders.chunks_exact_mut(workers));
            for (best, (losses, leaders)) in best.iter_mut().zip(classifiers) {
                *best = select(losses, count, leaders);
            }
        },
    );
}

pub(crate) struct Select {
    losses: In<f32>,
    leaders: Out<f32>,
    best: Out<u32>,
    predictions: Predictions,
    count: usize,
}

impl Select {
    pub(crate) fn new(op: &SelectLeaders, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            losses: bind.read(op.losses),
            leaders: bind.write(op.leaders),
            best: bind.write(op.best),
            predictions: op.predictions,
            count: op.count,
        }
    }
}

impl Kernel for Select {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (leaders, best) = (self.leaders.get(), self.best.get());
        select_all(&self.predictions, self.count, self.losses.get(), leaders, best);
    }
}

pub(crate) struct Epoch {
    losses: In<f32>,
    clock: In<u32>,
    epoch_losses: Out<f32>,
    leaders: Out<f32>,
    best: Out<u32>,
    predictions: Predictions,
    count: usize,
}

impl Epoch {
    pub(crate) fn new(op: &EpochLeaders, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            losses: bind.read(op.losses),
            clock: bind.read(op.clock),
            epoch_losses: bind.write(op.epoch_losses),
            leaders: bind.write(op.leaders),
            best: bind.write(op.best),
            predictions: op.predictions,
            count: op.count,
        }
    }
}

impl Kernel for Epoch {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (losses, now) = (self.losses.get(), self.clock.get());
        let epoch_losses = self.epoch_losses.get();
        if now[clock::STEP] == 0 {
            let by = if now[clock::EPOCH] > 0 { &*epoch_losses } else { losses };
            select_all(&self.predictions, self.count, by, self.leaders.get(), self.best.get());
            epoch_losses.fill(0.0);
        }
        for (sum, loss) in epoch_losses.iter_mut().zip(losses) {
            *sum += loss;
        }
    }
}

pub(crate) struct Target {
    value: In<f32>,
    leaders: In<f32>,
    best: In<u32>,
    clock: In<u32>,
    reference: Out<f32>,
    predictions: Predictions,
    rule: Reference,
}

impl Target {
    pub(crate) fn new(op: &AlignmentTarget, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            value: bind.read(op.value),
            leaders: bind.read(op.leaders),
            best: bind.read(op.best),
            clock: bind.read(op.clock),
            reference: bind.write(op.reference),
            predictions: op.predictions,
            rule: op.rule,
        }
    }
}

impl Kernel for Target {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Self { predictions, rule, .. } = *self;
        let (value, leaders, best) = (self.value.get(), self.leaders.get(), self.best.get());
        let now = self.clock.get();
        let examples = examples(&predictions);
        let reference = self.reference.get();
        let per_sample = best.len() > predictions.classifiers;
        let pieces =
            reference.par_chunks_mut(examples * predictions.classifiers * predictions.classes);
        pieces.enumerate().for_each(|(piece, reference)| {
            for (i, to) in reference.chunks_exact_mut(predictions.classes).enumerate() {
                let at = piece * examples * predictions.classifiers + i;
                let classifier = at % predictions.classifiers;
                // Row of leadership, and classifier.
                let row = if per_sample { at / predictions.classifiers } else { 0 };
                let chosen = row * predictions.classifiers + classifier;
                let leaders = &leaders[chosen * predictions.workers..][..predictions.workers];
                let values = &value[at * predictions.workers * predictions.classes..];
                let value =
                    |worker: usize| &values[worker * predictions.classes..][..predictions.classes];
                let leading = || (0..predictions.workers).filter(|&worker| leaders[worker] != 0.0);
                match rule {
                    Reference::Best => to.copy_from_slice(value(best[chosen] as usize)),
                    Reference::Random(stream) => {
                        let (epoch, step) = (now[clock::EPOCH], now[clock::STEP]);
                        let word = stream.at(clock::seed(now), epoch, step, chosen as u32);
                        let index = below(word, leading().count() as u32) as usize;
                        to.copy_from_slice(value(leading().nth(index).unwrap_or(0)));
                    }
                    Reference::Mean => {
                        to.fill(0.0);
                        for worker in leading() {
                            for (to, value) in to.iter_mut().zip(value(worker)) {
                                *to += value;
                            }
                        }
                        let count = leading().count() as f32;
                        to.iter_mut().for_each(|to| *to /= count);
                    }
                }
            }
        });
    }
}

pub(crate) struct Mask {
    x: In<f32>,
    leaders: In<f32>,
    y: Out<f32>,
    workers: usize,
    /// Numbers in a row, and rows of an example.
    columns: usize,
    rows: usize,
}

impl Mask {
    pub(crate) fn new(op: &MaskFollowers, bind: &mut BufferResolver<'_>) -> Self {
        let tensors = bind.tensors();
        Self {
            x: bind.read(op.x),
            leaders: bind.read(op.leaders),
            y: bind.write(op.y),
            workers: tensors.channels(op.leaders),
            columns: tensors.channels(op.x),
            rows: tensors.rows(op.x).checked_div(tensors[op.x].shape[0]).unwrap_or(0),
        }
    }
}

impl Kernel for Mask {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, leaders, y) = (self.x.get(), self.leaders.get(), self.y.get());
        if y.is_empty() {
            return;
        }
        let (workers, columns, rows) = (self.workers, self.columns, self.rows);
        let step = piece_rows(columns);
        let per_sample = leaders.len() > workers;
        let pieces = y.par_chunks_mut(step * columns).zip(x.par_chunks(step * columns));
        pieces.enumerate().for_each(|(piece, (y, x))| {
            let lines = y.chunks_exact_mut(columns).zip(x.chunks_exact(columns));
            for (i, (y, x)) in lines.enumerate() {
                let example = if per_sample { (piece * step + i) / rows } else { 0 };
                let leaders = &leaders[example * workers..][..workers];
                let width = columns / workers;
                let runs = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for (leads, (y, x)) in leaders.iter().zip(runs) {
                    if *leads != 0.0 { y.copy_from_slice(x) } else { y.fill(0.0) }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_smaller_index_and_nan_comes_last() {
        let mut leaders = [9.0; 5];
        let best = select(&[f32::NAN, 2.0, 1.0, 2.0, 1.0], 3, &mut leaders);
        assert_eq!((best, leaders), (2, [0.0, 1.0, 1.0, 0.0, 1.0]));
        let best = select(&[f32::NAN; 5], 2, &mut leaders);
        assert_eq!((best, leaders), (0, [1.0, 1.0, 0.0, 0.0, 0.0]));
    }
}
