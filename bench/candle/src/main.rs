//! lfnn's networks and training steps in candle, on the CPU with candle's own products.
//!
//! See `bench-common` for how the program is called and what it prints.

mod layers;
mod losses;
mod network;
mod optimizer;
mod trainer;

use std::process::ExitCode;

use bench_common::Framework;

use crate::trainer::Trainer;

fn main() -> ExitCode {
    let candle = Framework {
        name: "candle",
        package: "candle-core",
        lock: include_str!("../Cargo.lock"),
        variants: &["gemm"],
    };
    bench_common::run(candle, |description, _| Trainer::new(description))
}
