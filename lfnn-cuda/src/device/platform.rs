//! NVIDIA GPUs as devices that a program chooses by name.

use lfnn_core::backend::{Backend, BackendError, Precision};
use lfnn_core::device::Platform;

use super::Cuda;

/// NVIDIA GPUs, under the names `cuda`, `cuda:1`, …
#[derive(Clone, Copy, Debug)]
pub struct CudaPlatform;

impl Platform for CudaPlatform {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn open(&self, ordinal: usize, precision: Precision) -> Result<Box<dyn Backend>, BackendError> {
        Ok(Box::new(Cuda::new(ordinal, precision)?))
    }
}
