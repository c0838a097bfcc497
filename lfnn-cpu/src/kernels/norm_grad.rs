//! The backward and forward-mode rules of batch normalisation.
//!
//! Backward takes two passes: sums over all rows, then the gradient itself. Where the gradient comes
//! through a ReLU, both passes mask it, by the sign of what is normalised where that can be had again. Where it comes through a pooling or a filter worker before
//! that, both passes spread it over an image in the cache, and the spread gradient, the largest
//! tensor of a unit's backward rule, is never stored.

use lfnn_core::program::{BatchNormGrad, BatchNormTangent};
use rayon::prelude::*;

use super::columns::{reduce_rows, reduction_len, reduction_rows};
use super::norm::normalize;
use super::pool::PoolGrad;
use super::workers::FiltersGrad;
use crate::memory::{BufferResolver, In, Out};
use crate::simd::vectorized;
use crate::work::{GRAIN, Kernel, ScratchSize, ThreadBuffers, Workspace, piece};

vectorized! {
    /// Adds `Σ d` and `Σ d x̂` to the two halves of `part`.
    fn projections(x: &[f32], d: &[f32], mean: &[f32], inv_std: &[f32], part: &mut [f32]) {
        let columns = mean.len();
        let inv_std = &inv_std[..columns];
        let (sums, products) = part.split_at_mut(columns);
        let (sums, products) = (&mut sums[..columns], &mut products[..columns]);
        for (x, d) in x.chunks_exact(columns).zip(d.chunks_exact(columns)) {
            for c in 0..columns {
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
        let columns = mean.len();
        let inv_std = &inv_std[..columns];
        let (sums, products) = part.split_at_mut(columns);
        let (sums, products) = (&mut sums[..columns], &mut products[..columns]);
        let rows = x.chunks_exact(columns).zip(d.chunks_exact(columns));
        for ((x, d), a) in rows.zip(a.chunks_exact(columns)) {
            for c in 0..columns {
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
        let columns = mean.len();
        let (inv_std, factor, beta) = (&inv_std[..columns], &factor[..columns], &beta[..columns]);
        let (sums, products) = part.split_at_mut(columns);
        let (sums, products) = (&mut sums[..columns], &mut products[..columns]);
        for (x, d) in x.chunks_exact(columns).zip(d.chunks_exact(columns)) {
            for c in 0..columns {
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
        let columns = mean.len();
        let (factor, first, second) = (&factor[..columns], &first[..columns], &second[..columns]);
        let rows = x.chunks_exact(columns).zip(d.chunks_exact(columns));
        for (out, (x, d)) in out.chunks_exact_mut(columns).zip(rows) {
            for c in 0..columns {
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
        let columns = mean.len();
        let (factor, first, second) = (&factor[..columns], &first[..columns], &second[..columns]);
        let rows = x.chunks_exact(columns).zip(d.chunks_exact(columns));
        for ((out, (x, d)), a) in out.chunks_exact_mut(columns).zip(rows).zip(a.chunks_exact(columns))
        {
            for c in 0..columns {
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
        let columns = mean.len();
        let (factor, beta) = (&factor[..columns], &beta[..columns]);
        let (first, second) = (&first[..columns], &second[..columns]);
        let rows = x.chunks_exact(columns).zip(d.chunks_exact(columns));
        for (out, (x, d)) in out.chunks_exact_mut(columns).zip(rows) {
            for c in 0..columns {
                let centred = x[c] - mean[c];
                let d = if centred * factor[c] + beta[c] > 0.0 { d[c] } else { 0.0 };
                out[c] = factor[c] * (d - first[c] - centred * second[c]);
            }
        }
    }
}

/// Where the gradient passes, if it comes through a ReLU.
pub(crate) enum Mask {
    /// Everywhere: there is none.
    Nothing,
    /// Where its output is positive.
    Activated(In<f32>),
    /// The same, found by normalising again, with this β: the arithmetic is that of the forward pass, and
    /// so is every bit.
    Normalized(In<f32>),
}

/// Where the gradient of the output, or of the ReLU behind it, comes from.
pub(crate) enum Upstream {
    /// It is stored.
    Stored(In<f32>),
    /// It is the gradient of a pooling.
    Pool(PoolGrad),
    /// It is the gradient of filter workers.
    Filters(FiltersGrad),
}

impl Upstream {
    /// Calls `f` with the gradient of a piece that begins at row `first`: whole images, unless it is
    /// stored.
    fn with(
        &self,
        first: usize,
        rows: usize,
        columns: usize,
        image: usize,
        buffers: &ThreadBuffers,
        f: impl FnOnce(&[f32]),
    ) {
        let spread = |to: &mut [f32], f: &dyn Fn(usize, &mut [f32])| {
            for (i, to) in to.chunks_exact_mut(image * columns).enumerate() {
                f(first / image + i, to);
            }
        };
        let len = rows * columns;
        match self {
            Upstream::Stored(dy) => f(&dy.get()[first * columns..][..len]),
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

/// Backward, and the ReLU before it where the gradient comes through one.
pub(crate) struct Grad {
    x: In<f32>,
    mean: In<f32>,
    inv_std: In<f32>,
    gamma: In<f32>,
    upstream: Upstream,
    mask: Mask,
    dx: Option<Out<f32>>,
    dgamma: Option<Out<f32>>,
    dbeta: Option<Out<f32>>,
    rows: usize,
    columns: usize,
    /// Rows of an image.
    image: usize,
}

impl Grad {
    pub(crate) fn new(
        op: &BatchNormGrad,
        mask: Mask,
        upstream: Upstream,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        let rows = bind.tensors().rows(op.x);
        Self {
            x: bind.read(op.x),
            mean: bind.read(op.mean),
            inv_std: bind.read(op.inv_std),
            gamma: bind.read(op.gamma),
            upstream,
            mask,
            dx: op.dx.map(|dx| bind.write(dx)),
            dgamma: op.dgamma.map(|dgamma| bind.write(dgamma)),
            dbeta: op.dbeta.map(|dbeta| bind.write(dbeta)),
            rows,
            columns: bind.tensors().channels(op.x),
            image: rows.checked_div(bind.tensor(op.x).shape[0]).unwrap_or(0),
        }
    }

    /// Rows of a piece.
    fn step(&self) -> usize {
        match self.upstream {
            Upstream::Stored(_) => reduction_rows(self.columns),
            _ => (GRAIN / (self.image * self.columns).max(1)).max(1) * self.image.max(1),
        }
    }
}

impl Kernel for Grad {
    fn scratch_size(&self) -> ScratchSize {
        let shared = 3 * self.columns + reduction_len(self.rows, self.step(), 2 * self.columns);
        let each = match self.upstream {
            Upstream::Stored(_) => 0,
            _ => self.step().min(self.rows) * self.columns,
        };
        ScratchSize { shared, each, ..ScratchSize::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, columns, image, step) = (self.rows, self.columns, self.image, self.step());
        let (x, upstream, buffers) = (self.x.get(), &self.upstream, work.buffers);
        let (mean, inv_std, gamma) = (self.mean.get(), self.inv_std.get(), self.gamma.get());
        let mask = &self.mask;
        let (factors, scratch) = work.shared.split_at_mut(3 * columns);
        let (factor, means) = factors.split_at_mut(columns);
        for ((factor, gamma), inv_std) in factor.iter_mut().zip(gamma).zip(inv_std) {
            *factor = gamma * inv_std;
        }
        let factor = &*factor;
        let parts = reduce_rows(rows, step, 2 * columns, scratch, |first, rows, part| {
            upstream.with(first, rows, columns, image, buffers, |dy| {
                let piece = first * columns..(first + rows) * columns;
                let x = &x[piece.clone()];
                match mask {
                    Mask::Nothing => projections(x, dy, mean, inv_std, part),
                    Mask::Activated(a) => {
                        projections_masked(x, dy, &a.get()[piece], mean, inv_std, part);
                    }
                    Mask::Normalized(beta) => {
                        projections_again(x, dy, mean, inv_std, factor, beta.get(), part);
                    }
                }
            });
        });
        let (first, second) = means.split_at_mut(columns);
        let total = |c: usize| parts.clone().map(|part| f64::from(part[c])).sum::<f64>();
        for c in 0..columns {
            let (sum, product) = (total(c), total(columns + c));
            if let (Some(dgamma), Some(dbeta)) = (&mut self.dgamma, &mut self.dbeta) {
                dbeta.get()[c] = sum as f32;
                dgamma.get()[c] = product as f32;
            }
            first[c] = (sum / rows as f64) as f32;
            second[c] = (product / rows as f64 * f64::from(inv_std[c])) as f32;
        }
        let Some(dx) = &mut self.dx else { return };
        let (first, second) = (&*first, &*second);
        let pieces = dx.get().par_chunks_mut((step * columns).max(1)).enumerate();
        pieces.for_each(|(i, dx)| {
            let start = i * step * columns;
            let here = start..start + dx.len();
            upstream.with(i * step, dx.len() / columns, columns, image, buffers, |dy| {
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

/// Forward mode.
pub(crate) struct Tangent {
    x: In<f32>,
    mean: In<f32>,
    inv_std: In<f32>,
    gamma: In<f32>,
    dx: Option<In<f32>>,
    dgamma: Option<In<f32>>,
    dbeta: Option<In<f32>>,
    dy: Out<f32>,
    rows: usize,
    columns: usize,
}

impl Tangent {
    pub(crate) fn new(op: &BatchNormTangent, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            x: bind.read(op.x),
            mean: bind.read(op.mean),
            inv_std: bind.read(op.inv_std),
            gamma: bind.read(op.gamma),
            dx: op.dx.map(|dx| bind.read(dx)),
            dgamma: op.dgamma.map(|dgamma| bind.read(dgamma)),
            dbeta: op.dbeta.map(|dbeta| bind.read(dbeta)),
            dy: bind.write(op.dy),
            rows: bind.tensors().rows(op.x),
            columns: bind.tensors().channels(op.x),
        }
    }
}

impl Kernel for Tangent {
    fn scratch_size(&self) -> ScratchSize {
        let shared = 3 * self.columns
            + reduction_len(self.rows, reduction_rows(self.columns), 2 * self.columns);
        ScratchSize { shared, ..ScratchSize::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, columns) = (self.rows, self.columns);
        let (x, dx) = (self.x.get(), self.dx.as_ref().map(In::get));
        let (mean, inv_std, gamma) = (self.mean.get(), self.inv_std.get(), self.gamma.get());
        let (factors, scratch) = work.shared.split_at_mut(3 * columns);
        let (factor, rest) = factors.split_at_mut(columns);
        // ẏ = factor · ẋ + slope · (x − mean) + offset.
        let (slope, offset) = rest.split_at_mut(columns);
        slope.fill(0.0);
        offset.fill(0.0);
        if let Some(dx) = dx {
            let step = reduction_rows(columns);
            let parts = reduce_rows(rows, step, 2 * columns, scratch, |first, rows, part| {
                let piece = first * columns..(first + rows) * columns;
                projections(&x[piece.clone()], &dx[piece], mean, inv_std, part);
            });
            let share =
                |c: usize| parts.clone().map(|part| f64::from(part[c])).sum::<f64>() / rows as f64;
            for c in 0..columns {
                factor[c] = gamma[c] * inv_std[c];
                let factor = f64::from(factor[c]);
                slope[c] = (-factor * share(columns + c) * f64::from(inv_std[c])) as f32;
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
        let piece = piece(columns);
        self.dy.get().par_chunks_mut(piece).enumerate().for_each(|(i, dy)| {
            let here = i * piece..i * piece + dy.len();
            normalize(&x[here.clone()], mean, slope, offset, dy);
            if let Some(dx) = dx {
                add_scaled(&dx[here], factor, dy);
            }
        });
    }
}

vectorized! {
    /// Adds `x · factor` by columns.
    fn add_scaled(x: &[f32], factor: &[f32], y: &mut [f32]) {
        let columns = factor.len();
        for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
            for c in 0..columns {
                y[c] += x[c] * factor[c];
            }
        }
    }
}
