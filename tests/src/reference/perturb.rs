//! Normal variates and inner products.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{Gaussian, InnerProduct, step_counter};
use lfnn_core::random::normal_pair;

/// Element i is of pair `i / 2 % 2` of block `i / 4`, times the factor of its row.
impl Execute for Gaussian {
    fn execute(&self, s: &mut Store) {
        let counter = s.whole(self.counter);
        let (seed, epoch, step) = (
            step_counter::seed(counter),
            counter[step_counter::EPOCH],
            counter[step_counter::STEP],
        );
        let n = s.len(self.y);
        let y = (0..n)
            .map(|i| {
                let words = self.stream.block(seed, epoch, step, u32::try_from(i / 4).unwrap());
                let pair = i / 2 % 2;
                let drawn = normal_pair(words[2 * pair], words[2 * pair + 1])[i % 2];
                let factors = self.factor.map(|factor| s.real(factor));
                drawn * factors.map_or(1.0, |factors| factors[i * factors.len() / n])
            })
            .collect();
        s.set_real(self.y, y);
    }
}

/// `Σ a b`, of everything or of each row.
impl Execute for InnerProduct {
    fn execute(&self, s: &mut Store) {
        let rows = s.len(self.y);
        let n = s.len(self.a) / rows;
        let (a, b) = (s.real(self.a), s.real(self.b));
        let y = (0..rows).map(|r| (r * n..(r + 1) * n).map(|i| a[i] * b[i]).sum()).collect();
        s.set_real(self.y, y);
    }
}
