//! Linear maps in groups, from their index formulas.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{Linear, LinearInputGrad, LinearWeightGrad};

/// `y[b, o] = bias[o] + Σ_i x[b, group(o)·in + i] W[o, i]`.
impl Execute for Linear {
    fn execute(&self, s: &mut Store) {
        let [batch, features] = s.matrix(self.x);
        let [out, input] = s.matrix(self.weight);
        let per_group = out / self.groups;
        let (x, weight) = (s.real(self.x), s.real(self.weight));
        let mut y = vec![0.0; batch * out];
        for b in 0..batch {
            for o in 0..out {
                let group = o / per_group;
                let mut sum = self.bias.map_or(0.0, |bias| s.real(bias)[o]);
                for i in 0..input {
                    sum += x[b * features + group * input + i] * weight[o * input + i];
                }
                y[b * out + o] = sum;
            }
        }
        s.set_real(self.y, y);
    }
}

/// `dx[b, g·in + i] = Σ_{o in group g} dy[b, o] W[o, i]`.
impl Execute for LinearInputGrad {
    fn execute(&self, s: &mut Store) {
        let [batch, features] = s.matrix(self.dx);
        let [out, input] = s.matrix(self.weight);
        let per_group = out / self.groups;
        let (dy, weight) = (s.real(self.dy), s.real(self.weight));
        let mut dx = vec![0.0; batch * features];
        for b in 0..batch {
            for feature in 0..features {
                let (group, i) = (feature / input, feature % input);
                dx[b * features + feature] = (group * per_group..(group + 1) * per_group)
                    .map(|o| dy[b * out + o] * weight[o * input + i])
                    .sum();
            }
        }
        s.set_real(self.dx, dx);
    }
}

/// `dW[o, i] = Σ_b dy[b, o] x[b, group(o)·in + i]`, `db[o] = Σ_b dy[b, o]`.
impl Execute for LinearWeightGrad {
    fn execute(&self, s: &mut Store) {
        let [batch, features] = s.matrix(self.x);
        let [out, input] = s.matrix(self.dweight);
        let per_group = out / self.groups;
        let (x, dy) = (s.real(self.x), s.real(self.dy));
        let mut dweight = vec![0.0; out * input];
        let mut dbias = vec![0.0; out];
        for o in 0..out {
            let group = o / per_group;
            for i in 0..input {
                dweight[o * input + i] =
                    (0..batch).map(|b| dy[b * out + o] * x[b * features + group * input + i]).sum();
            }
            dbias[o] = (0..batch).map(|b| dy[b * out + o]).sum();
        }
        s.set_real(self.dweight, dweight);
        if let Some(id) = self.dbias {
            s.set_real(id, dbias);
        }
    }
}
