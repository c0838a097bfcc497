//! Plans on the CPU: the crate's kernel sources, compiled by g++ with a header that stands in for CUDA.
//!
//! This is a test tool (feature `emulator`), not a backend for users: it checks, without a GPU, what a GPU
//! would compute, and it is slow. Every launch is checked: its arguments against the kernel's
//! parameters, its barriers, its limits. The order of threads, of blocks, and of steps that do not
//! depend on one another is drawn from a seed. With [`Emulator::sanitized`] every tensor has memory of its
//! own, and an access beyond it ends the process with a report of AddressSanitizer, whose library has to be
//! loaded when the process starts ([`sanitizer`]).

mod compile;
mod error;
mod executable;
mod library;
mod memory;
mod product;

use std::path::PathBuf;
use std::process::Command;

use lfnn_core::backend::{Backend, BackendError, Executable, Precision};
use lfnn_core::program::ProgramSet;

pub use compile::is_available;
pub use error::EmulatorError;
pub use executable::EmulatorExecutable;

use crate::plan::Plan;

/// The emulated GPU.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    /// The arithmetic of the plans.
    pub precision: Precision,
    /// What the order of threads, blocks and independent steps is drawn from.
    pub seed: u64,
    /// Whether accesses out of bounds are looked for.
    pub sanitized: bool,
    /// Whether every operation works in the type of activations: see [`Plan::all_narrow`].
    pub all_narrow: bool,
}

impl Emulator {
    /// An emulator in single precision.
    pub fn new(seed: u64) -> Self {
        Self { precision: Precision::F32, seed, sanitized: false, all_narrow: false }
    }

    /// What [`compile`](Backend::compile) gives, with what it has beside an [`Executable`].
    ///
    /// # Errors
    /// A plan that cannot be made, or a kernel that does not compile.
    pub fn prepare(&self, set: &ProgramSet) -> Result<EmulatorExecutable, EmulatorError> {
        let lower = if self.all_narrow { Plan::all_narrow } else { Plan::new };
        EmulatorExecutable::new(lower(set, self.precision)?, set, self.seed, self.sanitized)
    }
}

impl Backend for Emulator {
    fn name(&self) -> String {
        "cuda emulator".into()
    }

    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError> {
        Ok(Box::new(self.prepare(set)?))
    }
}

/// The shared library of AddressSanitizer, which must be loaded before all others (`LD_PRELOAD`); none
/// without g++ or without the sanitizer.
pub fn sanitizer() -> Option<PathBuf> {
    let output = Command::new("g++").arg("-print-file-name=libasan.so").output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests;
