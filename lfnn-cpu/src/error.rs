//! What can go wrong on the CPU.

use lfnn_core::backend::BackendError;
use lfnn_core::program::DType;
use thiserror::Error;

use crate::host::Bytes;

/// What can go wrong on the CPU.
#[derive(Debug, Error)]
pub enum CpuError {
    /// The threads could not be started.
    #[error("could not start the threads of the CPU backend")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// More threads than make sense.
    #[error(
        "{threads} threads, expected at most {most}: four for each that the machine runs at once, or 64"
    )]
    TooManyThreads {
        /// How many were asked for.
        threads: usize,
        /// How many there may be.
        most: usize,
    },
    /// A precision other than single.
    #[error("the CPU computes only in f32, not in {0}")]
    Precision(&'static str),
    /// Another device than the one there is.
    #[error("there is one CPU, numbered 0, and no CPU {0}")]
    NoSuchOrdinal(usize),
    /// An environment variable that asks for instructions that the machine does not have, or that nobody knows.
    #[error("{variable} is `{found}`; expected one that this machine has: {available}")]
    Level {
        /// The variable.
        variable: &'static str,
        /// Its value.
        found: String,
        /// The values that can be used here.
        available: String,
    },
    /// A module that needs more memory than there is.
    #[error(
        "this network needs {} for its parameters, data and activations; this machine has {} free",
        Bytes(*.needed),
        Bytes(*.available)
    )]
    TooLarge {
        /// Bytes that the module needs.
        needed: usize,
        /// Bytes that the machine can still give.
        available: usize,
    },
    /// The system has no such block of memory.
    #[error("could not allocate {} for {what}", Bytes(*.bytes))]
    OutOfMemory {
        /// What it was for.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// A tensor of another type than the host's data.
    #[error("tensor `{name}` holds {expected:?} and not {found:?}")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        expected: DType,
        /// The type of the host's data.
        found: DType,
    },
    /// A tensor of another length than the host's data.
    #[error("tensor `{name}` has {expected} elements and not {found}")]
    Length {
        /// The tensor.
        name: String,
        /// Its length.
        expected: usize,
        /// The length of the host's data.
        found: usize,
    },
    /// A tensor that lives only inside a run.
    #[error("tensor `{name}` lives only inside a run: the host cannot read or write it")]
    Temporary {
        /// The tensor.
        name: String,
    },
    /// An operation that writes a tensor and uses it a second time.
    #[error("{step} uses a tensor that it writes more than once")]
    Aliased {
        /// The step.
        step: &'static str,
    },
    /// A program that the module does not have.
    #[error("there is no program {index}: the program set has {programs}")]
    NoProgram {
        /// The number asked for.
        index: usize,
        /// How many there are.
        programs: usize,
    },
}

impl From<CpuError> for BackendError {
    fn from(error: CpuError) -> Self {
        Self::new(error)
    }
}
