//! The reference with errors, to learn how far rounding can carry the results of a program.

use lfnn_core::program::{DType, Op, Operation, TensorId};

use super::store::Store;
use crate::source::Source;

/// A backend: the reference, but every real number that an operation writes is off by a random error
/// of up to `size` times the largest number of its tensor, or a tenth of the largest that the
/// operation reads, whose products may have cancelled. Zeros stay zeros, for they are seldom rounded.
#[derive(Clone, Copy, Debug)]
pub struct Rounding {
    /// The size of the errors; the opposite sign gives the opposite errors.
    pub size: f64,
    /// What the errors depend on.
    pub seed: u64,
}

impl Rounding {
    /// Puts errors into what an operation has written.
    pub(super) fn apply(&mut self, op: &Op, store: &mut Store) {
        self.seed += 1;
        let mut source = Source::new(self.seed);
        let read = op.reads().into_iter().map(|id| largest(store, id)).fold(0.0, f64::max);
        let mut written = op.writes();
        written.extend(op.updates());
        for id in written {
            if store.tensors()[id].dtype != DType::Real {
                continue;
            }
            let largest = largest(store, id).max(read / 10.0);
            let values = store.real(id);
            let mut error = || self.size * largest * source.between(-1.0, 1.0);
            let moved =
                values.iter().map(|&value| if value == 0.0 { 0.0 } else { value + error() });
            let moved = moved.collect();
            store.set_real(id, moved);
        }
    }
}

/// The largest absolute value of a tensor; 0 of one that is not real.
fn largest(store: &Store, id: TensorId) -> f64 {
    if store.tensors()[id].dtype != DType::Real {
        return 0.0;
    }
    store.real(id).iter().fold(0.0, |largest, value| largest.max(value.abs()))
}
