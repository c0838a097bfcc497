#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! * [`Cpu`] is the backend, [`CpuExecutable`] a program set that it has compiled.
//! * Compiling fuses operations into fewer passes over memory (`fuse`), plans the memory, and turns
//!   every step into a kernel with resolved buffers (`work::Compile`, `memory`). A run only calls the kernels, phase by
//!   phase, the two halves of a phase concurrently: no allocation, no search, no arithmetic on shapes.
//! * Kernels (`kernels`, one file per family) are functions on slices. Work is cut into chunks that
//!   depend on shapes alone, and sums over chunks are added in order, so the bytes of a result do not
//!   depend on the number of threads.
//! * [`CountingAllocator`] shows that a run allocates nothing; `peak_rates` measures what the machine can do
//!   at best.
//! * `product` has the two products behind every convolution and linear map, `simd` the vector instructions in use.

mod counting;
mod error;
mod executable;
mod fuse;
mod host;
mod kernels;
mod memory;
mod peak_rates;
mod platform;
mod product;
mod simd;
mod work;

pub use counting::CountingAllocator;
pub use error::CpuError;
pub use executable::{Cpu, CpuExecutable};
pub use host::{Bytes, available_memory, max_threads};
pub use platform::CpuPlatform;
