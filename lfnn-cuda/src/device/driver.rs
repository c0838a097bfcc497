//! What the backend uses of the driver: each thing with an owner that gives it back.
//!
//! Everything here belongs to the thread that made it. Handles are raw pointers, so the compiler sees to that;
//! cudarc's own safe layer tracks the use of memory by events, which a captured step has no use for.

use std::ffi::{CString, c_void};
use std::rc::Rc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::capture;
use super::error::{CudaError, Version};

/// Names what was being done when a call failed.
pub(super) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, CudaError>;
}

impl<T> Doing<T> for Result<T, DriverError> {
    fn doing(self, what: impl Into<String>) -> Result<T, CudaError> {
        self.map_err(|error| CudaError::Driver { what: what.into(), error: describe(&error) })
    }
}

/// What the driver calls an error, such as `CUDA_ERROR_OUT_OF_MEMORY (out of memory)`.
pub(super) fn describe(error: &DriverError) -> String {
    match error.error_string() {
        Ok(text) => format!("{:?} ({})", error.0, text.to_string_lossy()),
        Err(_) => format!("{:?}", error.0),
    }
}

/// Whether the driver's library can be loaded.
pub(super) fn is_present() -> bool {
    // SAFETY: it loads the driver's library, by the names that the driver gives it.
    unsafe { sys::is_culib_present() }
}

/// The version of CUDA that the driver supports. The library must be present.
pub(super) fn version() -> Result<Version, DriverError> {
    let mut version = 0;
    // SAFETY: it writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(Version { major: version as u32 / 1000, minor: version as u32 % 1000 / 10 })
}

/// What is to be known of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
    /// Compute capability, times ten: 90 for 9.0.
    pub capability: u32,
    /// Bytes of memory.
    pub memory: usize,
    /// Multiprocessors.
    pub multiprocessors: u32,
}

/// A GPU's description. The driver must be started.
pub(super) fn device_info(ordinal: usize) -> Result<DeviceInfo, DriverError> {
    use sys::CUdevice_attribute_enum as Attribute;
    let device = result::device::get(ordinal as i32)?;
    // SAFETY: the device is one that the driver has just given.
    unsafe {
        let attribute = |which| result::device::get_attribute(device, which);
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok(DeviceInfo {
            name: result::device::get_name(device)?,
            capability: (major * 10 + minor) as u32,
            memory: result::device::total_mem(device)?,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
        })
    }
}

/// A GPU's primary context, current on this thread.
#[derive(Debug)]
pub(super) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

impl Context {
    /// Opens a GPU.
    pub(super) fn new(ordinal: usize) -> Result<Rc<Self>, CudaError> {
        let device = result::device::get(ordinal as i32).doing("opening the GPU")?;
        let outside = capture::outside();
        // SAFETY: the device is one that the driver has just given; the context is released once, on drop.
        let context = unsafe { result::primary_ctx::retain(device) }.doing("opening the GPU")?;
        drop(outside);
        let context = Rc::new(Self { device, context });
        context.make_current()?;
        Ok(context)
    }

    /// Makes the context current on this thread.
    pub(super) fn make_current(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained as long as `self` lives.
        unsafe { result::ctx::set_current(self.context) }.doing("making the GPU current")
    }

    /// Bytes free and in all.
    pub(super) fn memory(&self) -> Result<(usize, usize), CudaError> {
        result::mem_get_info().doing("asking for the GPU's memory")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _outside = capture::outside();
        // SAFETY: retained once by `new`. A failure leaves nothing to do.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// A stream of work.
#[derive(Debug)]
pub(super) struct Stream {
    raw: sys::CUstream,
    _context: Rc<Context>,
}

impl Stream {
    pub(super) fn new(context: &Rc<Context>) -> Result<Self, CudaError> {
        let _outside = capture::outside();
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking)
            .doing("making a stream")?;
        Ok(Self { raw, _context: context.clone() })
    }

    pub(super) fn raw(&self) -> sys::CUstream {
        self.raw
    }

    /// Waits on the host until all work is done.
    pub(super) fn synchronize(&self) -> Result<(), CudaError> {
        let _outside = capture::outside();
        self.wait_for_all()
    }

    /// As [`synchronize`](Self::synchronize), for who is outside captures already.
    fn wait_for_all(&self) -> Result<(), CudaError> {
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.raw) }.doing("waiting for the GPU")
    }

    /// Has later work of this stream wait for an event.
    pub(super) fn wait(&self, event: &Event) -> Result<(), CudaError> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both live.
        unsafe { result::stream::wait_event(self.raw, event.raw, flags) }.doing("joining streams")
    }

    /// Records in an event the work so far.
    pub(super) fn record(&self, event: &Event) -> Result<(), CudaError> {
        // SAFETY: both live.
        unsafe { result::event::record(event.raw, self.raw) }.doing("recording an event")
    }

    /// Captures the work that `launch` gives to this stream, and to those that wait for it, as a graph.
    pub(super) fn capture(
        &self,
        launch: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<Graph, CudaError> {
        let alone = capture::alone();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives; what is captured is owned by the graph.
        unsafe { result::stream::begin_capture(self.raw, mode) }.doing("starting a capture")?;
        let launched = launch();
        // SAFETY: as above. A capture is ended whether the launches went well or not.
        let captured = unsafe { result::stream::end_capture(self.raw) };
        launched?;
        let graph = captured.doing("ending a capture")?;
        let no_flags = sys::CUgraphInstantiate_flags_enum(0);
        // SAFETY: the graph was captured just now, and is not needed once it is instantiated.
        let executable = unsafe {
            let executable = result::graph::instantiate(graph, no_flags);
            let _ = result::graph::destroy(graph);
            executable.doing("instantiating the graph of a step")?
        };
        drop(alone);
        let graph = Graph { raw: executable, _context: self._context.clone() };
        let _outside = capture::outside();
        // SAFETY: both live.
        unsafe { result::graph::upload(graph.raw, self.raw) }.doing("uploading the graph")?;
        Ok(graph)
    }

    /// Runs a graph.
    pub(super) fn launch(&self, graph: &Graph) -> Result<(), CudaError> {
        // SAFETY: both live.
        unsafe { result::graph::launch(graph.raw, self.raw) }.doing("running a step")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _outside = capture::outside();
        // SAFETY: made by `new` and destroyed once.
        let _ = unsafe { result::stream::destroy(self.raw) };
    }
}

/// A point in a stream's work that other streams can wait for.
#[derive(Debug)]
pub(super) struct Event {
    raw: sys::CUevent,
    _context: Rc<Context>,
}

impl Event {
    pub(super) fn new(context: &Rc<Context>) -> Result<Self, CudaError> {
        let raw = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
            .doing("making an event")?;
        Ok(Self { raw, _context: context.clone() })
    }
}

impl Event {
    /// An event that knows when it was reached.
    pub(super) fn timed(context: &Rc<Context>) -> Result<Self, CudaError> {
        let raw =
            result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).doing("making an event")?;
        Ok(Self { raw, _context: context.clone() })
    }

    /// Seconds from this event to a later one. Both are timed, and were reached.
    pub(super) fn seconds_to(&self, end: &Self) -> Result<f64, CudaError> {
        // SAFETY: both live.
        let milliseconds =
            unsafe { result::event::elapsed(self.raw, end.raw) }.doing("measuring time")?;
        Ok(f64::from(milliseconds) / 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new` and destroyed once.
        let _ = unsafe { result::event::destroy(self.raw) };
    }
}

/// A captured step, ready to run.
#[derive(Debug)]
pub(super) struct Graph {
    raw: sys::CUgraphExec,
    _context: Rc<Context>,
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _outside = capture::outside();
        // SAFETY: instantiated once and destroyed once.
        let _ = unsafe { result::graph::exec_destroy(self.raw) };
    }
}

/// Memory of the device.
#[derive(Debug)]
pub(super) struct Block {
    address: sys::CUdeviceptr,
    bytes: usize,
    _context: Rc<Context>,
}

impl Block {
    /// Allocates memory and fills it with zeros. No bytes are no memory.
    pub(super) fn new(
        context: &Rc<Context>,
        stream: &Stream,
        bytes: usize,
        what: &'static str,
    ) -> Result<Self, CudaError> {
        let mut block = Self { address: 0, bytes, _context: context.clone() };
        if bytes == 0 {
            return Ok(block);
        }
        let outside = capture::outside();
        // SAFETY: the memory is filled before anything reads it, and freed once, on drop.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(address) => block.address = address,
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = context.memory()?;
                return Err(CudaError::Memory { bytes, what, free, total });
            }
            Err(error) => return Err(error).doing(format!("allocating memory for {what}")),
        }
        drop(outside);
        // SAFETY: the block has that many bytes.
        unsafe { result::memset_d8_async(block.address, 0, bytes, stream.raw) }
            .doing(format!("clearing the memory for {what}"))?;
        Ok(block)
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies from the host to an offset, after the stream's work so far, and waits.
    pub(super) fn write(
        &mut self,
        stream: &Stream,
        offset: usize,
        data: &[u8],
    ) -> Result<(), CudaError> {
        assert!(offset + data.len() <= self.bytes, "a tensor is inside its block");
        if data.is_empty() {
            return Ok(());
        }
        let _outside = capture::outside();
        // SAFETY: inside the block; `data` is borrowed until the copy is done.
        unsafe { result::memcpy_htod_async(self.address + offset as u64, data, stream.raw) }
            .doing("copying to the GPU")?;
        stream.wait_for_all()
    }

    /// Copies from an offset to the host, after the stream's work so far, and waits.
    pub(super) fn read(
        &self,
        stream: &Stream,
        offset: usize,
        data: &mut [u8],
    ) -> Result<(), CudaError> {
        assert!(offset + data.len() <= self.bytes, "a tensor is inside its block");
        if data.is_empty() {
            return Ok(());
        }
        let _outside = capture::outside();
        // SAFETY: inside the block; `data` is borrowed until the copy is done.
        unsafe { result::memcpy_dtoh_async(data, self.address + offset as u64, stream.raw) }
            .doing("copying from the GPU")?;
        stream.wait_for_all()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.address != 0 {
            let _outside = capture::outside();
            // SAFETY: allocated by `new` and freed once; freeing waits for work that uses it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Loaded kernels.
#[derive(Debug)]
pub(super) struct Kernels {
    module: sys::CUmodule,
    _context: Rc<Context>,
}

impl Kernels {
    /// Loads a CUBIN or PTX.
    pub(super) fn load(context: &Rc<Context>, image: &[u8], name: &str) -> Result<Self, CudaError> {
        let _outside = capture::outside();
        // SAFETY: the image is one that NVRTC made, whole, and the driver copies it.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .doing(format!("loading the kernels of {name}"))?;
        Ok(Self { module, _context: context.clone() })
    }

    /// A kernel by name, allowed this many bytes of dynamic shared memory. It must not outlive `self`.
    pub(super) fn function(&self, name: &str, shared: u32) -> Result<sys::CUfunction, CudaError> {
        let what = || format!("looking up the kernel {name}");
        let text = CString::new(name)
            .map_err(|_| CudaError::Driver { what: what(), error: "a zero byte".into() })?;
        // SAFETY: the module is loaded as long as `self` lives, and the function is its own.
        unsafe {
            let function = result::module::get_function(self.module, text).doing(what())?;
            // More than this must be asked for, kernel by kernel.
            if shared > 48 << 10 {
                let which =
                    sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                result::function::set_function_attribute(function, which, shared as i32)
                    .doing(format!("giving {name} {shared} bytes of shared memory"))?;
            }
            Ok(function)
        }
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        let _outside = capture::outside();
        // SAFETY: loaded by `load` and unloaded once.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

/// A kernel with its arguments.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) function: sys::CUfunction,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) shared: u32,
    /// Pointers to the arguments, which are in `_storage`.
    pub(super) arguments: Vec<*mut c_void>,
    pub(super) _storage: Box<[u128]>,
}

impl Call {
    /// Launches it.
    pub(super) fn launch(&mut self, stream: &Stream) -> Result<(), CudaError> {
        let [x, y, z] = self.grid;
        let [a, b, c] = self.block;
        // SAFETY: the plan gives every kernel the arguments that it declares, and places inside blocks that
        // live as long as the executable; the function belongs to kernels that live as long.
        unsafe {
            result::launch_kernel(
                self.function,
                (x, y, z),
                (a, b, c),
                self.shared,
                stream.raw,
                &mut self.arguments,
            )
        }
        .doing(self.name)
    }
}
