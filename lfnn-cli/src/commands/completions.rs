//! `completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Prints the completions for a shell.
///
/// # Errors
/// A standard output that cannot be written.
pub(crate) fn command(shell: Shell, output: &Output) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lfnn-cli", &mut text);
    output.result(&String::from_utf8_lossy(&text))
}
