//! Batch normalisation, alone and with the ReLU and the poolings that follow it.
//!
//! Statistics take one pass over memory: each piece of rows gives its mean and its sum of squared
//! deviations while it is in the cache, and the pieces are joined in double precision (Chan's
//! formula), so that a large mean costs no accuracy.

use lfnn_core::program::{BatchNorm, BatchNormInference, TensorId};
use rayon::prelude::*;

use super::columns::{reduce_rows, reduction_len, reduction_rows, sum_rows};
use super::pool::Poolings;
use crate::fuse::Epilogue;
use crate::memory::{BufferResolver, In, Out};
use crate::simd::vectorized;
use crate::work::{GRAIN, Kernel, ScratchSize, ThreadBuffers, Workspace, piece};

vectorized! {
    /// `part` receives the means and the sums of squared deviations of the columns of `x`.
    fn moments(x: &[f32], part: &mut [f32]) {
        let columns = part.len() / 2;
        let (mean, squares) = part.split_at_mut(columns);
        sum_rows(x, mean);
        let share = 1.0 / (x.len() / columns) as f32;
        for mean in mean.iter_mut() {
            *mean *= share;
        }
        for row in x.chunks_exact(columns) {
            for ((x, mean), square) in row.iter().zip(&*mean).zip(squares.iter_mut()) {
                *square += (x - mean) * (x - mean);
            }
        }
    }

    /// `y = (x − mean) · scale + shift`.
    pub(crate) fn normalize(x: &[f32], mean: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
        let columns = mean.len();
        let (scale, shift) = (&scale[..columns], &shift[..columns]);
        for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
            for c in 0..columns {
                y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
            }
        }
    }

    /// The same, with negative results set to zero.
    fn normalize_relu(x: &[f32], mean: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
        let columns = mean.len();
        let (scale, shift) = (&scale[..columns], &shift[..columns]);
        for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
            for c in 0..columns {
                let z = (x[c] - mean[c]) * scale[c] + shift[c];
                y[c] = if z < 0.0 { 0.0 } else { z };
            }
        }
    }
}

/// Where the result goes, if it is stored.
fn result(
    y: TensorId,
    behind: Option<&Epilogue<'_>>,
    bind: &mut BufferResolver<'_>,
) -> Option<Out<f32>> {
    match behind {
        None => Some(bind.write(y)),
        Some(behind) => behind.stored.then(|| bind.write(behind.y)),
    }
}

/// Rows of an image.
fn pixels(bind: &BufferResolver<'_>, x: TensorId) -> usize {
    bind.tensors().rows(x).checked_div(bind.tensor(x).shape[0]).unwrap_or(0)
}

/// Training, and a ReLU behind it where one follows.
pub(crate) struct Forward {
    x: In<f32>,
    gamma: In<f32>,
    beta: In<f32>,
    /// Not where only poolings of it are wanted.
    y: Option<Out<f32>>,
    mean: Out<f32>,
    inv_std: Out<f32>,
    running_mean: Out<f32>,
    running_var: Out<f32>,
    momentum: f64,
    epsilon: f64,
    relu: bool,
    poolings: Poolings,
    /// Rows of an image.
    image: usize,
    rows: usize,
    columns: usize,
}

impl Forward {
    /// With the ReLU and the poolings that follow it, if any do.
    pub(crate) fn new(
        op: &BatchNorm,
        behind: Option<&Epilogue<'_>>,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        Self {
            x: bind.read(op.x),
            gamma: bind.read(op.gamma),
            beta: bind.read(op.beta),
            y: result(op.y, behind, bind),
            mean: bind.write(op.mean),
            inv_std: bind.write(op.inv_std),
            running_mean: bind.write(op.running_mean),
            running_var: bind.write(op.running_var),
            momentum: op.momentum,
            epsilon: op.epsilon,
            relu: behind.is_some(),
            poolings: Poolings::new(behind, bind),
            image: pixels(bind, op.x),
            rows: bind.tensors().rows(op.x),
            columns: bind.tensors().channels(op.x),
        }
    }
}

impl Kernel for Forward {
    fn scratch_size(&self) -> ScratchSize {
        let step = reduction_rows(self.columns);
        let shared = self.columns + reduction_len(self.rows, step, 2 * self.columns);
        let each = if self.y.is_none() { self.image * self.columns } else { 0 };
        ScratchSize { shared, each, ..ScratchSize::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, columns) = (self.rows, self.columns);
        let (x, gamma, beta) = (self.x.get(), self.gamma.get(), self.beta.get());
        let (mean, inv_std) = (self.mean.get(), self.inv_std.get());
        let (running_mean, running_var) = (self.running_mean.get(), self.running_var.get());
        let (scale, scratch) = work.shared.split_at_mut(columns);
        let step = reduction_rows(columns);
        let parts = reduce_rows(rows, step, 2 * columns, scratch, |first, rows, part| {
            moments(&x[first * columns..][..rows * columns], part);
        });
        let n = rows as f64;
        for c in 0..columns {
            let parts = parts.clone().enumerate();
            let count = |i: usize| step.min(rows - i * step) as f64;
            let sum: f64 = parts.clone().map(|(i, part)| f64::from(part[c]) * count(i)).sum();
            let batch_mean = sum / n;
            let squares: f64 = parts
                .map(|(i, part)| {
                    let offset = f64::from(part[c]) - batch_mean;
                    f64::from(part[columns + c]) + count(i) * offset * offset
                })
                .sum();
            let deviation = 1.0 / (squares / n + self.epsilon).sqrt();
            mean[c] = batch_mean as f32;
            inv_std[c] = deviation as f32;
            scale[c] = gamma[c] * inv_std[c];
            let moved = |running: f32, batch: f64| {
                ((1.0 - self.momentum) * f64::from(running) + self.momentum * batch) as f32
            };
            running_mean[c] = moved(running_mean[c], batch_mean);
            running_var[c] = moved(running_var[c], squares / (n - 1.0));
        }
        let affine = Affine { mean, scale, shift: beta, relu: self.relu };
        let y = self.y.as_mut().map(Out::get);
        affine.run(x, y, &mut self.poolings, self.image, work.buffers);
    }
}

/// `y = (x − mean) · scale + shift`, and perhaps a ReLU.
struct Affine<'a> {
    mean: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    relu: bool,
}

impl Affine<'_> {
    /// Goes over all rows, and where poolings follow does these while an image is in the cache.
    fn run(
        &self,
        x: &[f32],
        y: Option<&mut [f32]>,
        poolings: &mut Poolings,
        image: usize,
        buffers: &ThreadBuffers,
    ) {
        let Self { mean, scale, shift, .. } = *self;
        let kernel = if self.relu { normalize_relu } else { normalize };
        let columns = mean.len();
        if x.is_empty() {
            return;
        }
        let Some(y) = y else {
            let len = image * columns;
            let images = (GRAIN / len).max(1);
            let pieces = poolings.pieces(images, x.len() / len).zip(x.par_chunks(images * len));
            return pieces.for_each(|(mut pooled, x)| {
                buffers.with(|slot| {
                    for (i, x) in x.chunks_exact(len).enumerate() {
                        kernel(x, mean, scale, shift, &mut slot[..len]);
                        pooled.image(i, &slot[..len]);
                    }
                });
            });
        };
        if poolings.is_empty() {
            let piece = piece(columns);
            let pieces = y.par_chunks_mut(piece).zip(x.par_chunks(piece));
            return pieces.for_each(|(y, x)| kernel(x, mean, scale, shift, y));
        }
        let len = image * columns;
        let images = (GRAIN / len).max(1);
        let pieces = y.par_chunks_mut(images * len).zip(x.par_chunks(images * len));
        poolings.pieces(images, x.len() / len).zip(pieces).for_each(|(mut pooled, (y, x))| {
            for (i, (y, x)) in y.chunks_exact_mut(len).zip(x.chunks_exact(len)).enumerate() {
                kernel(x, mean, scale, shift, y);
                pooled.image(i, y);
            }
        });
    }
}

/// Prediction, and a ReLU behind it where one follows.
pub(crate) struct Inference {
    x: In<f32>,
    gamma: In<f32>,
    beta: In<f32>,
    running_mean: In<f32>,
    running_var: In<f32>,
    /// Not where only poolings of it are wanted.
    y: Option<Out<f32>>,
    epsilon: f64,
    relu: bool,
    poolings: Poolings,
    /// Rows of an image.
    image: usize,
    columns: usize,
}

impl Inference {
    /// With the ReLU and the poolings that follow it, if any do.
    pub(crate) fn new(
        op: &BatchNormInference,
        behind: Option<&Epilogue<'_>>,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        Self {
            x: bind.read(op.x),
            gamma: bind.read(op.gamma),
            beta: bind.read(op.beta),
            running_mean: bind.read(op.running_mean),
            running_var: bind.read(op.running_var),
            y: result(op.y, behind, bind),
            epsilon: op.epsilon,
            relu: behind.is_some(),
            poolings: Poolings::new(behind, bind),
            image: pixels(bind, op.x),
            columns: bind.tensors().channels(op.x),
        }
    }
}

impl Kernel for Inference {
    fn scratch_size(&self) -> ScratchSize {
        let each = if self.y.is_none() { self.image * self.columns } else { 0 };
        ScratchSize { shared: self.columns, each, ..ScratchSize::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (x, gamma, beta) = (self.x.get(), self.gamma.get(), self.beta.get());
        let (mean, variance) = (self.running_mean.get(), self.running_var.get());
        let scale = &mut work.shared[..self.columns];
        for ((scale, &gamma), &variance) in scale.iter_mut().zip(gamma).zip(variance) {
            *scale = (f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt()) as f32;
        }
        let affine = Affine { mean, scale, shift: beta, relu: self.relu };
        let y = self.y.as_mut().map(Out::get);
        affine.run(x, y, &mut self.poolings, self.image, work.buffers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_accuracy_beside_a_large_mean() {
        let x: Vec<f32> = (0..64).map(|i| 1000.0 + (i / 2 % 2) as f32).collect();
        let mut part = [0.0; 4];
        moments(&x, &mut part);
        assert_eq!(part, [1000.5, 1000.5, 8.0, 8.0]);
    }

    #[test]
    fn normalising_with_a_relu_cuts_at_zero() {
        let mut y = [9.0; 4];
        normalize_relu(&[1.0, 2.0, 3.0, -2.0], &[2.0, 0.0], &[2.0, 1.0], &[0.5, 0.25], &mut y);
        assert_eq!(y, [0.0, 2.25, 2.5, 0.0]);
    }
}
