//! Batch normalisation, alone and with the ReLU that follows it.
//!
//! Statistics take one pass over memory: each piece of rows gives its mean and its sum of squared
//! deviations while it is in the cache, and the pieces are joined in double precision (Chan's
//! formula), so that a large mean costs no accuracy.

use lfnn_core::program::{BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, TensorId};
use rayon::prelude::*;

use super::columns::{reduce_rows, reduction_len, sum_rows};
use crate::memory::{Binder, In, Out};
use crate::simd::vectorized;
use crate::work::{Kernel, Needs, Workspace, piece};

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
    fn normalize(x: &[f32], mean: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
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
}

/// Training, and a ReLU behind it where one follows.
pub(crate) struct Forward {
    x: In<f32>,
    gamma: In<f32>,
    beta: In<f32>,
    y: Out<f32>,
    mean: Out<f32>,
    inv_std: Out<f32>,
    running_mean: Out<f32>,
    running_var: Out<f32>,
    momentum: f64,
    epsilon: f64,
    relu: bool,
    rows: usize,
    columns: usize,
}

impl Forward {
    /// `activated` is the output of the ReLU, if one follows.
    pub(crate) fn new(
        op: &BatchNorm,
        activated: Option<TensorId>,
        bind: &mut Binder<'_>,
    ) -> Self {
        Self {
            x: bind.read(op.x),
            gamma: bind.read(op.gamma),
            beta: bind.read(op.beta),
            y: bind.write(activated.unwrap_or(op.y)),
            mean: bind.write(op.mean),
            inv_std: bind.write(op.inv_std),
            running_mean: bind.write(op.running_mean),
            running_var: bind.write(op.running_var),
            momentum: op.momentum,
            epsilon: op.epsilon,
            relu: activated.is_some(),
            rows: bind.tensors().rows(op.x),
            columns: bind.tensors().channels(op.x),
        }
    }
}

impl Kernel for Forward {
    fn needs(&self) -> Needs {
        let shared = self.columns + reduction_len(self.rows, self.columns, 2 * self.columns);
        Needs { shared, ..Needs::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, columns) = (self.rows, self.columns);
        let (x, gamma, beta) = (self.x.get(), self.gamma.get(), self.beta.get());
        let (mean, inv_std) = (self.mean.get(), self.inv_std.get());
        let (running_mean, running_var) = (self.running_mean.get(), self.running_var.get());
        let (scale, scratch) = work.shared.split_at_mut(columns);
        let parts = reduce_rows(rows, columns, 2 * columns, scratch, |first, rows, part| {
            moments(&x[first * columns..][..rows * columns], part);
        });
        let step = super::columns::reduction_rows(columns);
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
            let step = |running: f32, batch: f64| {
                ((1.0 - self.momentum) * f64::from(running) + self.momentum * batch) as f32
            };
            running_mean[c] = step(running_mean[c], batch_mean);
            running_var[c] = step(running_var[c], squares / (n - 1.0));
        }
        let (mean, scale) = (&*mean, &*scale);
        let kernel = if self.relu { normalize_relu } else { normalize };
        let piece = piece(columns);
        let x = x.par_chunks(piece);
        self.y.get().par_chunks_mut(piece).zip(x).for_each(|(y, x)| kernel(x, mean, scale, beta, y));
    }
}

/// Prediction, and a ReLU behind it where one follows.
pub(crate) struct Inference {
    x: In<f32>,
    gamma: In<f32>,
    beta: In<f32>,
    running_mean: In<f32>,
    running_var: In<f32>,
    y: Out<f32>,
    epsilon: f64,
    relu: bool,
    columns: usize,
}

impl Inference {
    /// `activated` is the output of the ReLU, if one follows.
    pub(crate) fn new(
        op: &BatchNormInference,
        activated: Option<TensorId>,
        bind: &mut Binder<'_>,
    ) -> Self {
        Self {
            x: bind.read(op.x),
            gamma: bind.read(op.gamma),
            beta: bind.read(op.beta),
            running_mean: bind.read(op.running_mean),
            running_var: bind.read(op.running_var),
            y: bind.write(activated.unwrap_or(op.y)),
            epsilon: op.epsilon,
            relu: activated.is_some(),
            columns: bind.tensors().channels(op.x),
        }
    }
}

impl Kernel for Inference {
    fn needs(&self) -> Needs {
        Needs { shared: self.columns, ..Needs::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (x, gamma, beta) = (self.x.get(), self.gamma.get(), self.beta.get());
        let (mean, variance) = (self.running_mean.get(), self.running_var.get());
        let scale = &mut work.shared[..self.columns];
        for ((scale, &gamma), &variance) in scale.iter_mut().zip(gamma).zip(variance) {
            *scale = (f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt()) as f32;
        }
        let scale = &*scale;
        let kernel = if self.relu { normalize_relu } else { normalize };
        let piece = piece(self.columns);
        let x = x.par_chunks(piece);
        self.y.get().par_chunks_mut(piece).zip(x).for_each(|(y, x)| kernel(x, mean, scale, beta, y));
    }
}

/// Backward, and the ReLU before it where the gradient comes through one.
pub(crate) struct Grad {
    x: In<f32>,
    mean: In<f32>,
    inv_std: In<f32>,
    gamma: In<f32>,
    dy: In<f32>,
    /// The output of the ReLU.
    activated: Option<In<f32>>,
    dx: Option<Out<f32>>,
    dgamma: Option<Out<f32>>,
    dbeta: Option<Out<f32>>,
    rows: usize,
    columns: usize,
}

impl Grad {
    /// With a ReLU: its output and the gradient of its output.
    pub(crate) fn new(
        op: &BatchNormGrad,
        relu: Option<(TensorId, TensorId)>,
        bind: &mut Binder<'_>,
    ) -> Self {
        Self {
            x: bind.read(op.x),
            mean: bind.read(op.mean),
            inv_std: bind.read(op.inv_std),
            gamma: bind.read(op.gamma),
            dy: bind.read(relu.map_or(op.dy, |(_, dy)| dy)),
            activated: relu.map(|(y, _)| bind.read(y)),
            dx: op.dx.map(|dx| bind.write(dx)),
            dgamma: op.dgamma.map(|dgamma| bind.write(dgamma)),
            dbeta: op.dbeta.map(|dbeta| bind.write(dbeta)),
            rows: bind.tensors().rows(op.x),
            columns: bind.tensors().channels(op.x),
        }
    }
}

impl Kernel for Grad {
    fn needs(&self) -> Needs {
        let shared = 3 * self.columns + reduction_len(self.rows, self.columns, 2 * self.columns);
        Needs { shared, ..Needs::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (rows, columns) = (self.rows, self.columns);
        let (x, dy) = (self.x.get(), self.dy.get());
        let (mean, inv_std, gamma) = (self.mean.get(), self.inv_std.get(), self.gamma.get());
        let activated = self.activated.as_ref().map(In::get);
        let (factors, scratch) = work.shared.split_at_mut(3 * columns);
        let parts = reduce_rows(rows, columns, 2 * columns, scratch, |first, rows, part| {
            let piece = first * columns..(first + rows) * columns;
            let (x, dy) = (&x[piece.clone()], &dy[piece.clone()]);
            match activated {
                Some(a) => projections_masked(x, dy, &a[piece], mean, inv_std, part),
                None => projections(x, dy, mean, inv_std, part),
            }
        });
        let (factor, means) = factors.split_at_mut(columns);
        let (first, second) = means.split_at_mut(columns);
        let total =
            |c: usize| parts.clone().map(|part| f64::from(part[c])).sum::<f64>();
        if let (Some(dgamma), Some(dbeta)) = (&mut self.dgamma, &mut self.dbeta) {
            let (dgamma, dbeta) = (dgamma.get(), dbeta.get());
            for c in 0..columns {
                dbeta[c] = total(c) as f32;
                dgamma[c] = total(columns + c) as f32;
            }
        }
        let Some(dx) = &mut self.dx else { return };
        for c in 0..columns {
            factor[c] = gamma[c] * inv_std[c];
            first[c] = (total(c) / rows as f64) as f32;
            second[c] = (total(columns + c) / rows as f64 * f64::from(inv_std[c])) as f32;
        }
        let (factor, first, second) = (&*factor, &*first, &*second);
        let piece = piece(columns);
        dx.get().par_chunks_mut(piece).enumerate().for_each(|(i, dx)| {
            let here = i * piece..i * piece + dx.len();
            let (x, dy) = (&x[here.clone()], &dy[here.clone()]);
            match activated {
                Some(a) => project_masked(x, dy, &a[here], mean, factor, first, second, dx),
                None => project(x, dy, mean, factor, first, second, dx),
            }
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
    pub(crate) fn new(op: &BatchNormTangent, bind: &mut Binder<'_>) -> Self {
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
    fn needs(&self) -> Needs {
        let shared = 3 * self.columns + reduction_len(self.rows, self.columns, 2 * self.columns);
        Needs { shared, ..Needs::default() }
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
            let parts = reduce_rows(rows, columns, 2 * columns, scratch, |first, rows, part| {
                let piece = first * columns..(first + rows) * columns;
                projections(&x[piece.clone()], &dx[piece], mean, inv_std, part);
            });
            let share = |c: usize| {
                parts.clone().map(|part| f64::from(part[c])).sum::<f64>() / rows as f64
            };
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
