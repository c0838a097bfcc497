//! Plans on the CPU: the crate's kernel sources, compiled by g++ with a header that stands in for CUDA.
//!
//! This is a test tool (feature `emulator`), not a backend for users: it checks, without a GPU, what a GPU
//! would compute, and it is slow. Every launch is checked: its arguments against the kernel's
//! parameters, its barriers, its limits. The order of threads, of blocks, and of steps that do not
//! depend on one another is drawn from a seed. With [`Emulator::sanitized`] every tensor has memory of its
//! own, and an access beyond it ends the process with a report of AddressSanitizer, whose library has to be
//! loaded when the process starts ([`sanitizer`]).

mod compile;
mod executable;
mod library;
mod memory;
mod product;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lfnn_core::backend::Backend;
use lfnn_core::backend::Precision;
use lfnn_core::program::{DType, ProgramSet};
use thiserror::Error;

pub use compile::is_available;
pub use executable::EmulatorExecutable;

use crate::plan::{KernelSource, Plan, PlanError};
use library::Library;

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
}

impl Backend for Emulator {
    type Executable = EmulatorExecutable;
    type Error = EmulatorError;

    fn name(&self) -> String {
        "cuda emulator".into()
    }

    fn compile(&self, set: &ProgramSet) -> Result<EmulatorExecutable, EmulatorError> {
        let lower = if self.all_narrow { Plan::all_narrow } else { Plan::new };
        EmulatorExecutable::new(*self, lower(set, self.precision)?, set)
    }
}

/// The shared library of AddressSanitizer, which must be loaded before all others (`LD_PRELOAD`); none
/// without g++ or without the sanitizer.
pub fn sanitizer() -> Option<PathBuf> {
    let output = Command::new("g++").arg("-print-file-name=libasan.so").output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}

/// The library of a kernel file, compiled and loaded once in a process; or what the compiler said, once.
fn library(source: KernelSource, sanitized: bool) -> Result<Arc<Library>, EmulatorError> {
    type Libraries = Mutex<HashMap<(KernelSource, bool), Result<Arc<Library>, String>>>;
    static LIBRARIES: OnceLock<Libraries> = OnceLock::new();
    let libraries = LIBRARIES.get_or_init(Libraries::default);
    let mut libraries = libraries.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (source, sanitized);
    if let Some(found) = libraries.get(&key) {
        return found.clone().map_err(|log| EmulatorError::Compile { log });
    }
    let made = compile::file(source, sanitized);
    match &made {
        Ok(library) => libraries.insert(key, Ok(library.clone())),
        Err(EmulatorError::Compile { log }) => libraries.insert(key, Err(log.clone())),
        Err(_) => None,
    };
    made
}

/// What can go wrong on the emulator.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// The program set cannot be lowered.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no g++.
    #[error("g++ could not be run")]
    NoCompiler(#[source] io::Error),
    /// A kernel file that the crate does not have.
    #[error("no kernel file `{file}`")]
    NoKernelFile {
        /// Its name.
        file: &'static str,
    },
    /// A source that g++ does not take.
    #[error("g++ does not compile the kernels:\n{log}")]
    Compile {
        /// What it said.
        log: String,
    },
    /// A library that cannot be kept.
    #[error("could not write {path}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A library that cannot be loaded.
    #[error("could not load {path}")]
    Load {
        /// The library.
        path: PathBuf,
        /// Why.
        #[source]
        error: libloading::Error,
    },
    /// A launch that does not fit its kernel, or a kernel that does something it must not.
    #[error("kernel `{kernel}`: {message}")]
    Launch {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        message: String,
    },
    /// A step of a program that failed.
    #[error("program `{program}`, step {index} ({name})")]
    Step {
        /// The program.
        program: String,
        /// Position of the step.
        index: usize,
        /// Its operation.
        name: &'static str,
        /// Why.
        #[source]
        error: Box<EmulatorError>,
    },
    /// Data that does not fit the tensor.
    #[error(
        "tensor `{name}` is {expected:?} with {length} elements, and persistent is {persistent}: {given:?} with {given_length} do not fit"
    )]
    Data {
        /// The tensor.
        name: String,
        /// Its type.
        expected: DType,
        /// Its length.
        length: usize,
        /// Whether the host may read and write it.
        persistent: bool,
        /// Type of the host's data.
        given: DType,
        /// Its length.
        given_length: usize,
    },
    /// A program that the program set does not have.
    #[error("there is no program {0}")]
    NoProgram(usize),
}

#[cfg(test)]
mod tests;
