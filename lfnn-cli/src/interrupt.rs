//! Ctrl-C, and the signals by which a system asks a process to end.
//!
//! Before training they end the program at once. In training the first one is remembered, so that
//! the batch is finished and saved; the second one ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static IN_TRAINING: AtomicBool = AtomicBool::new(false);

/// Begins to listen.
///
/// # Errors
/// A system that does not allow it.
pub(crate) fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let repeated = REQUESTED.swap(true, Ordering::SeqCst);
        if repeated || !IN_TRAINING.load(Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}

/// From now on the first signal is remembered.
pub(crate) fn training_begins() {
    IN_TRAINING.store(true, Ordering::SeqCst);
}

/// Whether the user wants to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
