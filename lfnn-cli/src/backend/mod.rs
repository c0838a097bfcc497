//! The selection of a backend, made once, here. Everything else is generic.
//!
//! `cuda` has what only a build with the feature of that name can do. A build without it has `no_cuda` in its place,
//! with the same functions: there is no GPU, and they say why.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "no_cuda.rs"]
mod cuda;

use std::fmt;
use std::str::FromStr;

use anyhow::anyhow;
use lfnn_core::backend::{Backend, Precision};
use lfnn_cpu::{Cpu, CpuError};

use crate::failure::Failure;
use crate::format;
use crate::output::Output;

pub(crate) use cuda::streams;

/// A kind of backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BackendKind {
    /// The fastest that is there.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this ordinal.
    Cuda(usize),
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for BackendKind {
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

/// A backend that is ready to compute.
#[derive(Debug)]
pub(crate) struct Device {
    /// The backend.
    pub(crate) backend: Box<dyn Backend>,
    /// What it is, for people.
    pub(crate) about: String,
}

/// What the command line says about the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackendArgs {
    /// Which one.
    pub(crate) kind: BackendKind,
    /// Threads of the CPU.
    pub(crate) threads: Option<usize>,
    /// Streams of the GPU, if not as many as are usual.
    pub(crate) streams: Option<usize>,
}

impl BackendArgs {
    /// Opens the backend, to compute in this precision.
    ///
    /// # Errors
    /// A backend that is missing or lacks the precision.
    pub(crate) fn open(self, precision: Precision, output: &Output) -> Result<Device, Failure> {
        match self.kind {
            BackendKind::Cuda(ordinal) => {
                cuda::open(ordinal, precision, self.streams, output).map_err(cuda::NoGpu::failure)
            }
            BackendKind::Cpu => self.open_cpu(precision, ""),
            BackendKind::Auto => match cuda::open(0, precision, self.streams, output) {
                Ok(gpu) => Ok(Device { about: format!("{} (auto)", gpu.about), ..gpu }),
                Err(missing) => self.open_cpu(precision, &missing.brief()),
            },
        }
    }

    /// Whether the backend that was chosen has a precision, as far as that is known without looking for it.
    ///
    /// # Errors
    /// The CPU with another than `f32`, or a program without CUDA.
    pub(crate) fn check(self, precision: Precision) -> Result<(), Failure> {
        if precision != Precision::F32 || matches!(self.kind, BackendKind::Cuda(_)) {
            cuda::check()?;
        }
        if self.kind != BackendKind::Cpu || precision == Precision::F32 {
            return Ok(());
        }
        Err(Failure::Usage(anyhow!(
            "`precision` is {}, but the CPU computes only in f32 (`--precision f32`, or `--backend cuda`)",
            precision.name()
        )))
    }

    /// The same with `auto` resolved: the GPU if it works, or the CPU; and what it is, for people.
    #[cfg(feature = "report")]
    pub(crate) fn resolved(self) -> (Self, String) {
        match self.kind {
            BackendKind::Cuda(_) => (self, self.kind.to_string()),
            BackendKind::Cpu => (self, self.cpu()),
            BackendKind::Auto => match cuda::first() {
                Ok(name) => (Self { kind: BackendKind::Cuda(0), ..self }, format!("{name} (auto)")),
                Err(missing) => {
                    let name = format!("{} (auto: {})", self.cpu(), missing.brief());
                    (Self { kind: BackendKind::Cpu, ..self }, name)
                }
            },
        }
    }

    /// Opens the CPU; `no_gpu` says why not the GPU, if that was wanted more.
    fn open_cpu(self, precision: Precision, no_gpu: &str) -> Result<Device, Failure> {
        self.check(precision)?;
        if precision != Precision::F32 {
            let name = precision.name();
            return Err(Failure::Runtime(anyhow!(
                "`precision` is {name}, which needs a GPU, and {no_gpu} (`--precision f32` runs on the CPU)"
            )));
        }
        let cpu = Cpu::new(self.threads).map_err(|error| match error {
            CpuError::Level { .. } => Failure::Usage(error.into()),
            error => Failure::Runtime(error.into()),
        })?;
        let mut about = self.cpu();
        if !no_gpu.is_empty() {
            about += &format!(" (auto: {no_gpu})");
        }
        Ok(Device { backend: Box::new(cpu), about })
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

/// What can be said of each backend on this machine: lines of name, whether it runs, and what it is.
pub(crate) fn devices(backend: BackendArgs) -> Vec<[String; 3]> {
    let cpu = match Cpu::new(backend.threads) {
        Ok(cpu) => {
            let threads = format::number_of(cpu.threads(), "thread");
            line("cpu", "yes", &format!("{threads}, {}", cpu.level()))
        }
        Err(error) => line("cpu", "no", &error.to_string()),
    };
    let mut lines = vec![cpu];
    lines.extend(cuda::devices());
    lines
}

fn line(name: &str, works: &str, about: &str) -> [String; 3] {
    [name, works, &about.replace('\n', " ")].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_named_with_or_without_an_ordinal() {
        assert_eq!("auto".parse(), Ok(BackendKind::Auto));
        assert_eq!("cpu".parse(), Ok(BackendKind::Cpu));
        assert_eq!("cuda".parse(), Ok(BackendKind::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(BackendKind::Cuda(3)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA"] {
            assert!(wrong.parse::<BackendKind>().is_err(), "{wrong}");
        }
    }
}
