//! The independent oracle of lfnn and what is needed to hold a backend against it.
//!
//! [`mod@reference`] is a backend of plain `f64` loops, written from the definitions of the operations in
//! `lfnn-core` and from nothing else. [`harness`] writes a small program with its inputs and runs it
//! on a backend; [`compare`] says how close two results must be; [`source`] draws the inputs;
//! [`under_test`] says on which; [`property`] runs a property over many random cases; [`predictions`] draws workers, losses and
//! targets, [`mod@weights`] the weights of a network, [`chain`] whole chains of layers; [`parity`] compares whole programs; [`derivative`] takes
//! finite differences; [`schedules`] checks orders and plans of memory. The tests themselves lie in the crate's `tests` folder.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "this crate serves tests: a panic is how they fail")]

pub mod chain;
pub mod compare;
pub mod derivative;
pub mod harness;
pub mod parity;
pub mod predictions;
pub mod property;
pub mod reference;
pub mod schedules;
pub mod source;
pub mod under_test;
pub mod weights;

/// The whole program of the page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
pub struct EmbeddingPage;
