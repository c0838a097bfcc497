//! How much memory the process has used, and how much there is.

use anyhow::bail;
use lfnn_cpu::{Bytes, available_memory};

use crate::process_status;

/// Checks that this machine can give memory for something, before it is asked for.
///
/// # Errors
/// More bytes than there are.
pub(crate) fn check(bytes: usize, what: &str) -> anyhow::Result<()> {
    match available_memory() {
        Some(available) if bytes > available => {
            bail!(
                "{what} need {} of memory; this machine has {} free",
                Bytes(bytes),
                Bytes(available)
            )
        }
        _ => Ok(()),
    }
}

/// Largest resident memory of this process so far, in bytes, where the system tells it (Linux).
pub(crate) fn peak() -> Option<u64> {
    let kibibytes: u64 = process_status::get("VmHWM")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
