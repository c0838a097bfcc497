//! lfnn's networks and training steps in burn, on the CPU with its backend `flex`.
//!
//! Flex is burn's own choice where there is no GPU, in Rust alone: its older backend on ndarray is deprecated, and its
//! compiled one brings LLVM. See `bench-common` for how the program is called and what it prints.

// Types of burn's dispatch are deep.
#![recursion_limit = "256"]

mod layers;
mod losses;
mod network;
mod optimizer;
mod trainer;

use std::process::ExitCode;

use bench_common::Framework;

use crate::trainer::Trainer;

fn main() -> ExitCode {
    let burn = Framework {
        name: "burn",
        package: "burn",
        lock: include_str!("../Cargo.lock"),
        variants: &["flex"],
    };
    bench_common::run(burn, |description, _| Trainer::new(description))
}
