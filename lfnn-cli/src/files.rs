//! Files that somebody else wrote, read with a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use lfnn_cpu::Bytes;

/// Reads a file of at most `most` bytes. It is told what it is for: `configuration`.
///
/// # Errors
/// A file that is not there, no file at all (a folder, a pipe, a device: some never end), or one that is larger.
pub(crate) fn read(path: &Path, what: &str, most: usize) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    let cannot = || format!("{name}: cannot read the {what}");
    let about = std::fs::metadata(path).with_context(cannot)?;
    if !about.is_file() {
        bail!("{name}: cannot read the {what}: not a regular file");
    }
    let too_large = |bytes: usize| {
        format!(
            "{name}: {} are too large for a {what}; expected at most {}",
            Bytes(bytes),
            Bytes(most)
        )
    };
    if about.len() > most as u64 {
        bail!(too_large(usize::try_from(about.len()).unwrap_or(usize::MAX)));
    }
    // It may grow while it is read.
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > most {
        bail!(too_large(bytes.len()));
    }
    Ok(bytes)
}
