//! Normal variates and inner products.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{Gaussian, InnerProduct, TensorId, step_counter};
use lfnn_core::random::normal_pair;

fn shape(s: &Store, id: TensorId) -> &[usize] {
    &s.tensors()[id].shape
}

/// The part of an element of a tensor of shape `whole`, where `parts` are `[examples, positions, groups]`.
fn part(whole: &[usize], parts: &[usize], element: usize) -> usize {
    let channels = if whole.len() > 1 { whole[whole.len() - 1] } else { 1 };
    let rows: usize = whole.iter().product::<usize>() / channels;
    let of_example = rows / whole[0];
    let (row, channel) = (element / channels, element % channels);
    let example = if parts[0] == 1 { 0 } else { row / of_example };
    let position = if parts[1] == 1 { 0 } else { row % of_example };
    (example * parts[1] + position) * parts[2] + channel * parts[2] / channels
}

/// Element i is of pair `i / 2 % 2` of block `i / 4`, times the factor of its part.
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
                let factor = self.factor.map_or(1.0, |factor| {
                    s.real(factor)[part(shape(s, self.y), shape(s, factor), i)]
                });
                drawn * factor
            })
            .collect();
        s.set_real(self.y, y);
    }
}

/// `Σ a b` of each part.
impl Execute for InnerProduct {
    fn execute(&self, s: &mut Store) {
        let mut y = vec![0.0; s.len(self.y)];
        for (i, (a, b)) in s.real(self.a).iter().zip(s.real(self.b)).enumerate() {
            y[part(shape(s, self.a), shape(s, self.y), i)] += a * b;
        }
        s.set_real(self.y, y);
    }
}
