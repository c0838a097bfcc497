#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! A program becomes a [`plan`]: kernel launches and matrix products with their operands, as plain
//! data, made without a device. The device side compiles the kernels for its own architecture, allocates
//! once, captures a run of the plan as a CUDA graph and replays it. Because a plan is data, the
//! same plan also runs on the CPU, with the same kernel sources compiled as C++: that is how the
//! kernels are tested where there is no GPU.

pub mod device;
#[cfg(feature = "emulator")]
pub mod emulator;
mod host;
pub mod kernels;
pub mod plan;

pub use device::{Cuda, CudaError, CudaExecutable, CudaPlatform};
pub use lfnn_core::backend::Precision;
