//! Starts [`lfnn_cli::main`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use lfnn_cpu::CountingAllocator;

/// Counts allocations, so that `bench` can show that a step makes none.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    lfnn_cli::main()
}
