//! Ctrl-C, and the signals by which a system asks a process to end.
//!
//! Before training they end the program at once. In training the first one is remembered, so that
//! the batch is finished and saved; the second one ends the program at once. A signal that was ignored when the
//! program started stays ignored: that is how `nohup` keeps a program running.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

#[cfg(feature = "report")]
use crate::failure::Failure;
use crate::process_status;

/// The exit code after a signal.
pub(crate) const EXIT_CODE: u8 = 130;

/// A signal has come in training.
static REQUESTED: AtomicBool = AtomicBool::new(false);
/// The next signal ends the program.
static ENDS: AtomicBool = AtomicBool::new(true);

#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Begins to listen.
///
/// # Errors
/// A system that does not allow it.
pub(crate) fn listen() -> anyhow::Result<()> {
    let ignored = ignored();
    for signal in SIGNALS.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
        // In the order in which they are registered: end the program, or remember.
        flag::register_conditional_shutdown(signal, EXIT_CODE.into(), &ENDS)
            .and_then(|_| flag::register(signal, &ENDS))
            .and_then(|_| flag::register(signal, &REQUESTED))
            .context("cannot listen for signals")?;
    }
    Ok(())
}

/// The signals that are ignored, a bit for each from signal 1 on, where the system tells it (Linux).
fn ignored() -> u64 {
    let mask = process_status::get("SigIgn");
    mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0)
}

/// From now on the first signal is remembered.
pub(crate) fn training_begins() {
    if !requested() {
        ENDS.store(false, Ordering::SeqCst);
    }
}

/// Ends work that is not saved on the way.
///
/// # Errors
/// The user wants to stop.
#[cfg(feature = "report")]
pub(crate) fn check() -> Result<(), Failure> {
    if requested() { Err(Failure::Interrupted) } else { Ok(()) }
}

/// Whether the user wants to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
