//! What the GPU does at best, measured: to read achieved rates against.

use std::collections::BTreeMap;
use std::rc::Rc;

use lfnn_core::backend::PeakRates;

use super::capture;
use super::driver::{Block, Context, Event, Kernels, Stream};
use super::error::CudaError;
use super::executable::bind;
use crate::plan::peak_rates::{BYTES, PEAK_RATES, arithmetic, copy};
use crate::plan::{Address, Launch};

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
    let loaded = Kernels::load(context, image, &PEAK_RATES.to_string())?;
    let kernels = BTreeMap::from([(PEAK_RATES, loaded)]);
    let memory = Block::new(context, &stream, BYTES, "a measurement")?;
    let [start, end] = [Event::timed(context)?, Event::timed(context)?];
    let rate = |(launch, work): (Launch, f64)| -> Result<f64, CudaError> {
        let address = |address| match address {
            Address::Scratch(offset) | Address::LossScale(offset) | Address::Tensor(_, offset) => {
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
        Ok(work / least)
    };
    Ok(PeakRates { flops: rate(arithmetic(multiprocessors))?, bytes: rate(copy(multiprocessors))? })
}
