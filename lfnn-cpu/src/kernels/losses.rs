//! Errors of workers and the gradient of the local losses, each in one pass over the predictions.

use lfnn_core::program::{
    Align, Heads, LocalGradient, LocalLosses, Loss, MeanErrors, Reduction, TensorId, WorkerErrors,
};
use rayon::prelude::*;

use super::elementwise::sigmoid;
use super::workers::{softmax, softmax_grad};
use crate::memory::{Binder, In, Out};
use crate::work::{GRAIN, Kernel, Workspace};

/// Examples in a piece of work on predictions.
pub(super) fn examples(heads: &Heads) -> usize {
    (GRAIN / 4 / heads.features()).max(1)
}

/// Labels or real targets.
enum Target {
    Labels(In<u32>),
    Real(In<f32>),
}

impl Target {
    fn new(id: TensorId, loss: Loss, bind: &mut Binder<'_>) -> Self {
        if loss.takes_labels() {
            Target::Labels(bind.read(id))
        } else {
            Target::Real(bind.read(id))
        }
    }

    fn get(&self) -> Targets<'_> {
        match self {
            Target::Labels(labels) => Targets { labels: labels.get(), real: &[] },
            Target::Real(real) => Targets { labels: &[], real: real.get() },
        }
    }
}

/// The contents; one of the two is empty.
#[derive(Clone, Copy)]
struct Targets<'a> {
    labels: &'a [u32],
    real: &'a [f32],
}

impl<'a> Targets<'a> {
    /// Real targets of one example and net.
    fn of(&self, heads: &Heads, example: usize, net: usize) -> &'a [f32] {
        &self.real[(example * heads.nets + net) * heads.width..][..heads.width]
    }
}

/// `t` of binary cross-entropy.
fn binary_target(one_vs_all: bool, smoothing: f64, net: usize, label: u32) -> f32 {
    let positive = if Loss::positive(one_vs_all, net, label) { 1.0 } else { 0.0 };
    ((1.0 - smoothing) * positive + smoothing / 2.0) as f32
}

/// One prediction: fills in the output and gives the error. Of cross-entropy, the output is there already, and the
/// error holds `log Σ exp z`.
#[allow(clippy::too_many_arguments, reason = "a piece of `run`")]
fn error(
    heads: &Heads,
    loss: Loss,
    targets: Targets<'_>,
    example: usize,
    net: usize,
    z: &[f32],
    output: &mut [f32],
    error: &mut f32,
) {
    *error = match loss {
        Loss::CrossEntropy { smoothing } => {
            let log_sum = *error;
            let of_label = log_sum - z[targets.labels[example] as usize];
            if smoothing == 0.0 {
                of_label
            } else {
                let of_all = z.iter().map(|z| log_sum - z).sum::<f32>() / heads.width as f32;
                (1.0 - smoothing) as f32 * of_label + smoothing as f32 * of_all
            }
        }
        Loss::Binary { one_vs_all, smoothing } => {
            let t = binary_target(one_vs_all, smoothing, net, targets.labels[example]);
            let z = z[0];
            output[0] = sigmoid(z);
            z.max(0.0) - t * z + (-z.abs()).exp().ln_1p()
        }
        Loss::MeanSquared => {
            output.copy_from_slice(z);
            let t = targets.of(heads, example, net);
            let sum: f32 = z.iter().zip(t).map(|(z, t)| (z - t) * (z - t)).sum();
            sum / heads.width as f32
        }
    }
}

pub(crate) struct Errors {
    z: In<f32>,
    target: Target,
    output: Out<f32>,
    errors: Out<f32>,
    heads: Heads,
    loss: Loss,
}

impl Errors {
    pub(crate) fn new(op: &WorkerErrors, bind: &mut Binder<'_>) -> Self {
        Self {
            z: bind.read(op.z),
            target: Target::new(op.target, op.loss, bind),
            output: bind.write(op.output),
            errors: bind.write(op.errors),
            heads: op.heads,
            loss: op.loss,
        }
    }
}

impl Kernel for Errors {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Self { heads, loss, .. } = *self;
        let (examples, features) = (examples(&heads), heads.features());
        let targets = self.target.get();
        let z = self.z.get().par_chunks(examples * features);
        let output = self.output.get().par_chunks_mut(examples * features);
        let errors = self.errors.get().par_chunks_mut(examples * heads.predictors());
        output.zip(errors).zip(z).enumerate().for_each(|(piece, ((output, errors), z))| {
            if let Loss::CrossEntropy { .. } = loss {
                softmax(z, heads.width, output, Some(errors));
            }
            let runs = z.chunks_exact(heads.width).zip(output.chunks_exact_mut(heads.width));
            for (i, (to, (z, output))) in errors.iter_mut().zip(runs).enumerate() {
                let example = piece * examples + i / heads.predictors();
                let net = i % heads.predictors() / heads.workers;
                error(&heads, loss, targets, example, net, z, output, to);
            }
        });
    }
}

pub(crate) struct Means {
    errors: In<f32>,
    mean: Out<f32>,
    fault: Out<u32>,
}

impl Means {
    pub(crate) fn new(op: &MeanErrors, bind: &mut Binder<'_>) -> Self {
        Self {
            errors: bind.read(op.errors),
            mean: bind.write(op.mean),
            fault: bind.write(op.fault),
        }
    }
}

impl Kernel for Means {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (errors, mean) = (self.errors.get(), self.mean.get());
        let predictors = mean.len().max(1);
        let batch = (errors.len() / predictors) as f64;
        mean.par_chunks_mut(64).enumerate().for_each(|(piece, mean)| {
            let mut sums = [0.0f64; 64];
            for errors in errors.chunks_exact(predictors) {
                for (sum, &error) in sums.iter_mut().zip(&errors[piece * 64..][..mean.len()]) {
                    *sum += f64::from(error);
                }
            }
            for (mean, sum) in mean.iter_mut().zip(sums) {
                *mean = (sum / batch) as f32;
            }
        });
        let fault = &mut self.fault.get()[0];
        if *fault == 0
            && let Some(first) = mean.iter().position(|mean| !mean.is_finite())
        {
            *fault = first as u32 + 1;
        }
    }
}

pub(crate) struct Gradient {
    z: In<f32>,
    output: In<f32>,
    target: Target,
    /// Who leads, and what followers align with.
    leadership: Option<(In<f32>, In<f32>)>,
    dz: Out<f32>,
    op: LocalGradient,
}

impl Gradient {
    pub(crate) fn new(op: &LocalGradient, bind: &mut Binder<'_>) -> Self {
        let leaders = op.leaders.map(|leaders| bind.read(leaders));
        let reference = op.reference.map(|reference| bind.read(reference));
        Self {
            z: bind.read(op.z),
            output: bind.read(op.output),
            target: Target::new(op.target, op.loss, bind),
            leadership: leaders.zip(reference),
            dz: bind.write(op.dz),
            op: op.clone(),
        }
    }
}

impl Kernel for Gradient {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (op, heads) = (&self.op, self.op.heads);
        let (z, output, targets) = (self.z.get(), self.output.get(), self.target.get());
        let leadership = self.leadership.as_ref().map(|(l, r)| (l.get(), r.get()));
        let dz = self.dz.get();
        let (examples, features) = (examples(&heads), heads.features());
        let batch = dz.len() / features;
        // Numbers of one example and net.
        let len = heads.workers * heads.width;
        dz.par_chunks_mut(examples * features).enumerate().for_each(|(piece, dz)| {
            for (i, dz) in dz.chunks_exact_mut(len).enumerate() {
                let row = piece * examples * heads.nets + i;
                let (example, net) = (row / heads.nets, row % heads.nets);
                let leaders = leadership.map(|(leaders, _)| {
                    let rows = leaders.len() / heads.predictors();
                    let row = if rows == 1 { 0 } else { example };
                    &leaders[(row * heads.nets + net) * heads.workers..][..heads.workers]
                });
                let count = leaders.map_or(heads.workers, leading);
                let share = |weight: f64, count: usize| match op.reduction {
                    Reduction::Sum => (weight / batch as f64) as f32,
                    Reduction::Mean => (weight / batch as f64 / count as f64) as f32,
                };
                let lead = share(op.leader_weight, count);
                let follow = share(op.follower_weight, heads.workers - count);
                for (worker, dz) in dz.chunks_exact_mut(heads.width).enumerate() {
                    let at = row * len + worker * heads.width;
                    let z = &z[at..][..heads.width];
                    let p = &output[at..][..heads.width];
                    match (leaders, leadership) {
                        (Some(leaders), Some((_, reference))) if leaders[worker] == 0.0 => {
                            let reference = &reference[row * heads.width..][..heads.width];
                            align(op, follow, z, p, reference, dz);
                        }
                        _ => learn(op, lead, targets, example, net, z, p, dz),
                    }
                }
            }
        });
    }
}

/// How many of a net's workers lead.
fn leading(leaders: &[f32]) -> usize {
    leaders.iter().filter(|&&leads| leads != 0.0).count()
}

/// The gradient of `share · ℓ`.
#[allow(clippy::too_many_arguments, reason = "a piece of the gradient's `run`")]
fn learn(
    op: &LocalGradient,
    share: f32,
    targets: Targets<'_>,
    example: usize,
    net: usize,
    z: &[f32],
    p: &[f32],
    dz: &mut [f32],
) {
    match op.loss {
        Loss::CrossEntropy { smoothing } => {
            let rest = (smoothing / op.heads.width as f64) as f32;
            for (dz, p) in dz.iter_mut().zip(p) {
                *dz = share * (p - rest);
            }
            let label = targets.labels[example] as usize;
            dz[label] = share * (p[label] - rest - (1.0 - smoothing) as f32);
        }
        Loss::Binary { one_vs_all, smoothing } => {
            dz[0] =
                share * (p[0] - binary_target(one_vs_all, smoothing, net, targets.labels[example]));
        }
        Loss::MeanSquared => {
            let t = targets.of(&op.heads, example, net);
            let factor = 2.0 * share / op.heads.width as f32;
            for ((dz, z), t) in dz.iter_mut().zip(z).zip(t) {
                *dz = factor * (z - t);
            }
        }
    }
}

/// The gradient of `share · mean_c (reference − value)²`.
fn align(op: &LocalGradient, share: f32, z: &[f32], p: &[f32], reference: &[f32], dz: &mut [f32]) {
    let factor = 2.0 * share / op.heads.width as f32;
    match (op.align, op.loss) {
        (Align::Output, Loss::CrossEntropy { .. }) => {
            softmax_grad(p, |c| factor * (p[c] - reference[c]), dz);
        }
        (Align::Output, Loss::Binary { .. }) => {
            dz[0] = factor * (p[0] - reference[0]) * p[0] * (1.0 - p[0]);
        }
        (Align::Output, Loss::MeanSquared) | (Align::Logits, _) => {
            for ((dz, z), reference) in dz.iter_mut().zip(z).zip(reference) {
                *dz = factor * (z - reference);
            }
        }
    }
}

pub(crate) struct Losses {
    errors: In<f32>,
    value: In<f32>,
    leaders: In<f32>,
    reference: In<f32>,
    losses: Out<f32>,
    heads: Heads,
    reduction: Reduction,
}

impl Losses {
    pub(crate) fn new(op: &LocalLosses, bind: &mut Binder<'_>) -> Self {
        Self {
            errors: bind.read(op.errors),
            value: bind.read(op.value),
            leaders: bind.read(op.leaders),
            reference: bind.read(op.reference),
            losses: bind.write(op.losses),
            heads: op.heads,
            reduction: op.reduction,
        }
    }
}

impl Kernel for Losses {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let heads = self.heads;
        let (errors, value) = (self.errors.get(), self.value.get());
        let (leaders, reference) = (self.leaders.get(), self.reference.get());
        let batch = errors.len() / heads.predictors();
        let per_sample = leaders.len() != heads.predictors() || batch == 1;
        let mut losses = [0.0f64; 2];
        for row in 0..batch * heads.nets {
            let (example, net) = (row / heads.nets, row % heads.nets);
            let leaders_row = if per_sample { example } else { 0 };
            let leaders = &leaders[(leaders_row * heads.nets + net) * heads.workers..];
            let leaders = &leaders[..heads.workers];
            let errors = &errors[row * heads.workers..][..heads.workers];
            let values = value[row * heads.workers * heads.width..].chunks_exact(heads.width);
            let reference = &reference[row * heads.width..][..heads.width];
            let mut sums = [0.0f64; 2];
            for ((&leads, &error), value) in leaders.iter().zip(errors).zip(values) {
                if leads != 0.0 {
                    sums[0] += f64::from(error);
                } else {
                    let sum: f32 =
                        value.iter().zip(reference).map(|(v, r)| (r - v) * (r - v)).sum();
                    sums[1] += f64::from(sum) / heads.width as f64;
                }
            }
            let count = leading(leaders);
            let counts = match self.reduction {
                Reduction::Sum => [1, 1],
                Reduction::Mean => [count.max(1), (heads.workers - count).max(1)],
            };
            for ((loss, sum), count) in losses.iter_mut().zip(sums).zip(counts) {
                *loss += sum / count as f64;
            }
        }
        for (to, loss) in self.losses.get().iter_mut().zip(losses) {
            *to = (loss / batch as f64) as f32;
        }
    }
}
