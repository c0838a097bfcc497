//! How long work reports that it goes on: one callback, called from any thread.
//!
//! A trait with an implementation for closures, so that a test passes `&silent`, a closure counts,
//! and a program shows a bar.

/// What is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Images decoded.
    Images,
    /// Bytes read or received.
    Bytes,
    /// Files checked.
    Files,
}

/// How far a piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// What is being done, in a few words: `decoding train`, `train-images-idx3-ubyte.gz`.
    /// The same piece of work keeps the same words.
    pub what: &'a str,
    /// What `done` and `total` count.
    pub unit: Unit,
    /// How much is done. May come out of order when threads report at once.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
}

/// Somebody who wants to know how far long work has come.
pub trait Progress: Sync {
    /// Called now and then, from any thread; it should return quickly.
    fn report(&self, step: &Step<'_>);
}

impl<F: Fn(&Step<'_>) + Sync> Progress for F {
    fn report(&self, step: &Step<'_>) {
        self(step);
    }
}

/// A [`Progress`] that shows nothing.
pub fn silent(_: &Step<'_>) {}
