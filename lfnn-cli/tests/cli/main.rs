//! The program as a user drives it: every flag, bad input, interruption, and the files it leaves.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bad_config;
mod bad_files;
mod bench;
#[cfg(feature = "report")]
mod browser;
mod data;
mod determinism;
mod export;
mod features;
mod flags;
mod interruption;
mod kills;
mod library;
mod own_data;
mod own_data_use;
#[cfg(feature = "report")]
mod plot;
mod processes;
mod record;
#[cfg(feature = "report")]
mod report;
#[cfg(feature = "report")]
mod reproduce;
mod run_folder;
mod step;
mod steps;
mod support;
mod tensorboard;
mod transfer;
mod use_of_checkpoints;
