//! The program `lfnn-cli`: trains networks of leaders and followers, evaluates and uses them, from one command.
//!
//! The command line is parsed, then resolved once to a configuration, then run. What a program embeds is
//! `lfnn-core` with a backend; this crate is a library so that fuzzers reach its parsers.
#![forbid(unsafe_code)]

mod backend;
mod bench;
#[cfg(feature = "report")]
mod chart;
mod checkpoint;
mod cli;
mod commands;
mod config;
mod data;
mod digest;
mod ensemble;
mod evaluation;
mod failure;
#[cfg(feature = "report")]
mod figures;
mod files;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod interrupt;
mod memory;
mod output;
#[cfg(feature = "report")]
mod page;
mod process_status;
mod processes;
mod recipes;
#[cfg(feature = "report")]
mod reproduce;
mod resolved;
mod run;
mod scores;
mod train;

use std::process::ExitCode;

use clap::Parser;

use backend::BackendArgs;
use cli::{Cli, Command, ConfigAction};
use failure::Failure;
use output::{Level, Output};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => Level::Quiet,
        (false, true) => Level::Verbose,
        (false, false) => Level::Normal,
    };
    let output = Output::new(level);
    if let Some(threads) = cli.threads {
        // Decoding of images and permutation of pixels keep to it too.
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(anyhow::Error::from)?;
    }
    let backend = BackendArgs { kind: cli.backend, threads: cli.threads, streams: cli.streams };
    match &cli.command {
        Command::Train(args) => train::command(args, backend, &output),
        Command::Eval(args) => commands::eval::command(args, backend, &output),
        Command::EarlyExit(args) => commands::early_exit::command(args, backend, &output),
        Command::Predict(args) => commands::predict::command(args, backend, &output),
        Command::Export(args) => commands::export::command(args, &output),
        #[cfg(feature = "report")]
        Command::Plot(args) => commands::plot::command(args, &output),
        #[cfg(feature = "report")]
        Command::Report(args) => commands::report::command(args, backend, &output),
        #[cfg(feature = "report")]
        Command::Reproduce(args) => reproduce::command(args, backend, &output),
        #[cfg(not(feature = "report"))]
        Command::Plot(_) => Err(failure::lacks("`plot`", "report")),
        #[cfg(not(feature = "report"))]
        Command::Report(_) => Err(failure::lacks("`report`", "report")),
        #[cfg(not(feature = "report"))]
        Command::Reproduce(_) => Err(failure::lacks("`reproduce`", "report")),
        Command::Step(args) => commands::step::command(args, backend, &output),
        Command::Bench(args) => bench::command(args, backend, &output),
        Command::Recipes { name } => commands::recipes::command(name.as_deref(), &output),
        Command::Config { action: ConfigAction::Schema } => output.result(config::SCHEMA),
        Command::Data { action } => commands::data::command(action, &output),
        Command::Devices => commands::devices::command(backend, &output),
        Command::Completions { shell } => commands::completions::command(*shell, &output),
    }
}
