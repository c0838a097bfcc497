//! Batch normalisation: every channel on its own.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{
    BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, TensorId,
};

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Channel `c` of a tensor, over all rows.
fn column(s: &Store, id: TensorId, c: usize) -> Vec<f64> {
    s.real(id).iter().skip(c).step_by(s.channels(id)).copied().collect()
}

/// The tensor whose channels are these columns.
fn from_columns(columns: &[Vec<f64>]) -> Vec<f64> {
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}

/// `x̂ = (x − mean) · inv_std` of one channel.
fn normalized(s: &Store, x: TensorId, mean: TensorId, inv_std: TensorId, c: usize) -> Vec<f64> {
    let (mean, inv_std) = (s.real(mean)[c], s.real(inv_std)[c]);
    column(s, x, c).iter().map(|x| (x - mean) * inv_std).collect()
}

/// Training.
impl Execute for BatchNorm {
    fn execute(&self, s: &mut Store) {
        let (mut ys, mut means, mut inv_stds) = (Vec::new(), Vec::new(), Vec::new());
        let (mut running_means, mut running_vars) = (Vec::new(), Vec::new());
        for c in 0..s.channels(self.x) {
            let x = column(s, self.x, c);
            let rows = x.len() as f64;
            let mean = mean_of(&x);
            let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
            let inv_std = 1.0 / (squares / rows + self.epsilon).sqrt();
            let (gamma, beta) = (s.real(self.gamma)[c], s.real(self.beta)[c]);
            ys.push(x.iter().map(|x| gamma * (x - mean) * inv_std + beta).collect());
            means.push(mean);
            inv_stds.push(inv_std);
            let moved = |old: f64, new: f64| (1.0 - self.momentum) * old + self.momentum * new;
            running_means.push(moved(s.real(self.running_mean)[c], mean));
            running_vars.push(moved(s.real(self.running_var)[c], squares / (rows - 1.0)));
        }
        s.set_real(self.y, from_columns(&ys));
        s.set_real(self.mean, means);
        s.set_real(self.inv_std, inv_stds);
        s.set_real(self.running_mean, running_means);
        s.set_real(self.running_var, running_vars);
    }
}

/// Prediction.
impl Execute for BatchNormInference {
    fn execute(&self, s: &mut Store) {
        let columns: Vec<Vec<f64>> = (0..s.channels(self.x))
            .map(|c| {
                let (mean, variance) = (s.real(self.running_mean)[c], s.real(self.running_var)[c]);
                let (gamma, beta) = (s.real(self.gamma)[c], s.real(self.beta)[c]);
                let std = (variance + self.epsilon).sqrt();
                column(s, self.x, c).iter().map(|x| gamma * (x - mean) / std + beta).collect()
            })
            .collect();
        s.set_real(self.y, from_columns(&columns));
    }
}

/// `dβ = Σ dy`, `dγ = Σ dy x̂`, `dx = γ · inv_std · (dy − dβ / rows − x̂ dγ / rows)`.
impl Execute for BatchNormGrad {
    fn execute(&self, s: &mut Store) {
        let (mut dxs, mut dgammas, mut dbetas) = (Vec::new(), Vec::new(), Vec::new());
        for c in 0..s.channels(self.x) {
            let hat = normalized(s, self.x, self.mean, self.inv_std, c);
            let dy = column(s, self.dy, c);
            let rows = dy.len() as f64;
            let dbeta: f64 = dy.iter().sum();
            let dgamma = dot(&dy, &hat);
            let factor = s.real(self.gamma)[c] * s.real(self.inv_std)[c];
            let pairs = dy.iter().zip(&hat);
            dxs.push(
                pairs.map(|(dy, hat)| factor * (dy - dbeta / rows - hat * dgamma / rows)).collect(),
            );
            dgammas.push(dgamma);
            dbetas.push(dbeta);
        }
        let outputs = [(self.dx, from_columns(&dxs)), (self.dgamma, dgammas), (self.dbeta, dbetas)];
        for (id, values) in outputs {
            if let Some(id) = id {
                s.set_real(id, values);
            }
        }
    }
}

/// `ẏ = γ · inv_std · (ẋ − mean(ẋ) − x̂ mean(x̂ ẋ)) + γ̇ x̂ + β̇`.
impl Execute for BatchNormTangent {
    fn execute(&self, s: &mut Store) {
        let columns: Vec<Vec<f64>> = (0..s.channels(self.x))
            .map(|c| {
                let hat = normalized(s, self.x, self.mean, self.inv_std, c);
                let dx = self.dx.map_or(vec![0.0; hat.len()], |dx| column(s, dx, c));
                let dgamma = self.dgamma.map_or(0.0, |id| s.real(id)[c]);
                let dbeta = self.dbeta.map_or(0.0, |id| s.real(id)[c]);
                let factor = s.real(self.gamma)[c] * s.real(self.inv_std)[c];
                let mean = mean_of(&dx);
                let correlation = dot(&hat, &dx) / hat.len() as f64;
                let pairs = dx.iter().zip(&hat);
                pairs
                    .map(|(dx, hat)| {
                        factor * (dx - mean - hat * correlation) + dgamma * hat + dbeta
                    })
                    .collect()
            })
            .collect();
        s.set_real(self.dy, from_columns(&columns));
    }
}
