//! The CPU as a device that a program chooses by name.

use lfnn_core::backend::{Backend, BackendError, Precision};
use lfnn_core::device::Platform;

use crate::{Cpu, CpuError};

/// The CPU with all of its threads, under the name `cpu`.
#[derive(Clone, Copy, Debug)]
pub struct CpuPlatform;

impl Platform for CpuPlatform {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn open(&self, ordinal: usize, precision: Precision) -> Result<Box<dyn Backend>, BackendError> {
        if ordinal != 0 {
            return Err(CpuError::NoSuchOrdinal(ordinal).into());
        }
        if precision != Precision::F32 {
            return Err(CpuError::Precision(precision.name()).into());
        }
        Ok(Box::new(Cpu::new(None)?))
    }
}
