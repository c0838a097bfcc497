//! The backward and forward-mode rules of batch normalisation.
//!
//! Backward takes two passes: sums over all rows, then the gradient itself. Where the gradient comes
//! through a ReLU, both passes mask it, by the sign of what is normalised where that can be computed again. Where it
//! comes through a pooling or a filter worker before that, both passes spread it over an image in the cache, and the
//! spread gradient, the largest tensor of a unit's backward rule, is never stored.

use lfnn_core::program::fusion::{self, FusedNormGrad};
use rayon::prelude::*;

use super::norm::normalize;
use super::pool::PoolRule;
use super::reduce::{reduce_rows, reduction_len, reduction_rows};
use super::workers::LogitsGradRule;
use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{
    Kernel, ScratchSize, ThreadBuffers, Workspace, chunk_len, items_per_chunk, kernel,
};

vectorized! {
    /// Adds `Σ d` and `Σ d x̂` to the two halves of `part`.
    fn projections(x: &[f32], d: &[f32], mean: &[f32], inv_std: &[f32], part: &mut [f32]) {
        let channels = mean.len();
        let inv_std = &inv_std[..channels];
        let (sums, products) = part.split_at_mut(channels);
        let (sums, products) = (&mut sums[..channels], &mut products[..channels]);
        for (x, d) in x.chunks_exact(channels).zip(d.chunks_exact(channels)) {
            for c in 0..channels {
                sums[c] += d[c];
                products[c] += d[c] * ((x[c] - mean[c]) * inv_std[c]);
            }
        }
    }

    /// The same with d where the activation `a` is positive and 0 elsewhere.
    fn projections_masked(
        x: &[f32],
        d: &[f32],
        a: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        part: &mut [f32],
    ) {
        let channels = mean.len();
        let inv_std = &inv_std[..channels];
        let (sums, products) = part.split_at_mut(channels);
        let (sums, products) = (&mut sums[..channels], &mut products[..channels]);
        let rows = x.chunks_exact(channels).zip(d.chunks_exact(channels));
        for ((x, d), a) in rows.zip(a.chunks_exact(channels)) {
            for c in 0..channels {
                let d = if a[c] > 0.0 { d[c] } else { 0.0 };
                sums[c] += d;
                products[c] += d * ((x[c] - mean[c]) * inv_std[c]);
            }
        }
    }

    /// The same with d where what is normalised, `(x − mean) · factor + beta`, is positive.
    fn projections_again(
        x: &[f32],
        d: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        factor: &[f32],
        beta: &[f32],
        part: &mut [f32],
    ) {
        let channels = mean.len();
        let (inv_std, factor, beta) = (&inv_std[..channels], &factor[..channels], &beta[..channels]);
        let (sums, products) = part.split_at_mut(channels);
        let (sums, products) = (&mut sums[..channels], &mut products[..channels]);
        for (x, d) in x.chunks_exact(channels).zip(d.chunks_exact(channels)) {
            for c in 0..channels {
                let centred = x[c] - mean[c];
                let d = if centred * factor[c] + beta[c] > 0.0 { d[c] } else { 0.0 };
                sums[c] += d;
                products[c] += d * (centred * inv_std[c]);
            }
        }
    }

    /// `out = factor · (d − first − (x − mean) · second)`.
    fn project(
        x: &[f32],
        d: &[f32],
        mean: &[f32],
        factor: &[f32],
        first: &[f32],
        second: &[f32],
        out: &mut [f32],
    ) {
        let channels = mean.len();
        let (factor, first, second) = (&factor[..channels], &first[..channels], &second[..channels]);
        let rows = x.chunks_exact(channels).zip(d.chunks_exact(channels));
        for (out, (x, d)) in out.chunks_exact_mut(channels).zip(rows) {
            for c in 0..channels {
                out[c] = factor[c] * (d[c] - first[c] - (x[c] - mean[c]) * second[c]);
            }
        }
    }

    /// The same with d where the activation `a` is positive and 0 elsewhere.
    fn project_masked(
        x: &[f32],
        d: &[f32],
        a: &[f32],
        mean: &[f32],
        factor: &[f32],
        first: &[f32],
        second: &[f32],
        out: &mut [f32],
    ) {
        let channels = mean.len();
        let (factor, first, second) = (&factor[..channels], &first[..channels], &second[..channels]);
        let rows = x.chunks_exact(channels).zip(d.chunks_exact(channels));
        for ((out, (x, d)), a) in out.chunks_exact_mut(channels).zip(rows).zip(a.chunks_exact(channels))
        {
            for c in 0..channels {
                let d = if a[c] > 0.0 { d[c] } else { 0.0 };
                out[c] = factor[c] * (d - first[c] - (x[c] - mean[c]) * second[c]);
            }
        }
    }
    /// The same with d where what is normalised, `(x − mean) · factor + beta`, is positive.
    fn project_again(
        x: &[f32],
        d: &[f32],
        mean: &[f32],
        factor: &[f32],
        beta: &[f32],
        first: &[f32],
        second: &[f32],
        out: &mut [f32],
    ) {
        let channels = mean.len();
        let (factor, beta) = (&factor[..channels], &beta[..channels]);
        let (first, second) = (&first[..channels], &second[..channels]);
        let rows = x.chunks_exact(channels).zip(d.chunks_exact(channels));
        for (out, (x, d)) in out.chunks_exact_mut(channels).zip(rows) {
            for c in 0..channels {
                let centred = x[c] - mean[c];
                let d = if centred * factor[c] + beta[c] > 0.0 { d[c] } else { 0.0 };
                out[c] = factor[c] * (d - first[c] - centred * second[c]);
            }
        }
    }
}

/// Where the gradient passes, if it comes through a ReLU.
enum Mask {
    /// Everywhere: there is none.
    Nothing,
    /// Where its output is positive.
    Activated(Input<f32>),
    /// The same, found by normalising again, with this β: the arithmetic is that of the forward pass, and
    /// so is every bit.
    Normalized(Input<f32>),
}

/// Where the gradient of the output, or of the ReLU behind it, comes from.
enum Upstream {
    /// It is stored.
    Stored(Input<f32>),
    /// It is the gradient of a pooling.
    Pool(PoolRule),
    /// It is the gradient of filter workers.
    Filters(LogitsGradRule),
}

impl Upstream {
    /// Calls `f` with the gradient of a chunk that begins at row `first`: whole images, unless it is
    /// stored.
    fn with(
        &self,
        first: usize,
        rows: usize,
        channels: usize,
        image: usize,
        buffers: &ThreadBuffers,
        f: impl FnOnce(&[f32]),
    ) {
        let spread = |to: &mut [f32], f: &dyn Fn(usize, &mut [f32])| {
            for (i, to) in to.chunks_exact_mut(image * channels).enumerate() {
                f(first / image + i, to);
            }
        };
        let len = rows * channels;
        match self {
            Upstream::Stored(dy) => f(&dy.get()[first * channels..][..len]),
            Upstream::Pool(pool) => buffers.with(|slot| {
                spread(&mut slot[..len], &|i, to| pool.image(i, to));
                f(&slot[..len]);
            }),
            Upstream::Filters(filters) => buffers.with(|slot| {
                spread(&mut slot[..len], &|i, to| filters.image(i, to));
                f(&slot[..len]);
            }),
        }
    }
}

kernel! {
    /// Backward, and the rules before it that are fused with it.
    BatchNormGrad {
        x: Input<f32>,
        mean: Input<f32>,
        inv_std: Input<f32>,
        gamma: Input<f32>,
        dx: Option<Output<f32>>,
        dgamma: Option<Output<f32>>,
        dbeta: Option<Output<f32>>,
    }
    with |op, bind, fused: Option<&FusedNormGrad<'_>>| {
        mask: Mask = match fused {
            None => Mask::Nothing,
            Some(FusedNormGrad { beta: Some(beta), .. }) => Mask::Normalized(bind.read(*beta)),
            Some(fused) => Mask::Activated(bind.read(fused.relu.y)),
        },
        upstream: Upstream = match fused.map(|fused| (fused.relu, fused.upstream)) {
            None => Upstream::Stored(bind.read(op.dy)),
            Some((relu, None)) => Upstream::Stored(bind.read(relu.dy)),
            Some((_, Some(fusion::Upstream::MaxPool(op)))) => {
                Upstream::Pool(PoolRule::max_grad(op, bind))
            }
            Some((_, Some(fusion::Upstream::AdaptiveAvgPool(op)))) => {
                Upstream::Pool(PoolRule::adaptive_grad(op, bind))
            }
            Some((_, Some(fusion::Upstream::FilterLogits(op)))) => {
                Upstream::Filters(LogitsGradRule::new(op, bind))
            }
        },
        rows: usize = bind.tensors().rows(op.x),
        channels: usize = bind.tensors().channels(op.x),
        /// Rows of an image.
        image: usize = bind.rows_per_example(op.x),
    }
}

impl BatchNormGrad {
    /// Rows of a chunk.
    fn step(&self) -> usize {
        match self.upstream {
            Upstream::Stored(_) => reduction_rows(self.channels),
            _ => items_per_chunk(self.image * self.channels) * self.image.max(1),
        }
    }
}

impl Kernel for BatchNormGrad {
    fn scratch_size(&self) -> ScratchSize {
        let shared = 3 * self.channels + reduction_len(self.rows, self.step(), 2 * self.channels);
        let per_thread = match self.upstream {
            Upstream::Stored(_) => 0,
            _ => self.step().min(self.rows) * self.channels,
        };
        ScratchSize { shared, per_thread, tables: 0 }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, channels, image, step) = (self.rows, self.channels, self.image, self.step());
        let (x, upstream, buffers) = (self.x.get(), &self.upstream, work.buffers);
        let (mean, inv_std, gamma) = (self.mean.get(), self.inv_std.get(), self.gamma.get());
        let mask = &self.mask;
        let (factors, scratch) = work.shared.split_at_mut(3 * channels);
        let (factor, means) = factors.split_at_mut(channels);
        for ((factor, gamma), inv_std) in factor.iter_mut().zip(gamma).zip(inv_std) {
            *factor = gamma * inv_std;
        }
        let factor = &*factor;
        let parts = reduce_rows(rows, step, 2 * channels, scratch, |first, rows, part| {
            upstream.with(first, rows, channels, image, buffers, |dy| {
                let chunk = first * channels..(first + rows) * channels;
                let x = &x[chunk.clone()];
                match mask {
                    Mask::Nothing => projections(x, dy, mean, inv_std, part),
                    Mask::Activated(a) => {
                        projections_masked(x, dy, &a.get()[chunk], mean, inv_std, part);
                    }
                    Mask::Normalized(beta) => {
                        projections_again(x, dy, mean, inv_std, factor, beta.get(), part);
                    }
                }
            });
        });
        let (first, second) = means.split_at_mut(channels);
        let total = |c: usize| parts.clone().map(|part| f64::from(part[c])).sum::<f64>();
        for c in 0..channels {
            let (sum, product) = (total(c), total(channels + c));
            if let (Some(dgamma), Some(dbeta)) = (&mut self.dgamma, &mut self.dbeta) {
                dbeta.get()[c] = sum as f32;
                dgamma.get()[c] = product as f32;
            }
            first[c] = (sum / rows as f64) as f32;
            second[c] = (product / rows as f64 * f64::from(inv_std[c])) as f32;
        }
        let Some(dx) = &mut self.dx else { return };
        let (first, second) = (&*first, &*second);
        let chunks = dx.get().par_chunks_mut((step * channels).max(1)).enumerate();
        chunks.for_each(|(i, dx)| {
            let start = i * step * channels;
            let here = start..start + dx.len();
            upstream.with(i * step, dx.len() / channels, channels, image, buffers, |dy| {
                let x = &x[here.clone()];
                match mask {
                    Mask::Nothing => project(x, dy, mean, factor, first, second, dx),
                    Mask::Activated(a) => {
                        project_masked(x, dy, &a.get()[here], mean, factor, first, second, dx);
                    }
                    Mask::Normalized(beta) => {
                        project_again(x, dy, mean, factor, beta.get(), first, second, dx);
                    }
                }
            });
        });
    }
}

kernel! {
    /// Forward mode.
    BatchNormTangent {
        x: Input<f32>,
        mean: Input<f32>,
        inv_std: Input<f32>,
        gamma: Input<f32>,
        dx: Option<Input<f32>>,
        dgamma: Option<Input<f32>>,
        dbeta: Option<Input<f32>>,
        dy: Output<f32>,
    }
    with |op, bind| { rows: usize = bind.tensors().rows(op.x), channels: usize = bind.tensors().channels(op.x) }
}

impl Kernel for BatchNormTangent {
    fn scratch_size(&self) -> ScratchSize {
        let shared = 3 * self.channels
            + reduction_len(self.rows, reduction_rows(self.channels), 2 * self.channels);
        ScratchSize::shared(shared)
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, channels) = (self.rows, self.channels);
        let (x, dx) = (self.x.get(), self.dx.as_ref().map(Input::get));
        let (mean, inv_std, gamma) = (self.mean.get(), self.inv_std.get(), self.gamma.get());
        let (factors, scratch) = work.shared.split_at_mut(3 * channels);
        let (factor, rest) = factors.split_at_mut(channels);
        // ẏ = factor · ẋ + slope · (x − mean) + offset.
        let (slope, offset) = rest.split_at_mut(channels);
        slope.fill(0.0);
        offset.fill(0.0);
        if let Some(dx) = dx {
            let step = reduction_rows(channels);
            let parts = reduce_rows(rows, step, 2 * channels, scratch, |first, rows, part| {
                let chunk = first * channels..(first + rows) * channels;
                projections(&x[chunk.clone()], &dx[chunk], mean, inv_std, part);
            });
            let share =
                |c: usize| parts.clone().map(|part| f64::from(part[c])).sum::<f64>() / rows as f64;
            for c in 0..channels {
                factor[c] = gamma[c] * inv_std[c];
                let factor = f64::from(factor[c]);
                slope[c] = (-factor * share(channels + c) * f64::from(inv_std[c])) as f32;
                offset[c] = (-factor * share(c)) as f32;
            }
        }
        if let Some(dgamma) = &self.dgamma {
            for ((slope, dgamma), inv_std) in slope.iter_mut().zip(dgamma.get()).zip(inv_std) {
                *slope += dgamma * inv_std;
            }
        }
        if let Some(dbeta) = &self.dbeta {
            for (offset, dbeta) in offset.iter_mut().zip(dbeta.get()) {
                *offset += dbeta;
            }
        }
        let (factor, slope, offset) = (&*factor, &*slope, &*offset);
        let chunk = chunk_len(channels);
        self.dy.get().par_chunks_mut(chunk).enumerate().for_each(|(i, dy)| {
            let here = i * chunk..i * chunk + dy.len();
            normalize(&x[here.clone()], mean, slope, offset, dy);
            if let Some(dx) = dx {
                add_scaled(&dx[here], factor, dy);
            }
        });
    }
}

vectorized! {
    /// Adds `x · factor`, a factor for each channel.
    fn add_scaled(x: &[f32], factor: &[f32], y: &mut [f32]) {
        let channels = factor.len();
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                y[c] += x[c] * factor[c];
            }
        }
    }
}
