//! Starts [`lfnn_cli::main`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lfnn_cli::main()
}
