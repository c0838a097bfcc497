//! The GPU's side of the backend: libraries, compilation, memory, graphs.
//!
//! * [`Cuda`] is the backend, [`CudaExecutable`] what a program set becomes on it.
//! * `probe` asks what the machine has; `folders` and `library` find NVRTC and cuBLASLt.
//! * `nvrtc`, `compile` and `cache` turn kernel files into machine code, once on a machine.
//! * `driver` and `cublaslt` hold all calls of foreign functions, each behind an owner of its handle.

mod cache;
mod capture;
mod compile;
mod cublaslt;
mod driver;
mod error;
mod executable;
mod folders;
mod library;
mod nvrtc;
mod peak_rates;
mod platform;
mod probe;
mod usage;

use std::fmt;
use std::rc::Rc;

use lfnn_core::backend::{Backend, BackendError, Executable, PeakRates};
use lfnn_core::program::ProgramSet;

pub use cache::Cache;
pub use compile::{Progress, compile};
pub use cublaslt::{CublasLt, MAX_WORKSPACE};
pub use driver::DeviceInfo;
pub use error::{CudaError, Found, Version};
pub use executable::CudaExecutable;
pub use nvrtc::{Image, Nvrtc, Target, options};
pub use platform::CudaPlatform;
pub use probe::{Gpus, Machine};
pub use usage::{OPTION as USAGE_OPTION, Usage, usage};

use crate::Precision;
use crate::plan::peak_rates::PEAK_RATES;
use crate::plan::{KernelSource, Plan};
use cublaslt::Handle;
use driver::Context;

/// An NVIDIA GPU. It belongs to the thread that opened it.
pub struct Cuda {
    ordinal: usize,
    precision: Precision,
    streams: usize,
    info: DeviceInfo,
    nvrtc: Nvrtc,
    cache: Cache,
    progress: Box<dyn Fn(Progress) + Sync>,
    products: Rc<Handle>,
    context: Rc<Context>,
}

impl Cuda {
    /// Opens a GPU to compute in a precision.
    ///
    /// # Errors
    /// Whatever is missing, with what to install.
    pub fn new(ordinal: usize, precision: Precision) -> Result<Self, CudaError> {
        let gpus = Gpus::find()?;
        let info = gpus.choose(ordinal, precision)?.clone();
        let nvrtc = Nvrtc::find(Some(gpus.driver))?;
        let cublaslt = Rc::new(CublasLt::find(Some(gpus.driver))?);
        let context = Context::new(ordinal)?;
        Ok(Self {
            ordinal,
            precision,
            streams: crate::plan::STREAMS,
            info,
            nvrtc,
            cache: Cache::of_user(),
            progress: Box::new(|_| {}),
            products: Rc::new(Handle::new(cublaslt)?),
            context,
        })
    }

    /// Runs what can be run side by side on this many streams, at most [`MAX_STREAMS`](crate::plan::MAX_STREAMS).
    #[must_use]
    pub fn with_streams(self, streams: usize) -> Self {
        Self { streams, ..self }
    }

    /// Keeps compiled kernels elsewhere than in the user's cache.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { cache, ..self }
    }

    /// Tells somebody how far the compilation of kernels is.
    #[must_use]
    pub fn with_progress(self, progress: impl Fn(Progress) + Sync + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// The GPU.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Bytes of the GPU's memory that are in use, by this process and all others.
    ///
    /// # Errors
    /// A failure of the driver.
    pub fn memory_in_use(&self) -> Result<usize, CudaError> {
        self.context.make_current()?;
        let _outside = capture::outside();
        let (free, total) = self.context.memory()?;
        Ok(total - free)
    }
}

impl Backend for Cuda {
    fn name(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }

    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError> {
        let plan =
            Plan::with_streams(set, self.precision, self.streams).map_err(CudaError::from)?;
        let sources: Vec<KernelSource> = plan.sources().into_iter().collect();
        let target = self.nvrtc.target(self.info.capability);
        let images = compile(&self.nvrtc, &sources, target, &self.cache, &self.progress)?;
        let images: Vec<(KernelSource, Vec<u8>)> =
            sources.into_iter().zip(images.into_iter().map(|image| image.bytes)).collect();
        let (context, products) = (&self.context, &self.products);
        Ok(Box::new(CudaExecutable::new(context, products, &plan, set.tensors(), &images)?))
    }

    fn peak_rates(&self) -> Result<Option<PeakRates>, BackendError> {
        let target = self.nvrtc.target(self.info.capability);
        let images = compile(&self.nvrtc, &[PEAK_RATES], target, &self.cache, &self.progress)?;
        let Some(image) = images.first() else { return Ok(None) };
        let multiprocessors = self.info.multiprocessors;
        Ok(Some(peak_rates::measure(&self.context, &image.bytes, multiprocessors)?))
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cuda")
            .field("ordinal", &self.ordinal)
            .field("precision", &self.precision)
            .field("streams", &self.streams)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
