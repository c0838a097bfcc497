//! Programs, layers, units, methods and the trainer of leader–follower networks.
#![forbid(unsafe_code)]

pub mod backend;
pub mod config;
pub mod layer;
pub mod method;
pub mod network;
pub mod optim;
pub mod program;
pub mod random;
pub mod step;
pub mod train;
pub mod unit;
