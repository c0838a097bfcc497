//! Programs, layers, units, methods and the trainer of leader–follower networks.
#![forbid(unsafe_code)]

pub mod backend;
pub mod program;
pub mod random;
