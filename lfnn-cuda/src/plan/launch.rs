//! How a launch is written down: its arguments, its blocks.

use super::types::{Address, Argument};

/// Threads of a block where nothing asks for another number.
pub(super) const THREADS: u32 = 256;

/// Blocks beyond which those of a kernel that strides over its grid take several elements: enough to fill the
/// largest GPU several times.
const MOST_BLOCKS: u32 = 2048;

macro_rules! argument_from {
    ($($type:ty: $value:ident => $argument:expr),* $(,)?) => {
        $(impl From<$type> for Argument {
            fn from($value: $type) -> Self {
                $argument
            }
        })*
    };
}
argument_from! {
    Address: address => Argument::Pointer(Some(address)),
    Option<Address>: address => Argument::Pointer(address),
    u32: value => Argument::U32(value),
    // Extents are below 2³¹: `Plan::new` refuses larger tensors.
    usize: value => Argument::U32(value as u32),
    bool: value => Argument::U32(u32::from(value)),
    f32: value => Argument::F32(value),
}

/// Arguments of a launch, each of a type that a kernel can take: a number, an address, `&` a structure.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::plan::Argument::from($value)),*]
    };
}
pub(super) use arguments;

/// Blocks of [`THREADS`] threads for a kernel that strides over its grid, if this many threads have work.
pub(super) fn blocks(threads: usize) -> u32 {
    let blocks = threads.div_ceil(THREADS as usize).max(1);
    u32::try_from(blocks).unwrap_or(MOST_BLOCKS).min(MOST_BLOCKS)
}

/// Lanes of a warp that share a run of `width` elements: a power of two.
pub(super) fn lanes(width: usize) -> usize {
    width.next_power_of_two().min(32)
}
