//! Compiled kernels on disk, so that only the first run on a machine compiles.
//!
//! An entry is named by a hash of all that decides what the compiler makes (source, options, target, compiler's
//! version) and begins with a hash of its contents. It is written whole or not at all. A cache that cannot be
//! used costs time and is no error; nor is an entry that is damaged: it is compiled again.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::Version;
use super::nvrtc::Target;

/// A folder of compiled kernels.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// What decides on the bytes of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The whole source.
    pub source: &'a str,
    /// The compiler's options.
    pub options: &'a [String],
    /// What is compiled for.
    pub target: Target,
    /// The compiler's version.
    pub compiler: Version,
}

impl Key<'_> {
    fn file(&self) -> String {
        let mut hash = Sha256::new();
        // Lengths keep apart what would read the same in a row.
        for part in self.options.iter().map(String::as_str).chain([
            self.source,
            &self.target.to_string(),
            &self.compiler.to_string(),
        ]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hex(&hash.finalize()) + ".kernel"
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const HASH: usize = 32;

impl Cache {
    /// The user's: `kernels` in the folder for caches, or no cache at all where there is no such folder.
    pub fn of_user() -> Self {
        let folders = directories::ProjectDirs::from("", "", "lfnn");
        Self { folder: folders.map(|folders| folders.cache_dir().join("kernels")) }
    }

    /// A cache in this folder, which need not exist.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()) }
    }

    /// An entry, if it is there and whole.
    pub fn get(&self, key: &Key<'_>) -> Option<Vec<u8>> {
        let mut bytes = std::fs::read(self.folder.as_ref()?.join(key.file())).ok()?;
        if bytes.len() < HASH {
            return None;
        }
        let body = bytes.split_off(HASH);
        (Sha256::digest(&body).as_slice() == bytes).then_some(body)
    }

    /// Keeps an entry, if that can be done.
    pub fn put(&self, key: &Key<'_>, body: &[u8]) {
        if let Some(folder) = &self.folder {
            // Whoever finds no entry compiles: there is nothing to report.
            let _ = write(folder, &key.file(), body);
        }
    }
}

fn write(folder: &Path, name: &str, body: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&Sha256::digest(body))?;
    file.write_all(body)?;
    file.persist(folder.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    const V12: Version = Version { major: 12, minor: 8 };

    fn key<'a>(source: &'a str, options: &'a [String]) -> Key<'a> {
        Key { source, options, target: Target::Device(90), compiler: V12 }
    }

    #[test]
    fn what_was_kept_is_found_again_under_its_own_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(&folder.path().join("not/yet"));
        let options = ["-a".to_owned(), "-b".to_owned()];
        let one = key("source", &options);
        assert_eq!(cache.get(&one), None);
        cache.put(&one, b"machine code");
        assert_eq!(cache.get(&one).as_deref(), Some(b"machine code".as_slice()));
        let others = [
            key("source ", &options),
            key("source", &options[..1]),
            Key { target: Target::Device(80), ..one },
            Key { target: Target::Virtual(90), ..one },
            Key { compiler: Version { minor: 9, ..V12 }, ..one },
        ];
        for other in &others {
            assert_eq!(cache.get(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path());
        let key = key("source", &[]);
        cache.put(&key, b"machine code");
        let file = folder.path().join(key.file());
        let whole = std::fs::read(&file).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..HASH - 1], &[]] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(cache.get(&key), None);
        }
        let mut flipped = whole.clone();
        flipped[HASH + 3] ^= 1;
        std::fs::write(&file, flipped).unwrap();
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"machine code");
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::in_folder(&file.path().join("below a file"));
        let key = key("source", &[]);
        cache.put(&key, b"machine code");
        assert_eq!(cache.get(&key), None);
    }
}
