//! `devices`: what backends this machine can run, and why not the others.

use crate::backend::{self, BackendArgs};
use crate::failure::Result;
use crate::format::{Align, table};
use crate::output::Output;

/// Prints a line for each backend, and the libraries that the GPU's needs.
///
/// # Errors
/// A standard output that cannot be written.
pub(crate) fn command(backend: BackendArgs, output: &Output) -> Result {
    let lines: Vec<Vec<String>> = backend::devices(backend).into_iter().map(Vec::from).collect();
    output.result(&table(&[Align::Left, Align::Left, Align::Left], &lines))
}
