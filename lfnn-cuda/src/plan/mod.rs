//! A program set as launches and products: what the device will do, as plain data.
//!
//! Lowering knows every operation's kernels, but no driver: it needs no GPU and no CUDA library. Whoever runs a plan
//! (the device, or the emulator of the tests) allocates the blocks that it asks for and does its steps in order, or so
//! that no step runs before one on which it depends.
//!
//! From the bottom up, no file uses one above it:
//!
//! * `types` is a plan; `shared` declares structures and constants for Rust and CUDA; `launch` writes launches down.
//! * `schedule` distributes steps over streams, `scale` finds loss scales.
//! * `lowering` is the context in which an operation appends its steps, and the trait `Lower`.
//! * A file for each kind of operation implements it: launch parameters, structures, kernels by name.
//! * `fuse` says what is done in one launch or pass, and `lower` makes the plan.

mod bias;
pub(crate) mod channels;
pub(crate) mod conv;
pub(crate) mod data;
pub(crate) mod divide;
pub(crate) mod elementwise;
mod fuse;
mod launch;
mod layer_norm;
pub(crate) mod leaders;
mod linear;
pub(crate) mod losses;
mod lower;
mod lowering;
pub(crate) mod metrics;
pub(crate) mod norm;
pub(crate) mod optimize;
pub(crate) mod peak_rates;
mod perturb;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod rows;
pub(crate) mod scale;
pub mod schedule;
pub(crate) mod shape;
pub(crate) mod shared;
pub(crate) mod similarity;
mod types;
pub(crate) mod unit;
pub(crate) mod workers;

#[cfg(feature = "emulator")]
pub use product::force_tile;

pub use lower::{MAX_STREAMS, PlanError, STREAMS};
#[cfg(feature = "emulator")]
pub(crate) use scale::LOSS_SCALE_BYTES;
pub use types::{
    Address, Argument, Element, KernelFile, KernelSource, Launch, Matrix, Plan, Product,
    ProgramPlan, Step, StructBytes, Work,
};
