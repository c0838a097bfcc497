//! Similarity matching, from its definition.

use super::Execute;
use super::store::{Store, at};
use lfnn_core::program::{
    DType, Deviation, DeviationGrad, DeviationTangent, NormalizeRows, NormalizeRowsGrad,
    ROW_EPSILON, SimilarityLoss, TensorId,
};

/// Calls `f` for each image and channel: with the place of their number in a tensor `[batch, channels]`, and those of
/// their positions in `x`.
fn each_channel(s: &Store, x: TensorId, mut f: impl FnMut(usize, Vec<usize>)) {
    let extents = s.image(x);
    let [batch, height, width, channels] = extents;
    for i in 0..batch * channels {
        let (image, channel) = (i / channels, i % channels);
        let of_row = |y| (0..width).map(move |x| at(extents, [image, y, x, channel]));
        f(i, (0..height).flat_map(of_row).collect());
    }
}

/// Means and standard deviations over positions.
impl Execute for Deviation {
    fn execute(&self, s: &mut Store) {
        let (mut means, mut deviations) = (Vec::new(), Vec::new());
        each_channel(s, self.x, |_, positions| {
            let n = positions.len() as f64;
            let mean = positions.iter().map(|&p| s.real(self.x)[p]).sum::<f64>() / n;
            let squares = positions.iter().map(|&p| (s.real(self.x)[p] - mean).powi(2));
            deviations.push((squares.sum::<f64>() / (n - 1.0)).sqrt());
            means.push(mean);
        });
        s.set_real(self.mean, means);
        s.set_real(self.y, deviations);
    }
}

/// The derivative of a standard deviation with respect to one of its numbers.
fn slope(distance: f64, positions: usize, deviation: f64) -> f64 {
    if deviation == 0.0 { 0.0 } else { distance / ((positions as f64 - 1.0) * deviation) }
}

impl Execute for DeviationGrad {
    fn execute(&self, s: &mut Store) {
        let mut dx = vec![0.0; s.real(self.x).len()];
        each_channel(s, self.x, |i, positions| {
            for &p in &positions {
                let distance = s.real(self.x)[p] - s.real(self.mean)[i];
                let slope = slope(distance, positions.len(), s.real(self.y)[i]);
                dx[p] = s.real(self.dy)[i] * slope;
            }
        });
        s.set_real(self.dx, dx);
    }
}

impl Execute for DeviationTangent {
    fn execute(&self, s: &mut Store) {
        let mut dy = Vec::new();
        each_channel(s, self.x, |i, positions| {
            let of = |&p: &usize| {
                let distance = s.real(self.x)[p] - s.real(self.mean)[i];
                s.real(self.dx)[p] * slope(distance, positions.len(), s.real(self.y)[i])
            };
            dy.push(positions.iter().map(of).sum());
        });
        s.set_real(self.dy, dy);
    }
}

/// A row minus its mean.
fn centred(row: &[f64]) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(|x| x - mean).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Execute for NormalizeRows {
    fn execute(&self, s: &mut Store) {
        let rows = s.real(self.x).chunks(s.channels(self.x)).map(centred);
        let (norms, rows): (Vec<f64>, Vec<Vec<f64>>) = rows
            .map(|row| {
                let norm = dot(&row, &row).sqrt();
                (norm, row.iter().map(|c| c / (norm + ROW_EPSILON)).collect())
            })
            .unzip();
        s.set_real(self.norm, norms);
        s.set_real(self.y, rows.concat());
    }
}

/// Centring, then the derivative of `c / (‖c‖ + ε)`: `c' / (‖c‖ + ε) − c (c · c') / (‖c‖ (‖c‖ + ε)²)`.
impl Execute for NormalizeRowsGrad {
    fn execute(&self, s: &mut Store) {
        let width = s.channels(self.y);
        let rows = s.real(self.y).chunks(width).zip(s.real(self.dy).chunks(width));
        let mut dx = Vec::new();
        for ((y, dy), &norm) in rows.zip(s.real(self.norm)) {
            let length = norm + ROW_EPSILON;
            let c: Vec<f64> = y.iter().map(|y| y * length).collect();
            let dc = centred(dy);
            let along = if norm == 0.0 { 0.0 } else { dot(&c, &dc) / (norm * length * length) };
            let share = if norm == 0.0 { 0.0 } else { 1.0 / length };
            dx.extend(dc.iter().zip(&c).map(|(dc, c)| dc * share - c * along));
        }
        s.set_real(self.dx, dx);
    }
}

impl Execute for SimilarityLoss {
    fn execute(&self, s: &mut Store) {
        let batch = s.batch(self.similarity);
        let is_real = s.tensors()[self.target].dtype == DType::Real;
        let of_target = |b: usize, j: usize| {
            if is_real {
                return s.real(self.target)[b * batch + j];
            }
            let labels = s.whole(self.target);
            if labels[b] == labels[j] { 1.0 } else { -1.0 / (self.classes as f64 - 1.0) }
        };
        let (mut gradient, mut losses) = (Vec::new(), Vec::new());
        for b in 0..batch {
            let row = (0..batch).map(|j| s.real(self.similarity)[b * batch + j] - of_target(b, j));
            let row: Vec<f64> = row.collect();
            losses.push(dot(&row, &row) / batch as f64);
            gradient.extend(row.iter().map(|d| 4.0 * self.weight * d / (batch * batch) as f64));
        }
        s.set_real(self.gradient, gradient);
        s.set_real(self.losses, losses);
    }
}
