//! Selection of leaders, what followers align with, and the mask of a gradient.

use lfnn_core::program::{
    AlignmentTarget, EpochLeaders, Heads, MaskFollowers, Reference, SelectLeaders, clock,
};
use lfnn_core::random::below;
use rayon::prelude::*;

use super::losses::examples;
use crate::memory::{Binder, In, Out};
use crate::simd::vectorized;
use crate::work::{Kernel, Workspace, piece_rows};

vectorized! {
    /// How many of `errors` come before an error in the order of errors: those that are smaller, and
    /// where `ties` is set those that are equal. NaN counts as infinite.
    fn count_before(errors: &[f32], error: f32, ties: bool) -> usize {
        let mut count = 0u32;
        for &other in errors {
            let other = if other.is_nan() { f32::INFINITY } else { other };
            count += u32::from(other < error || (ties && other == error));
        }
        count as usize
    }
}

/// Selects the leaders of one net; gives the best worker.
fn select(errors: &[f32], count: usize, leaders: &mut [f32]) -> u32 {
    let mut best = 0;
    for (worker, leads) in leaders.iter_mut().enumerate() {
        let error = if errors[worker].is_nan() { f32::INFINITY } else { errors[worker] };
        let (before, after) = errors.split_at(worker);
        // Ties go to the smaller index.
        let rank = count_before(before, error, true) + count_before(after, error, false);
        *leads = if rank < count { 1.0 } else { 0.0 };
        if rank == 0 {
            best = worker as u32;
        }
    }
    best
}

/// Selects in every row and net.
fn select_all(heads: &Heads, count: usize, errors: &[f32], leaders: &mut [f32], best: &mut [u32]) {
    let workers = heads.workers;
    // Ranking is quadratic in the workers.
    let nets = piece_rows(workers * workers);
    let errors = errors.par_chunks(nets * workers);
    let leaders = leaders.par_chunks_mut(nets * workers);
    best.par_chunks_mut(nets).zip(leaders).zip(errors).for_each(|((best, leaders), errors)| {
        let nets = errors.chunks_exact(workers).zip(leaders.chunks_exact_mut(workers));
        for (best, (errors, leaders)) in best.iter_mut().zip(nets) {
            *best = select(errors, count, leaders);
        }
    });
}

pub(crate) struct Select {
    errors: In<f32>,
    leaders: Out<f32>,
    best: Out<u32>,
    heads: Heads,
    count: usize,
}

impl Select {
    pub(crate) fn new(op: &SelectLeaders, bind: &mut Binder<'_>) -> Self {
        Self {
            errors: bind.read(op.errors),
            leaders: bind.write(op.leaders),
            best: bind.write(op.best),
            heads: op.heads,
            count: op.count,
        }
    }
}

impl Kernel for Select {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (leaders, best) = (self.leaders.get(), self.best.get());
        select_all(&self.heads, self.count, self.errors.get(), leaders, best);
    }
}

pub(crate) struct Epoch {
    errors: In<f32>,
    clock: In<u32>,
    epoch_errors: Out<f32>,
    leaders: Out<f32>,
    best: Out<u32>,
    heads: Heads,
    count: usize,
}

impl Epoch {
    pub(crate) fn new(op: &EpochLeaders, bind: &mut Binder<'_>) -> Self {
        Self {
            errors: bind.read(op.errors),
            clock: bind.read(op.clock),
            epoch_errors: bind.write(op.epoch_errors),
            leaders: bind.write(op.leaders),
            best: bind.write(op.best),
            heads: op.heads,
            count: op.count,
        }
    }
}

impl Kernel for Epoch {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (errors, now) = (self.errors.get(), self.clock.get());
        let epoch_errors = self.epoch_errors.get();
        if now[clock::STEP] == 0 {
            let by = if now[clock::EPOCH] > 0 { &*epoch_errors } else { errors };
            select_all(&self.heads, self.count, by, self.leaders.get(), self.best.get());
            epoch_errors.fill(0.0);
        }
        for (sum, error) in epoch_errors.iter_mut().zip(errors) {
            *sum += error;
        }
    }
}

pub(crate) struct Target {
    value: In<f32>,
    leaders: In<f32>,
    best: In<u32>,
    clock: In<u32>,
    reference: Out<f32>,
    heads: Heads,
    rule: Reference,
}

impl Target {
    pub(crate) fn new(op: &AlignmentTarget, bind: &mut Binder<'_>) -> Self {
        Self {
            value: bind.read(op.value),
            leaders: bind.read(op.leaders),
            best: bind.read(op.best),
            clock: bind.read(op.clock),
            reference: bind.write(op.reference),
            heads: op.heads,
            rule: op.rule,
        }
    }
}

impl Kernel for Target {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Self { heads, rule, .. } = *self;
        let (value, leaders, best) = (self.value.get(), self.leaders.get(), self.best.get());
        let now = self.clock.get();
        let examples = examples(&heads);
        let reference = self.reference.get();
        let per_sample = best.len() > heads.nets;
        let pieces = reference.par_chunks_mut(examples * heads.nets * heads.width);
        pieces.enumerate().for_each(|(piece, reference)| {
            for (i, to) in reference.chunks_exact_mut(heads.width).enumerate() {
                let at = piece * examples * heads.nets + i;
                let net = at % heads.nets;
                // Row of leadership, and net.
                let row = if per_sample { at / heads.nets } else { 0 };
                let chosen = row * heads.nets + net;
                let leaders = &leaders[chosen * heads.workers..][..heads.workers];
                let values = &value[at * heads.workers * heads.width..];
                let value = |worker: usize| &values[worker * heads.width..][..heads.width];
                let leading = || (0..heads.workers).filter(|&worker| leaders[worker] != 0.0);
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
    pub(crate) fn new(op: &MaskFollowers, bind: &mut Binder<'_>) -> Self {
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
