//! The interface between the core and a device.
//!
//! A backend allocates the tensors of a [`ProgramSet`], copies persistent ones to and from the host, and
//! runs programs. Nothing else of the core reaches the device, and nothing in a run returns a number
//! to the host: leaders are selected, metrics summed and counters advanced where the tensors lie.

use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::program::{ProgramId, ProgramSet, TensorId};

/// What goes wrong on a device: an error of the backend's own type, with its message and its causes.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct BackendError(Box<dyn std::error::Error + Send + Sync>);

impl BackendError {
    /// An error of a backend. A backend converts its own errors with `From`, which is made of this.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }

    /// The backend's own error, if it has this type.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// A device, or a way to use one.
pub trait Backend: Debug {
    /// A name for people and for records, such as `cpu`.
    fn name(&self) -> String;

    /// Allocates every tensor of the program set once and prepares its programs. Persistent tensors start
    /// as zeros.
    ///
    /// # Errors
    /// Memory or a device that cannot be had, or an operation that the backend lacks.
    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError>;

    /// Measures what the device can do at best, to read achieved rates against. It takes about a
    /// second. A backend that cannot tell gives none.
    ///
    /// # Errors
    /// A failure of the device.
    fn peak_rates(&self) -> Result<Option<PeakRates>, BackendError> {
        Ok(None)
    }
}

/// The arithmetic in which a backend computes. The CPU has `f32` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Products round their operands to TF32, with 10 bits of mantissa. Everything is stored in single
    /// precision.
    Tf32,
    /// Activations and operands of products in bfloat16. Parameters, optimiser state, statistics,
    /// losses and sums in single precision.
    Bf16,
    /// The same as `bf16` with IEEE half precision and scaled losses.
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 4] =
        [Precision::F32, Precision::Tf32, Precision::Bf16, Precision::F16];

    /// Its name in configurations and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }
}

/// What a device can do at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakRates {
    /// Multiplications and additions of single precision a second, with all that this backend uses of
    /// the device.
    pub flops: f64,
    /// Bytes a second, read and written together, in copying more than caches hold.
    pub bytes: f64,
}

/// A compiled program set with its memory.
pub trait Executable: Debug {
    /// Writes a persistent tensor.
    ///
    /// # Errors
    /// A tensor that is not persistent, or data of another type or length.
    fn upload(&mut self, tensor: TensorId, data: TensorData<'_>) -> Result<(), BackendError>;

    /// Reads a persistent tensor, after everything that was run before.
    ///
    /// # Errors
    /// A tensor that is not persistent, or a buffer of another type or length.
    fn download(&self, tensor: TensorId, data: TensorDataMut<'_>) -> Result<(), BackendError>;

    /// Runs a program once. It may return before the device is done.
    ///
    /// # Errors
    /// A failure of the device.
    fn run(&mut self, program: ProgramId) -> Result<(), BackendError>;

    /// Runs a program once, and times its steps one by one. Where steps overlap in an ordinary run,
    /// the times add up to more than that run takes. A backend that cannot tell gives none.
    ///
    /// # Errors
    /// As [`Executable::run`].
    fn profile(&mut self, program: ProgramId) -> Result<Vec<StepTime>, BackendError> {
        self.run(program)?;
        Ok(Vec::new())
    }

    /// Bytes that the program set holds on the device.
    fn memory(&self) -> Memory;
}

impl dyn Executable + '_ {
    /// The elements of a persistent real tensor of this length.
    ///
    /// # Errors
    /// As [`Executable::download`].
    pub fn download_reals(&self, tensor: TensorId, len: usize) -> Result<Vec<f32>, BackendError> {
        let mut data = vec![0.0; len];
        self.download(tensor, TensorDataMut::Real(&mut data))?;
        Ok(data)
    }
}

/// The time that one step of a program takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// The operation, or the operations that were made one.
    pub name: &'static str,
    /// Positions of those operations in the program.
    pub ops: Vec<usize>,
    /// In one run.
    pub time: Duration,
}

/// Contents of a tensor on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TensorData<'a> {
    /// Real numbers.
    Real(&'a [f32]),
    /// Whole numbers.
    U32(&'a [u32]),
    /// Bytes.
    U8(&'a [u8]),
}

/// Room on the host for the contents of a tensor.
#[derive(Debug, PartialEq)]
pub enum TensorDataMut<'a> {
    /// Real numbers.
    Real(&'a mut [f32]),
    /// Whole numbers.
    U32(&'a mut [u32]),
    /// Bytes.
    U8(&'a mut [u8]),
}

/// Bytes that a compiled program set holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Persistent tensors: parameters, optimiser state, data set, counters.
    pub persistent: usize,
    /// Temporaries of the largest program, and scratch space of kernels.
    pub temporary: usize,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.persistent + self.temporary
    }
}
