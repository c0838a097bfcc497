//! Selection of leaders, what followers align with, and the mask of a gradient.

use lfnn_core::program::{Predictions, Reference, step_counter};
use lfnn_core::random::below;
use rayon::prelude::*;

use super::losses::examples_per_chunk;
use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{Kernel, Workspace, items_per_chunk, kernel};

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
    let classifiers = items_per_chunk(workers * workers);
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

kernel! {
    SelectLeaders { losses: Input<f32>, leaders: Output<f32>, best: Output<u32> }
    with |op, bind| { predictions: Predictions = op.predictions, count: usize = op.count }
}

impl Kernel for SelectLeaders {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (leaders, best) = (self.leaders.get(), self.best.get());
        select_all(&self.predictions, self.count, self.losses.get(), leaders, best);
    }
}

kernel! {
    EpochLeaders {
        losses: Input<f32>,
        counter: Input<u32>,
        epoch_losses: Output<f32>,
        leaders: Output<f32>,
        best: Output<u32>,
    }
    with |op, bind| { predictions: Predictions = op.predictions, count: usize = op.count }
}

impl Kernel for EpochLeaders {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (losses, now) = (self.losses.get(), self.counter.get());
        let epoch_losses = self.epoch_losses.get();
        if now[step_counter::STEP] == 0 {
            let by = if now[step_counter::EPOCH] > 0 { &*epoch_losses } else { losses };
            select_all(&self.predictions, self.count, by, self.leaders.get(), self.best.get());
            epoch_losses.fill(0.0);
        }
        for (sum, loss) in epoch_losses.iter_mut().zip(losses) {
            *sum += loss;
        }
    }
}

kernel! {
    AlignmentTarget {
        value: Input<f32>,
        leaders: Input<f32>,
        best: Input<u32>,
        counter: Input<u32>,
        reference: Output<f32>,
    }
    with |op, bind| { predictions: Predictions = op.predictions, rule: Reference = op.rule }
}

impl Kernel for AlignmentTarget {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Self { predictions, rule, .. } = *self;
        let (value, leaders, best) = (self.value.get(), self.leaders.get(), self.best.get());
        let now = self.counter.get();
        let examples = examples_per_chunk(&predictions);
        let reference = self.reference.get();
        let per_sample = best.len() > predictions.classifiers;
        let chunks =
            reference.par_chunks_mut(examples * predictions.classifiers * predictions.classes);
        chunks.enumerate().for_each(|(chunk, reference)| {
            for (i, to) in reference.chunks_exact_mut(predictions.classes).enumerate() {
                let at = chunk * examples * predictions.classifiers + i;
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
                        let (epoch, step) = (now[step_counter::EPOCH], now[step_counter::STEP]);
                        let word = stream.at(step_counter::seed(now), epoch, step, chosen as u32);
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

kernel! {
    MaskFollowers { x: Input<f32>, leaders: Input<f32>, y: Output<f32> }
    with |op, bind| {
        workers: usize = bind.tensors().channels(op.leaders),
        channels: usize = bind.tensors().channels(op.x),
        /// Rows of an example.
        rows: usize = bind.rows_per_example(op.x),
    }
}

impl Kernel for MaskFollowers {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, leaders, y) = (self.x.get(), self.leaders.get(), self.y.get());
        if y.is_empty() {
            return;
        }
        let (workers, channels, rows) = (self.workers, self.channels, self.rows);
        let step = items_per_chunk(channels);
        let per_sample = leaders.len() > workers;
        let chunks = y.par_chunks_mut(step * channels).zip(x.par_chunks(step * channels));
        chunks.enumerate().for_each(|(chunk, (y, x))| {
            let lines = y.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
            for (i, (y, x)) in lines.enumerate() {
                let example = if per_sample { (chunk * step + i) / rows } else { 0 };
                let leaders = &leaders[example * workers..][..workers];
                let width = channels / workers;
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
