//! Launches that show what a GPU does at best: arithmetic alone, and memory alone.

use super::launch::{THREADS, arguments};
use super::shared::shared_with_kernels;
use super::types::{Address, Argument, Element, KernelFile, KernelSource, Launch};

/// What the kernels are in.
pub(crate) const PEAK_RATES: KernelSource =
    KernelSource { file: KernelFile("peak_rates"), act: Element::F32 };

shared_with_kernels! {
    constants {
        /// Chains of multiplications and additions of a thread that do not wait for one another.
        const CHAINS: u32 = 8;
        /// Steps of a chain in a round.
        const STEPS: u32 = 64;
    }
}

const ROUNDS: u32 = 256;
/// Bytes that are copied: more than any cache holds.
const COPIED: usize = 1 << 28;
/// Bytes of memory that the launches need.
pub(crate) const BYTES: usize = 2 * COPIED;

/// Arithmetic for a GPU of this many multiprocessors, and how many operations it is.
pub(crate) fn arithmetic(multiprocessors: u32) -> (Launch, f64) {
    let blocks = 32 * multiprocessors;
    let flops = 2.0 * f64::from(blocks * THREADS) * f64::from(ROUNDS * STEPS * CHAINS);
    let arguments = arguments![Address::Scratch(0), ROUNDS, 0.5f32];
    (launch("multiply_and_add", blocks, arguments), flops)
}

/// A copy, and how many bytes it moves.
pub(crate) fn copy(multiprocessors: u32) -> (Launch, f64) {
    let vectors = COPIED / size_of::<u128>();
    let arguments = arguments![Address::Scratch(0), Address::Scratch(COPIED), vectors];
    (launch("copy", 32 * multiprocessors, arguments), 2.0 * COPIED as f64)
}

fn launch(kernel: &'static str, blocks: u32, arguments: Vec<Argument>) -> Launch {
    let (grid, block) = ([blocks, 1, 1], [THREADS, 1, 1]);
    Launch { source: PEAK_RATES, kernel, grid, block, shared: 0, arguments }
}
