//! The choice of a backend: made once, here. Everything else is generic.

use anyhow::anyhow;
use lfnn_core::backend::Backend;
use lfnn_cpu::Cpu;

use crate::cli::BackendChoice;
use crate::failure::Failure;

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

/// Why there is no CUDA here.
const NO_CUDA: &str = "this build has no CUDA backend";

/// What the command line says about the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Which one.
    pub(crate) backend: BackendChoice,
    /// Threads of the CPU.
    pub(crate) threads: Option<usize>,
}

impl Choice {
    /// Runs a job on the backend chosen.
    ///
    /// # Errors
    /// A backend that cannot be had, or a failure of the job.
    pub(crate) fn run<J: Job>(self, job: J) -> Result<J::Output, Failure> {
        match self.backend {
            BackendChoice::Cuda => {
                Err(Failure::Runtime(anyhow!("{NO_CUDA}; `--backend cpu` runs on the CPU")))
            }
            BackendChoice::Auto | BackendChoice::Cpu => {
                let cpu = Cpu::new(self.threads).map_err(anyhow::Error::from)?;
                let threads = self.threads();
                let mut device =
                    format!("cpu, {threads} thread{}", if threads == 1 { "" } else { "s" });
                if self.backend == BackendChoice::Auto {
                    device += &format!(" (auto: {NO_CUDA})");
                }
                job.run(&cpu, &device)
            }
        }
    }

    /// Threads that the CPU backend will use.
    pub(crate) fn threads(self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }
}

/// Each backend with what can be said of it on this machine.
pub(crate) fn devices(choice: Choice) -> [(&'static str, bool, String); 2] {
    let threads = choice.threads();
    let cpu = match Cpu::new(choice.threads) {
        Ok(_) => (true, format!("{threads} thread{}", if threads == 1 { "" } else { "s" })),
        Err(error) => (false, error.to_string()),
    };
    [("cpu", cpu.0, cpu.1), ("cuda", false, NO_CUDA.into())]
}
