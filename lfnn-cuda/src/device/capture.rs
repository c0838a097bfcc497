//! Captures, kept apart from what would break them.
//!
//! A capture is invalidated when any thread waits for the GPU, allocates or frees its memory, or loads or
//! unloads kernels, which a kernel's first launch does too. The mode of a capture keeps its own thread from that, not
//! others: of 27 trainings, nine at a time in one process, four ended so on an H200. So captures take this lock alone,
//! and those calls share it. Runs of captured graphs, all but the first two of a program, need none.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static CAPTURES: RwLock<()> = RwLock::new(());

/// For the time of a capture. Not to be asked for by a thread that holds either guard.
pub(super) fn alone() -> RwLockWriteGuard<'static, ()> {
    CAPTURES.write().unwrap_or_else(PoisonError::into_inner)
}

/// For a call that would break another thread's capture. Not to be asked for by a thread that holds either guard.
pub(super) fn outside() -> RwLockReadGuard<'static, ()> {
    CAPTURES.read().unwrap_or_else(PoisonError::into_inner)
}
