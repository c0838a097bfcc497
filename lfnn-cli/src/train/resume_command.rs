//! The command with which a stopped run is resumed, as the user can type it.

use std::ffi::OsString;
use std::path::Path;

use crate::backend::{BackendArgs, BackendKind};
use crate::cli::DataFolder;

/// The command for a run's folder: with what this process was told about the machine, which a run's own
/// configuration does not hold.
pub(super) fn write(folder: &Path, backend: BackendArgs, data: &DataFolder) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "lfnn-cli".into());
    let mut words: Vec<OsString> = vec![program];
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    if backend.kind != BackendKind::default() {
        option("--backend", backend.kind.to_string().into());
    }
    if let Some(threads) = backend.threads {
        option("--threads", threads.to_string().into());
    }
    if let Some(streams) = backend.streams {
        option("--streams", streams.to_string().into());
    }
    words.extend(["train", "--resume"].map(OsString::from));
    let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
    option("--out", folder.into());
    if let Some(folder) = &data.data_dir {
        option("--data-dir", folder.into());
    }
    words.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    // A NUL cannot be in an argument, so this does not fail.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |word| word.into_owned())
}
