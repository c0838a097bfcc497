//! Reading files and folders with errors that name them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::DataError;

/// The whole of a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    String::from_utf8(bytes)
        .map_err(|_| DataError::format(path, "its text", "not UTF-8", "a text file in UTF-8"))
}

/// Length of a file.
pub(crate) fn length(path: &Path) -> Result<u64, DataError> {
    Ok(fs::metadata(path).map_err(DataError::io("read", path))?.len())
}

/// The entries of a folder in the order of their names, so that no file system's order shows.
/// Hidden ones (`.DS_Store`, `._image.jpg`) are left out.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, DataError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("list", folder))? {
        let entry = entry.map_err(DataError::io("list", folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry);
        }
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

/// Names of the folders in a folder, sorted.
pub(crate) fn subfolders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in entries(folder)? {
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().map_err(|name| {
                DataError::format(folder, "a folder's name", format!("{name:?}"), "UTF-8")
            })?;
            names.push(name);
        }
    }
    Ok(names)
}

/// The image files in a folder by their extension, sorted by name.
pub(crate) fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let is_image = |path: &Path| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    let paths = entries(folder)?.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| is_image(path) && path.is_file()).collect())
}

/// The sha256 of a file in hexadecimal, reading it once; `read` hears how many bytes so far.
pub(crate) fn sha256(path: &Path, read: &mut dyn FnMut(u64)) -> Result<String, DataError> {
    let mut file = fs::File::open(path).map_err(DataError::io("read", path))?;
    let (mut hash, mut buffer, mut total) = (Sha256::new(), vec![0; 1 << 18], 0);
    loop {
        let count = file.read(&mut buffer).map_err(DataError::io("read", path))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        total += count as u64;
        read(total);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
