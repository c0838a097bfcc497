//! Text files from outside.

use std::io;
use std::path::Path;

/// The whole of a text file, without the byte order mark that some editors put at its beginning.
///
/// # Errors
/// A file that cannot be read or is not UTF-8.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = std::fs::read_to_string(path)?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}
