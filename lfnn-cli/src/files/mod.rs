//! Files: read with a limit, and written whole or not at all, on the disk before the program relies on them.

mod fault;
mod read;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

pub(crate) use read::{read, read_text};

/// How the names of files begin that are still being written.
const PREFIX: &str = ".writing-";

/// Writes a file beside its final place and renames it when every byte is on the disk. Whatever
/// happens on the way, the old file or the new one is there.
///
/// # Errors
/// A disk that is full, a folder that cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let folder = parent(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any other file; the temporary file's own default is for its owner alone.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        fault::point();
        let mut temporary = builder.tempfile_in(folder)?;
        // While this lock is held, `remove_left_overs` knows that somebody still writes the file.
        let _ = temporary.as_file().try_lock();
        // Not through the temporary file itself, whose errors name its own path.
        write_in_halves(temporary.as_file_mut(), bytes)?;
        fault::point();
        temporary.as_file().sync_all()?;
        fault::point();
        temporary.persist(path).map_err(|error| error.error)?;
        fault::point();
        sync_folder(folder);
        Ok(())
    };
    write().with_context(|| format!("{}: cannot write", path.display()))
}

/// Adds bytes to the end of a file, which is made if it is not there. After a crash on the way a part of them
/// may be there.
///
/// # Errors
/// A disk that is full, a file that cannot be written.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        fault::point();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        write_in_halves(&mut file, bytes)
    };
    write().with_context(|| format!("{}: cannot write", path.display()))
}

/// Returns when everything that was written to a file is on the disk.
///
/// # Errors
/// A file that is not there, or a disk that fails.
pub(crate) fn sync(path: &Path) -> anyhow::Result<()> {
    let sync = || -> io::Result<()> {
        fault::point();
        // Some systems sync only what is open for writing.
        OpenOptions::new().append(true).open(path)?.sync_all()?;
        sync_folder(parent(path));
        Ok(())
    };
    sync().with_context(|| format!("{}: cannot write", path.display()))
}

/// Makes a folder and those above it.
///
/// # Errors
/// A folder that cannot be made.
#[cfg(feature = "report")]
pub(crate) fn create_folder(path: &Path) -> anyhow::Result<()> {
    make_folder(path).with_context(|| format!("{}: cannot make the folder", path.display()))
}

/// Makes a folder and those above it. It is on the disk when this returns.
///
/// # Errors
/// A folder that cannot be made.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fault::point();
    fs::create_dir_all(path)?;
    sync_folder(parent(path));
    Ok(())
}

/// Removes a file, if it is there.
///
/// # Errors
/// A file that cannot be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fault::point();
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what killed processes left half written in a folder. A file that a living process writes stays:
/// it is locked. What cannot be removed stays too.
pub(crate) fn remove_left_overs(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_left_over = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_left_over && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = remove(&path);
        }
    }
}

/// A process can end between any two writes of the system; in tests it does so here.
fn write_in_halves(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    fault::point();
    file.write_all(first)?;
    fault::point();
    file.write_all(second)
}

/// The folder of a file.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new name must reach the disk too; not every system lets a folder be synced.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path(".writing-dead"), "half").unwrap();
        fs::write(path("whole"), "whole").unwrap();
        let living = File::create(path(".writing-living")).unwrap();
        living.lock().unwrap();
        remove_left_overs(folder.path());
        assert!(!path(".writing-dead").exists());
        assert!(path(".writing-living").exists() && path("whole").exists());
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_left_overs() {
        remove_left_overs(Path::new("/there/is/no/such/folder"));
    }
}
