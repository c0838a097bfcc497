//! Progress of long work: one callback, called from any thread.
//!
//! A trait with an implementation for closures, so that a test passes `&silent`, a closure counts,
//! and a program shows a bar.

/// What is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Images decoded.
    Images,
    /// Bytes read or received.
    Bytes,
    /// Files checked.
    Files,
}

/// How much of some work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// What is being done, in a few words: `decoding train`, `train-images-idx3-ubyte.gz`.
    /// The same work keeps the same words.
    pub what: &'a str,
    /// What `done` and `total` count.
    pub counted: Counted,
    /// How much is done. May come out of order when threads report at once.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
}

/// Receives the progress of long work.
pub trait Progress: Sync {
    /// Called now and then, from any thread; it should return quickly.
    fn report(&self, update: &Update<'_>);
}

impl<F: Fn(&Update<'_>) + Sync> Progress for F {
    fn report(&self, update: &Update<'_>) {
        self(update);
    }
}

/// A [`Progress`] that shows nothing.
pub fn silent(_: &Update<'_>) {}
