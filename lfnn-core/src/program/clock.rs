//! The clock: the few numbers that tell one run of a program from the next. It is a persistent
//! `U32` tensor of [`LEN`] elements.

use super::{DType, TensorId, Tensors};

/// Position of the lower half of the seed.
pub const SEED_LOW: usize = 0;
/// Position of the upper half of the seed.
pub const SEED_HIGH: usize = 1;
/// Position of the epoch, from 0.
pub const EPOCH: usize = 2;
/// Position of the batch within the epoch, from 0; advanced by [`AdvanceClock`].
pub const STEP: usize = 3;
/// Position of the batches since training began, from 0; advanced by [`AdvanceClock`].
pub const TIME: usize = 4;
/// Position of the number of entries of the epoch's order that are examples. Rows of the batch that
/// lie beyond it are padding: they are computed, but no metric counts them.
pub const COUNT: usize = 5;
/// Number of elements.
pub const LEN: usize = 8;

/// How many rows of a batch of `batch` rows hold examples.
#[inline]
pub fn valid_rows(clock: &[u32], batch: usize) -> usize {
    (clock[COUNT] as usize).saturating_sub(clock[STEP] as usize * batch).min(batch)
}

/// A clock at the first step of training with this seed.
pub fn start(seed: u64) -> [u32; LEN] {
    let mut clock = [0; LEN];
    clock[SEED_LOW] = seed as u32;
    clock[SEED_HIGH] = (seed >> 32) as u32;
    clock
}

/// The seed, from its two halves.
#[inline]
pub fn seed(clock: &[u32]) -> u64 {
    u64::from(clock[SEED_LOW]) | u64::from(clock[SEED_HIGH]) << 32
}

operation! {
    /// Adds one to [`STEP`] and to [`TIME`]: the last operation of every step.
    AdvanceClock, check: check
    reads {}
    writes {}
    updates {
        /// The clock.
        clock: TensorId,
    }
    with {}
}

fn check(op: &AdvanceClock, tensors: &Tensors) -> Result<(), String> {
    expect_clock(tensors, op.clock)
}

/// Checks that a tensor is a clock.
pub(super) fn expect_clock(tensors: &Tensors, id: TensorId) -> Result<(), String> {
    tensors.expect_type(id, DType::U32)?;
    tensors.expect_shape(id, &[LEN])
}
