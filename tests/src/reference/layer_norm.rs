//! Layer normalisation, from its definition.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{LayerNorm, LayerNormGrad};

fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = numbers.len() as f64;
    numbers.sum::<f64>() / n
}

impl Execute for LayerNorm {
    fn execute(&self, s: &mut Store) {
        let (mut y, mut inv_stds) = (Vec::new(), Vec::new());
        for run in s.real(self.x).chunks(self.width) {
            let centre = mean(run.iter().copied());
            let variance = mean(run.iter().map(|x| (x - centre).powi(2)));
            let std = (variance + self.epsilon).sqrt();
            y.extend(run.iter().map(|x| (x - centre) / std));
            inv_stds.push(1.0 / std);
        }
        s.set_real(self.y, y);
        s.set_real(self.inv_std, inv_stds);
    }
}

/// `Σ_k dy[k] ∂y[k] / ∂x[i]` with `∂y[k] / ∂x[i] = (δ[k, i] − 1/n − y[k] y[i] / n) · inv_std`.
impl Execute for LayerNormGrad {
    fn execute(&self, s: &mut Store) {
        let runs = s.real(self.y).chunks(self.width).zip(s.real(self.dy).chunks(self.width));
        let mut dx = Vec::new();
        for ((y, dy), &inv_std) in runs.zip(s.real(self.inv_std)) {
            let n = y.len() as f64;
            dx.extend((0..y.len()).map(|i| {
                let derivative = |k: usize| f64::from(k == i) - (1.0 + y[k] * y[i]) / n;
                (0..y.len()).map(|k| dy[k] * derivative(k)).sum::<f64>() * inv_std
            }));
        }
        s.set_real(self.dx, dx);
    }
}
