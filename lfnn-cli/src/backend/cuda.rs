//! NVIDIA GPUs, by way of `lfnn-cuda`.

use std::sync::Mutex;

use anyhow::anyhow;
use indicatif::{MultiProgress, ProgressBar};
use lfnn_core::backend::{Backend, Precision};
use lfnn_cuda::device::{DeviceInfo, Found, Gpus, Machine, Progress};
use lfnn_cuda::plan::{MAX_STREAMS, STREAMS};
use lfnn_cuda::{Cuda, CudaError};

use super::{Device, line};
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// Why there is no GPU.
pub(super) struct NoGpu(CudaError);

impl NoGpu {
    /// In few words.
    pub(super) fn brief(&self) -> String {
        match &self.0 {
            CudaError::NoDriver => "no NVIDIA driver".into(),
            CudaError::NoGpu => "the NVIDIA driver finds no GPU".into(),
            error => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// The failure of a command that asked for a GPU.
    pub(super) fn failure(self) -> Failure {
        Failure::Runtime(anyhow!("{} (`--backend cpu` runs on the CPU)", self.0))
    }
}

/// Nothing: this build has CUDA.
///
/// # Errors
/// None.
pub(super) fn check() -> Result<(), Failure> {
    Ok(())
}

/// A number of streams of the GPU.
///
/// # Errors
/// More than any network has work for.
pub(crate) fn streams(number: usize) -> Result<usize, String> {
    if number > MAX_STREAMS {
        return Err(format!(
            "expected at most {MAX_STREAMS}: each stream has scratch memory of its own, and no network has work for more"
        ));
    }
    Ok(number)
}

/// The GPU of an ordinal.
///
/// # Errors
/// Whatever is missing.
pub(super) fn open(
    ordinal: usize,
    precision: Precision,
    streams: Option<usize>,
    output: &Output,
) -> Result<Device, NoGpu> {
    let cuda =
        Cuda::new(ordinal, precision).map_err(NoGpu)?.with_streams(streams.unwrap_or(STREAMS));
    let cuda = match output.bars() {
        Some(bars) => cuda.with_progress(compiling(bars.clone())),
        None => cuda,
    };
    let about = format!("{}, {}, {}", cuda.name(), cuda.info().name, precision.name());
    Ok(Device { backend: Box::new(cuda), about })
}

/// The name of the first GPU, if it works.
///
/// # Errors
/// Whatever is missing.
#[cfg(feature = "report")]
pub(super) fn first() -> Result<String, NoGpu> {
    Cuda::new(0, Precision::F32).map(|cuda| cuda.name()).map_err(NoGpu)
}

/// Shows how far the compilation of kernels is, while there are some to compile.
fn compiling(bars: MultiProgress) -> impl Fn(Progress) + Sync {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    move |Progress { done, total }| {
        let mut bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let shown = bar.get_or_insert_with(|| bars.add(ProgressBar::new_spinner()));
        shown.set_message(format!("compiling CUDA kernels, {done} of {total} files"));
        shown.tick();
        if done == total
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

/// A line for each GPU and for what it needs: name, whether it works, and what it is.
pub(super) fn devices() -> Vec<[String; 3]> {
    let machine = Machine::look();
    let libraries = [("NVRTC", &machine.nvrtc), ("cuBLASLt", &machine.cublaslt)];
    let missing = libraries.iter().find_map(|(_, found)| found.as_ref().err());
    let mut lines = match (&machine.gpus, missing) {
        (Err(error), _) => vec![line("cuda", "no", &error.to_string())],
        (Ok(gpus), missing) => gpu_lines(gpus, missing),
    };
    for (name, found) in libraries {
        lines.push(line("", "", &library(name, found)));
    }
    lines
}

fn gpu_lines(gpus: &Gpus, missing: Option<&CudaError>) -> Vec<[String; 3]> {
    let about = |device: &DeviceInfo| {
        format!(
            "{}, compute capability {}.{}, {} multiprocessors, {}",
            device.name,
            device.capability / 10,
            device.capability % 10,
            device.multiprocessors,
            format::bytes(device.memory)
        )
    };
    let mut lines: Vec<[String; 3]> = Vec::new();
    for (ordinal, device) in gpus.devices.iter().enumerate() {
        let name = format!("cuda:{ordinal}");
        let works = match missing {
            Some(error) => Err(error.to_string()),
            None => gpus.choose(ordinal, Precision::F32).map_err(|error| error.to_string()),
        };
        lines.push(match works {
            Ok(_) => line(&name, "yes", &about(device)),
            Err(error) => line(&name, "no", &format!("{}: {error}", about(device))),
        });
    }
    lines.push(line("", "", &format!("driver for CUDA {}", gpus.driver)));
    lines
}

fn library(name: &str, found: &Result<Found, CudaError>) -> String {
    match found {
        Ok(found) => format!("{name} {}, {}", found.version, found.path.display()),
        Err(error) => error.to_string(),
    }
}
