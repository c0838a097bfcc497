//! Batch normalisation, alone and with the ReLU and the poolings that follow it.
//!
//! Statistics take one pass over memory: each chunk of rows gives its mean and its sum of squared
//! deviations while it is in the cache, and the chunks are combined in double precision (Chan's
//! formula), so that a large mean costs no accuracy.

use lfnn_core::program::TensorId;
use lfnn_core::program::fusion::Epilogue;
use rayon::prelude::*;

use super::pool::Poolings;
use super::reduce::{reduce_rows, reduction_len, reduction_rows, sum_rows};
use crate::memory::{BufferResolver, Input, Output};
use crate::simd::vectorized;
use crate::work::{
    Kernel, ScratchSize, ThreadBuffers, Workspace, chunk_len, for_chunks, items_per_chunk, kernel,
};

vectorized! {
    /// `part` receives the means and the sums of squared deviations of the channels of `x`.
    fn moments(x: &[f32], part: &mut [f32]) {
        let channels = part.len() / 2;
        let (mean, squares) = part.split_at_mut(channels);
        sum_rows(x, mean);
        let share = 1.0 / (x.len() / channels) as f32;
        for mean in mean.iter_mut() {
            *mean *= share;
        }
        for row in x.chunks_exact(channels) {
            for ((x, mean), square) in row.iter().zip(&*mean).zip(squares.iter_mut()) {
                *square += (x - mean) * (x - mean);
            }
        }
    }

    /// `y = (x − mean) · scale + shift`.
    pub(crate) fn normalize(x: &[f32], mean: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
        let channels = mean.len();
        let (scale, shift) = (&scale[..channels], &shift[..channels]);
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
            }
        }
    }

    /// The same, with negative results set to zero.
    fn normalize_relu(x: &[f32], mean: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
        let channels = mean.len();
        let (scale, shift) = (&scale[..channels], &shift[..channels]);
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                let z = (x[c] - mean[c]) * scale[c] + shift[c];
                y[c] = if z < 0.0 { 0.0 } else { z };
            }
        }
    }
}

/// What a normalisation writes: its result, or what its epilogue makes of that.
struct Destination {
    /// None where only poolings of it are wanted.
    y: Option<Output<f32>>,
    relu: bool,
    poolings: Poolings,
    /// Numbers of an image.
    image_len: usize,
}

impl Destination {
    fn new(
        x: TensorId,
        y: TensorId,
        epilogue: Option<&Epilogue<'_>>,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        let y = match epilogue {
            None => Some(bind.write(y)),
            Some(epilogue) => epilogue.stored.then(|| bind.write(epilogue.relu.y)),
        };
        let image_len = bind.rows_per_example(x) * bind.tensors().channels(x);
        Self { y, relu: epilogue.is_some(), poolings: Poolings::new(epilogue, bind), image_len }
    }

    /// Numbers of scratch memory for each thread.
    fn per_thread(&self) -> usize {
        if self.y.is_none() { self.image_len } else { 0 }
    }

    /// Writes `(x − mean) · scale + shift`, and does the poolings while an image is in the cache.
    fn write(
        &mut self,
        x: &[f32],
        mean: &[f32],
        scale: &[f32],
        shift: &[f32],
        buffers: &ThreadBuffers,
    ) {
        let Self { y, relu, poolings, image_len: len } = self;
        let (len, kernel) = (*len, if *relu { normalize_relu } else { normalize });
        if x.is_empty() {
            return;
        }
        let images = items_per_chunk(len);
        let Some(y) = y else {
            let chunks = poolings.chunks(images, x.len() / len).zip(x.par_chunks(images * len));
            return chunks.for_each(|(mut pooled, x)| {
                buffers.with(|slot| {
                    for (i, x) in x.chunks_exact(len).enumerate() {
                        kernel(x, mean, scale, shift, &mut slot[..len]);
                        pooled.image(i, &slot[..len]);
                    }
                });
            });
        };
        let y = y.get();
        if poolings.is_empty() {
            let chunk = chunk_len(mean.len());
            return for_chunks(chunk, x, y, |x, y| kernel(x, mean, scale, shift, y));
        }
        let chunks = y.par_chunks_mut(images * len).zip(x.par_chunks(images * len));
        poolings.chunks(images, x.len() / len).zip(chunks).for_each(|(mut pooled, (y, x))| {
            for (i, (y, x)) in y.chunks_exact_mut(len).zip(x.chunks_exact(len)).enumerate() {
                kernel(x, mean, scale, shift, y);
                pooled.image(i, y);
            }
        });
    }
}

kernel! {
    /// Training, and the epilogue that follows.
    BatchNorm {
        x: Input<f32>,
        gamma: Input<f32>,
        beta: Input<f32>,
        mean: Output<f32>,
        inv_std: Output<f32>,
        running_mean: Output<f32>,
        running_var: Output<f32>,
    }
    with |op, bind, epilogue: Option<&Epilogue<'_>>| {
        to: Destination = Destination::new(op.x, op.y, epilogue, bind),
        momentum: f64 = op.momentum,
        epsilon: f64 = op.epsilon,
        rows: usize = bind.tensors().rows(op.x),
        channels: usize = bind.tensors().channels(op.x),
    }
}

impl Kernel for BatchNorm {
    fn scratch_size(&self) -> ScratchSize {
        let step = reduction_rows(self.channels);
        let shared = self.channels + reduction_len(self.rows, step, 2 * self.channels);
        ScratchSize { shared, per_thread: self.to.per_thread(), tables: 0 }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, channels) = (self.rows, self.channels);
        let (x, gamma, beta) = (self.x.get(), self.gamma.get(), self.beta.get());
        let (mean, inv_std) = (self.mean.get(), self.inv_std.get());
        let (running_mean, running_var) = (self.running_mean.get(), self.running_var.get());
        let (scale, scratch) = work.shared.split_at_mut(channels);
        let step = reduction_rows(channels);
        let parts = reduce_rows(rows, step, 2 * channels, scratch, |first, rows, part| {
            moments(&x[first * channels..][..rows * channels], part);
        });
        let n = rows as f64;
        for c in 0..channels {
            let parts = parts.clone().enumerate();
            let count = |i: usize| step.min(rows - i * step) as f64;
            let sum: f64 = parts.clone().map(|(i, part)| f64::from(part[c]) * count(i)).sum();
            let batch_mean = sum / n;
            let squares: f64 = parts
                .map(|(i, part)| {
                    let offset = f64::from(part[c]) - batch_mean;
                    f64::from(part[channels + c]) + count(i) * offset * offset
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
        self.to.write(x, mean, scale, beta, work.buffers);
    }
}

kernel! {
    /// Prediction, and the epilogue that follows.
    BatchNormInference {
        x: Input<f32>,
        gamma: Input<f32>,
        beta: Input<f32>,
        running_mean: Input<f32>,
        running_var: Input<f32>,
    }
    with |op, bind, epilogue: Option<&Epilogue<'_>>| {
        to: Destination = Destination::new(op.x, op.y, epilogue, bind),
        epsilon: f64 = op.epsilon,
    }
}

impl Kernel for BatchNormInference {
    fn scratch_size(&self) -> ScratchSize {
        let shared = self.gamma.get().len();
        ScratchSize { shared, per_thread: self.to.per_thread(), tables: 0 }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (x, gamma, beta) = (self.x.get(), self.gamma.get(), self.beta.get());
        let (mean, variance) = (self.running_mean.get(), self.running_var.get());
        let scale = &mut work.shared[..gamma.len()];
        for ((scale, &gamma), &variance) in scale.iter_mut().zip(gamma).zip(variance) {
            *scale = (f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt()) as f32;
        }
        self.to.write(x, mean, scale, beta, work.buffers);
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
