//! What the GPU does at best, measured: to read achieved rates against.

use std::collections::BTreeMap;
use std::rc::Rc;

use lfnn_core::backend::PeakRates;

use super::compile::Unit;
use super::driver::{Block, Context, Event, Kernels, Stream};
use super::executable::bind;
use super::{CudaError, capture};
use crate::kernels::CEILINGS;
use crate::plan::{Argument, Element, Launch, Place};

/// The kernels.
pub(super) const UNIT: Unit = Unit { family: CEILINGS, real: Element::F32 };

/// Threads of a block.
const THREADS: u32 = 256;
/// Multiplications and additions of a thread in a round: `STEPS` and `CHAINS` of the kernel.
const OF_ROUND: u32 = 64 * 8;
const ROUNDS: u32 = 256;
/// Bytes that are copied: more than any cache holds.
const COPIED: usize = 1 << 28;
/// Runs of which the fastest counts.
const RUNS: usize = 10;

/// Measures a GPU with that many multiprocessors.
pub(super) fn measure(
    context: &Rc<Context>,
    image: &[u8],
    multiprocessors: u32,
) -> Result<PeakRates, CudaError> {
    context.make_current()?;
    let stream = Stream::new(context)?;
    let kernels = BTreeMap::from([(UNIT, Kernels::load(context, image, &UNIT.name())?)]);
    let memory = Block::new(context, &stream, 2 * COPIED, "a measurement")?;
    let [start, end] = [Event::timed(context)?, Event::timed(context)?];
    let fastest = |kernel, blocks, arguments| -> Result<f64, CudaError> {
        let launch = Launch {
            family: UNIT.family,
            real: UNIT.real,
            kernel,
            grid: [blocks, 1, 1],
            block: [THREADS, 1, 1],
            shared: 0,
            arguments,
        };
        let address = |place| match place {
            Place::Scratch(offset) | Place::Beside(offset) | Place::Tensor(_, offset) => {
                memory.address() + offset as u64
            }
        };
        let mut call = bind(&launch, &kernels, address)?;
        // The first run loads the kernel.
        let outside = capture::outside();
        call.launch(&stream)?;
        drop(outside);
        let mut least = f64::INFINITY;
        for _ in 0..RUNS {
            stream.record(&start)?;
            call.launch(&stream)?;
            stream.record(&end)?;
            stream.synchronize()?;
            least = least.min(start.seconds_to(&end)?);
        }
        Ok(least)
    };
    let at = |offset| Argument::Pointer(Place::Scratch(offset));
    let blocks = 32 * multiprocessors;
    let arguments = vec![at(0), Argument::U32(ROUNDS), Argument::F32(0.5)];
    let seconds = fastest("multiply_and_add", blocks, arguments)?;
    let flops = 2.0 * f64::from(blocks * THREADS) * f64::from(ROUNDS * OF_ROUND) / seconds;
    let vectors = (COPIED / size_of::<u128>()) as u32;
    let seconds = fastest("copy", blocks, vec![at(0), at(COPIED), Argument::U32(vectors)])?;
    Ok(PeakRates { flops, bytes: 2.0 * COPIED as f64 / seconds })
}
