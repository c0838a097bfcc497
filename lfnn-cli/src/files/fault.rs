//! Crashes on purpose: a test ends the program before any one of its file operations, and looks at what it left.
//!
//! Only builds with debug assertions have this; a released program ignores the variable.

/// Aborts the process if this is the file operation whose number, from 1, is in
/// `LFNN_TEST_ABORT_AT_FILE_OPERATION`.
#[cfg(debug_assertions)]
pub(super) fn point() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static DONE: AtomicUsize = AtomicUsize::new(0);
    static ABORT_AT: LazyLock<Option<usize>> =
        LazyLock::new(|| std::env::var("LFNN_TEST_ABORT_AT_FILE_OPERATION").ok()?.parse().ok());
    if *ABORT_AT == Some(DONE.fetch_add(1, Ordering::SeqCst) + 1) {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn point() {}
