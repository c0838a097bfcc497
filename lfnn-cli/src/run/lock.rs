//! One process trains in a folder at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::failure::Failure;

/// The file that is locked. It holds nothing, and nothing replaces it, as renaming replaces the other files.
const LOCK: &str = ".lock";

/// A folder's lock. It ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    file: File,
    path: PathBuf,
    works: bool,
}

impl FolderLock {
    /// Locks a folder, which must be there.
    ///
    /// # Errors
    /// Another process has the lock, or the file cannot be made.
    pub(super) fn acquire(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(LOCK);
        loop {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = opened.with_context(|| format!("{}: cannot open", path.display()))?;
            let works = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => {
                    let folder = folder.display();
                    return Err(Failure::Runtime(anyhow!(
                        "{folder}: another process trains in this folder"
                    )));
                }
                Err(TryLockError::Error(_)) => false,
            };
            // Between opening and locking, the process that had the lock may have removed the file.
            if is_at(&file, &path) {
                return Ok(Self { file, path, works });
            }
        }
    }

    /// Whether the file system has locks. Without them nothing keeps a second process out.
    pub(super) fn works(&self) -> bool {
        self.works
    }

    /// Gives the lock back and removes its file.
    pub(super) fn remove(self) {
        // While the lock is still held: nobody else can hold a lock on a removed file then.
        let _ = std::fs::remove_file(&self.path);
        drop(self.file);
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    matches!(
        (file.metadata(), path.metadata()),
        (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino())
    )
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_again_when_the_lock_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path()).unwrap();
        assert!(lock.works());
        assert!(FolderLock::acquire(folder.path()).is_err());
        lock.remove();
        assert!(!folder.path().join(LOCK).exists());
        drop(FolderLock::acquire(folder.path()).unwrap());
        FolderLock::acquire(folder.path()).unwrap();
    }
}
