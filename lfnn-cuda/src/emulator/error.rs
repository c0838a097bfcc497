//! What can go wrong on the emulator.

use std::io;
use std::path::PathBuf;

use lfnn_core::backend::BackendError;
use lfnn_core::program::DType;
use thiserror::Error;

use crate::plan::PlanError;

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

impl From<EmulatorError> for BackendError {
    fn from(error: EmulatorError) -> Self {
        Self::new(error)
    }
}
