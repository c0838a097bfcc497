//! The choice of a backend: made once, here. Everything else is generic.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use anyhow::anyhow;
use indicatif::{MultiProgress, ProgressBar};
use lfnn_core::backend::Backend;
use lfnn_cpu::Cpu;
use lfnn_cuda::device::{DeviceInfo, Found, Gpus, Machine, Progress};
use lfnn_cuda::{Cuda, CudaError, Precision};

use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BackendChoice {
    /// The fastest that is there.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this ordinal.
    Cuda(usize),
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for BackendChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected auto, cpu, cuda or cuda:ORDINAL, such as cuda:1";
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let ordinal = text.strip_prefix("cuda:").ok_or(expected)?;
                ordinal.parse().map(Self::Cuda).map_err(|_| expected)
            }
        }
    }
}

/// Work that runs on any backend.
pub(crate) trait Job {
    /// What it gives.
    type Output;

    /// Does the work. The backend is described for people by `device`.
    ///
    /// # Errors
    /// As the work has it.
    fn run<B: Backend>(self, backend: &B, device: &str) -> Result<Self::Output, Failure>;
}

/// What the command line says about the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Which one.
    pub(crate) backend: BackendChoice,
    /// Threads of the CPU.
    pub(crate) threads: Option<usize>,
    /// Streams of the GPU.
    pub(crate) lanes: usize,
}

impl Choice {
    /// Runs a job on the backend chosen, in this precision.
    ///
    /// # Errors
    /// A backend that cannot be had or does not have the precision, or a failure of the job.
    pub(crate) fn run<J: Job>(
        self,
        precision: Precision,
        output: &Output,
        job: J,
    ) -> Result<J::Output, Failure> {
        match self.backend {
            BackendChoice::Cuda(ordinal) => {
                let cuda = self.open(ordinal, precision, output).map_err(|error| {
                    Failure::Runtime(anyhow!("{error} (`--backend cpu` runs on the CPU)"))
                })?;
                job.run(&cuda, &gpu(&cuda, precision))
            }
            BackendChoice::Cpu => self.on_cpu(precision, "", job),
            BackendChoice::Auto => match self.open(0, precision, output) {
                Ok(cuda) => job.run(&cuda, &format!("{} (auto)", gpu(&cuda, precision))),
                Err(error) => self.on_cpu(precision, &brief(&error), job),
            },
        }
    }

    /// Whether the backend that was chosen has a precision, as far as that is known without looking for it.
    ///
    /// # Errors
    /// The CPU with another than `f32`.
    pub(crate) fn check(self, precision: Precision) -> Result<(), Failure> {
        if self.backend != BackendChoice::Cpu || precision == Precision::F32 {
            return Ok(());
        }
        Err(Failure::Usage(anyhow!(
            "`precision` is {}, but the CPU computes in f32 alone (`--precision f32`, or `--backend cuda`)",
            precision.name()
        )))
    }

    /// The same with `auto` settled: the GPU if it works, or the CPU; and what it is, for people.
    pub(crate) fn settled(self) -> (Self, String) {
        match self.backend {
            BackendChoice::Cuda(_) => (self, self.backend.to_string()),
            BackendChoice::Cpu => (self, self.cpu()),
            BackendChoice::Auto => match Cuda::new(0, Precision::F32) {
                Ok(cuda) => {
                    let name = format!("{} (auto)", cuda.name());
                    (Self { backend: BackendChoice::Cuda(0), ..self }, name)
                }
                Err(error) => {
                    let name = format!("{} (auto: {})", self.cpu(), brief(&error));
                    (Self { backend: BackendChoice::Cpu, ..self }, name)
                }
            },
        }
    }

    fn open(
        self,
        ordinal: usize,
        precision: Precision,
        output: &Output,
    ) -> Result<Cuda, CudaError> {
        let cuda = Cuda::new(ordinal, precision)?.with_lanes(self.lanes);
        Ok(match output.bars() {
            Some(bars) => cuda.with_progress(compiling(bars.clone())),
            None => cuda,
        })
    }

    /// Runs a job on the CPU; `no_gpu` says why not on the GPU, if that was wanted more.
    fn on_cpu<J: Job>(
        self,
        precision: Precision,
        no_gpu: &str,
        job: J,
    ) -> Result<J::Output, Failure> {
        self.check(precision)?;
        if precision != Precision::F32 {
            let name = precision.name();
            return Err(Failure::Runtime(anyhow!(
                "`precision` is {name}, which needs a GPU, and {no_gpu} (`--precision f32` runs on the CPU)"
            )));
        }
        let cpu = Cpu::new(self.threads).map_err(anyhow::Error::from)?;
        let mut device = self.cpu();
        if !no_gpu.is_empty() {
            device += &format!(" (auto: {no_gpu})");
        }
        job.run(&cpu, &device)
    }

    /// Threads that the CPU backend will use.
    pub(crate) fn threads(self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }

    /// The CPU, for people.
    fn cpu(self) -> String {
        format!("cpu, {}", format::number_of(self.threads(), "thread"))
    }
}

/// The GPU, for people.
fn gpu(cuda: &Cuda, precision: Precision) -> String {
    format!("{}, {}, {}", cuda.name(), cuda.info().name, precision.name())
}

/// Why there is no GPU, in few words.
fn brief(error: &CudaError) -> String {
    match error {
        CudaError::NoDriver => "no NVIDIA driver".into(),
        CudaError::NoGpu => "the NVIDIA driver finds no GPU".into(),
        error => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
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

/// What can be said of each backend on this machine: lines of name, whether it runs, and what it is.
pub(crate) fn devices(choice: Choice) -> Vec<[String; 3]> {
    let cpu = match Cpu::new(choice.threads) {
        Ok(_) => line("cpu", "yes", &choice.cpu()["cpu, ".len()..]),
        Err(error) => line("cpu", "no", &error.to_string()),
    };
    let machine = Machine::look();
    let mut lines = vec![cpu];
    let libraries = [("NVRTC", &machine.nvrtc), ("cuBLASLt", &machine.cublaslt)];
    let missing = libraries.iter().find_map(|(_, found)| found.as_ref().err());
    match (&machine.gpus, missing) {
        (Err(error), _) => lines.push(line("cuda", "no", &error.to_string())),
        (Ok(gpus), missing) => lines.extend(gpu_lines(gpus, missing)),
    }
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

fn line(name: &str, works: &str, about: &str) -> [String; 3] {
    [name, works, &about.replace('\n', " ")].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_named_with_or_without_an_ordinal() {
        assert_eq!("auto".parse(), Ok(BackendChoice::Auto));
        assert_eq!("cpu".parse(), Ok(BackendChoice::Cpu));
        assert_eq!("cuda".parse(), Ok(BackendChoice::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(BackendChoice::Cuda(3)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA"] {
            assert!(wrong.parse::<BackendChoice>().is_err(), "{wrong}");
        }
    }
}
