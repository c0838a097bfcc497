//! The step counter: the few numbers that tell one run of a program from the next. It is a persistent
//! `U32` tensor of [`LEN`] elements.

use super::{DType, TensorId, Tensors};

/// Position of the lower half of the seed.
pub const SEED_LOW: usize = 0;
/// Position of the upper half of the seed.
pub const SEED_HIGH: usize = 1;
/// Position of the epoch, from 0.
pub const EPOCH: usize = 2;
/// Position of the batch within the epoch, from 0; advanced by [`AdvanceStepCounter`].
pub const STEP: usize = 3;
/// Position of the batches since training began, from 0; advanced by [`AdvanceStepCounter`].
pub const TIME: usize = 4;
/// Position of the number of entries of the epoch's order that are examples. Rows of the batch that
/// lie beyond it are padding: they are computed, but no metric counts them.
pub const COUNT: usize = 5;
/// Number of elements.
pub const LEN: usize = 8;

/// How many rows of a batch of `batch` rows hold examples.
#[inline]
pub fn valid_rows(counter: &[u32], batch: usize) -> usize {
    (counter[COUNT] as usize).saturating_sub(counter[STEP] as usize * batch).min(batch)
}

/// A step counter at the first step of training with this seed.
pub fn start(seed: u64) -> [u32; LEN] {
    let mut counter = [0; LEN];
    counter[SEED_LOW] = seed as u32;
    counter[SEED_HIGH] = (seed >> 32) as u32;
    counter
}

/// A step counter at the first step over so many examples.
pub fn of_examples(count: usize) -> [u32; LEN] {
    let mut counter = [0; LEN];
    counter[COUNT] = count as u32;
    counter
}

/// The seed, from its two halves.
#[inline]
pub fn seed(counter: &[u32]) -> u64 {
    u64::from(counter[SEED_LOW]) | u64::from(counter[SEED_HIGH]) << 32
}

operation! {
    /// Adds one to [`STEP`] and to [`TIME`]: the last operation of every step.
    AdvanceStepCounter, check: check
    reads {}
    writes {}
    updates {
        /// The step counter.
        counter: TensorId,
    }
    with {}
}

fn check(op: &AdvanceStepCounter, tensors: &Tensors) -> Result<(), String> {
    expect_counter(tensors, op.counter)
}

/// Checks that a tensor is a step counter.
pub(super) fn expect_counter(tensors: &Tensors, id: TensorId) -> Result<(), String> {
    tensors.expect_type(id, DType::U32)?;
    tensors.expect_shape(id, &[LEN])
}
