#![doc = include_str!("../README.md")]
//!
//! # From a configuration to a trained network
//!
//! 1. [`config`] holds what a user decides; [`network`] checks it and builds [`layer`]s and
//!    [`mod@unit`]s for inputs of one shape.
//! 2. A [`method`] writes the training step: which error signal reaches which parameter.
//! 3. [`train::Trainer`] compiles it on a backend and runs it, batch after batch.
//!
//! To embed it, start at [`data::Dataset`], [`train::Setup`] and [`train::Trainer`]; [`model::Model`] keeps what was
//! trained. To check another implementation against it, or it against
//! another, see [`train::trace_step()`].
#![forbid(unsafe_code)]

pub mod backend;
pub mod config;
pub mod data;
pub mod device;
mod ensemble;
pub mod layer;
pub mod method;
pub mod metric;
pub mod model;
pub mod network;
pub mod optim;
pub mod program;
pub mod random;
pub mod score;
pub mod sizes;
pub mod step;
pub mod train;
pub mod unit;
