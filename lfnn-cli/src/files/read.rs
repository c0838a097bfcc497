//! Files that somebody else wrote, read with a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use lfnn_cpu::Bytes;

/// Reads a regular file of at most `most` bytes; the size is looked at first. `what` says what the file is for:
/// `checkpoint`.
///
/// # Errors
/// A file that is not there, no regular file (a folder, a device: some never end), or one that is larger.
pub(crate) fn read(path: &Path, what: &str, most: usize) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    let about =
        std::fs::metadata(path).with_context(|| format!("{name}: cannot read the {what}"))?;
    if !about.is_file() {
        bail!("{name}: cannot read the {what}: not a regular file");
    }
    if about.len() > most as u64 {
        return Err(too_large(path, what, &Bytes(usize::try_from(about.len())?), most));
    }
    read_at_most(path, what, most)
}

/// Reads a text of at most `most` bytes, from a file or a pipe, without the byte order mark that some editors put at
/// its beginning.
///
/// # Errors
/// What cannot be read, is larger, or is not UTF-8.
pub(crate) fn read_text(path: &Path, what: &str, most: usize) -> anyhow::Result<String> {
    let bytes = read_at_most(path, what, most)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| anyhow!("{}: cannot read the {what}: {error}", path.display()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn read_at_most(path: &Path, what: &str, most: usize) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("{}: cannot read the {what}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    // It may be longer than its size says, or have none.
    file.take((most as u64).saturating_add(1)).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > most {
        return Err(too_large(path, what, &format_args!("more than {}", Bytes(most)), most));
    }
    Ok(bytes)
}

fn too_large(path: &Path, what: &str, found: &dyn std::fmt::Display, most: usize) -> anyhow::Error {
    let name = path.display();
    anyhow!("{name}: {found} are too large for a {what}; expected at most {}", Bytes(most))
}
