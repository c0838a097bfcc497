//! What can go wrong between a plan and a GPU, and what to do about it.

use std::path::PathBuf;

use lfnn_core::backend::BackendError;
use lfnn_core::program::DType;
use thiserror::Error;

/// Why the CUDA backend does not do what was asked.
#[derive(Debug, Error)]
pub enum CudaError {
    /// The driver's library is not there.
    #[error(
        "no NVIDIA driver: the library `libcuda.so.1` was not found; it comes with the driver \
         (package `nvidia-driver` or the vendor's installer), not with the CUDA toolkit"
    )]
    NoDriver,
    /// The driver's library is there and does not start.
    #[error("the NVIDIA driver does not start: {reason}; run `nvidia-smi` for details")]
    DriverFails {
        /// As the driver names it.
        reason: String,
    },
    /// The driver is older than what the program is written for.
    #[error(
        "the NVIDIA driver supports CUDA {found}, and lfnn needs {needed}: install a newer driver"
    )]
    DriverTooOld {
        /// Version of CUDA that it supports.
        found: Version,
        /// The oldest that will do.
        needed: Version,
    },
    /// A driver without a GPU.
    #[error(
        "the NVIDIA driver finds no GPU: is one there, and visible to this process (CUDA_VISIBLE_DEVICES, or \
         `--gpus all` of a container)?"
    )]
    NoGpu,
    /// There are GPUs, but not this one.
    #[error("GPU {ordinal} not found ({count} available, numbered from 0)")]
    NoSuchOrdinal {
        /// The one asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The GPU is older than the kernels are written for.
    #[error("{name} has compute capability {}.{}, and lfnn needs 7.5 or later", .capability / 10, .capability % 10)]
    GpuTooOld {
        /// The GPU.
        name: String,
        /// Its compute capability, times ten.
        capability: u32,
    },
    /// A precision that the GPU does not have.
    #[error(
        "{name} cannot compute in {precision}, which needs compute capability {}.{}: it has {}.{}",
        .needed / 10, .needed % 10, .capability / 10, .capability % 10
    )]
    Precision {
        /// The GPU.
        name: String,
        /// The precision asked for.
        precision: &'static str,
        /// The compute capability that it needs, times ten.
        needed: u32,
        /// The GPU's, times ten.
        capability: u32,
    },
    /// A library of the toolkit cannot be had.
    #[error("{library} was not found, and the CUDA backend needs it: {install}{}", listed(tried))]
    NoLibrary {
        /// What it is for people: NVRTC, cuBLASLt.
        library: &'static str,
        /// What to install.
        install: &'static str,
        /// Files that are there and do not work, with the reason.
        tried: Vec<String>,
    },
    /// The headers of half precision are not there.
    #[error(
        "the header `{header}` was not found, which the precisions bf16 and f16 need: install the CUDA toolkit and \
         set CUDA_HOME, or `pip install nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl`"
    )]
    NoHeaders {
        /// Its name.
        header: &'static str,
    },
    /// A kernel source that NVRTC refuses: a mistake of lfnn's, or a compiler that is too old.
    #[error("NVRTC {version} does not compile {source_name} for {target}:\n{log}")]
    Compile {
        /// The file, and the type of activations.
        source_name: String,
        /// What it was compiled for.
        target: String,
        /// The compiler's version.
        version: Version,
        /// What the compiler said.
        log: String,
    },
    /// A plan names a kernel file that the crate does not have.
    #[error("no kernel file `{file}`")]
    NoKernelFile {
        /// The file.
        file: &'static str,
    },
    /// A plan that cannot be made.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// Memory that the device does not have.
    #[error("the GPU has no {bytes} bytes for {what}: {free} of {total} bytes are free")]
    Memory {
        /// How much was asked for.
        bytes: usize,
        /// What for.
        what: &'static str,
        /// Free at that time.
        free: usize,
        /// All of the device's memory.
        total: usize,
    },
    /// A call of the driver that fails.
    #[error("{what}: {error}")]
    Driver {
        /// What was being done.
        what: String,
        /// As the driver names it.
        error: String,
    },
    /// A call of cuBLASLt that fails.
    #[error("cuBLASLt, {what}: {status}")]
    Product {
        /// What was being done.
        what: String,
        /// As the library names it.
        status: String,
    },
    /// A program that the module does not have.
    #[error("no program {index}: the program set has {programs}")]
    NoProgram {
        /// The one asked for.
        index: usize,
        /// How many there are.
        programs: usize,
    },
    /// A temporary tensor, which the host can neither write nor read.
    #[error("`{name}` is a temporary tensor: the host cannot reach it")]
    Temporary {
        /// Its name.
        name: String,
    },
    /// Data of another type.
    #[error("`{name}` is {expected:?}, not {found:?}")]
    Type {
        /// The tensor's name.
        name: String,
        /// Its type.
        expected: DType,
        /// That of the data.
        found: DType,
    },
    /// Data of another length.
    #[error("`{name}` has {expected} elements, not {found}")]
    Length {
        /// The tensor's name.
        name: String,
        /// Its length.
        expected: usize,
        /// That of the data.
        found: usize,
    },
}

fn listed(tried: &[String]) -> String {
    tried.iter().map(|line| format!("\n  {line}")).collect()
}

/// A version of CUDA, or of one of its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A library or header and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// The file.
    pub path: PathBuf,
}

impl From<CudaError> for BackendError {
    fn from(error: CudaError) -> Self {
        Self::new(error)
    }
}
