//! Sums for the record.

use super::Execute;
use super::store::Store;
use lfnn_core::program::{AccumulateRows, CountErrors, Decision, step_counter};

/// How many rows of the batch hold examples: those whose position in the epoch is below the count.
fn valid(counter: &[u32], batch: usize) -> usize {
    let first = counter[step_counter::STEP] as usize * batch;
    (0..batch).filter(|row| first + row < counter[step_counter::COUNT] as usize).count()
}

/// `total += Σ_rows x`.
impl Execute for AccumulateRows {
    fn execute(&self, s: &mut Store) {
        let [rows, n] = s.matrix(self.x);
        let counted = if rows == 1 { 1 } else { valid(s.whole(self.counter), rows) };
        let mut total = s.real(self.total).to_vec();
        for (i, x) in s.real(self.x)[..counted * n].iter().enumerate() {
            total[i % n] += x;
        }
        s.set_real(self.total, total);
    }
}

/// Position of the largest value, the first of equal ones.
fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Adds the wrong predictions.
impl Execute for CountErrors {
    fn execute(&self, s: &mut Store) {
        let features = self.predictions.features();
        let (output, target) = (s.real(self.output), s.whole(self.target));
        let mut wrong = s.real(self.wrong).to_vec();
        for b in 0..valid(s.whole(self.counter), target.len()) {
            let row = &output[b * features..(b + 1) * features];
            let label = target[b] as usize;
            match self.decision {
                Decision::Largest => {
                    for (n, outputs) in row.chunks(self.predictions.classes).enumerate() {
                        wrong[n] += f64::from(largest(outputs) != label);
                    }
                }
                Decision::Threshold { one_vs_all } => {
                    for (n, &output) in row.iter().enumerate() {
                        let positive_label =
                            if one_vs_all { n / self.predictions.workers } else { 1 };
                        wrong[n] += f64::from((output > 0.5) != (label == positive_label));
                    }
                }
                Decision::LargestClassifier => wrong[0] += f64::from(largest(row) != label),
            }
        }
        s.set_real(self.wrong, wrong);
    }
}
