//! Reading files and folders with errors that name them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::image_file::is_named_image;
use crate::notes::LeftOut;
use crate::{Counted, DataError, Progress, Update};

/// The whole of a text file, without the byte order mark that some editors put at its beginning.
pub(crate) fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    let mut text = String::from_utf8(bytes)
        .map_err(|_| DataError::format(path, "its text", "not UTF-8", "a text file in UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Length of a file.
pub(crate) fn length(path: &Path) -> Result<u64, DataError> {
    Ok(fs::metadata(path).map_err(DataError::io("read", path))?.len())
}

/// What a name in a folder is, links followed.
enum Kind {
    Folder,
    File,
    /// A link to nothing.
    DanglingLink,
    /// A pipe, a socket, a device.
    Special,
    /// Anything whose name begins with a dot: `.DS_Store`, `._image.jpg`.
    Hidden,
}

/// The entries of a folder in the order of their names, so that no file system's order shows.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, Kind)>, DataError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("list", folder))? {
        paths.push(entry.map_err(DataError::io("list", folder))?.path());
    }
    paths.sort();
    let with_kind = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            return Ok((path, Kind::Hidden));
        }
        let kind = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Kind::Folder,
            Ok(found) if found.is_file() => Kind::File,
            Ok(_) => Kind::Special,
            Err(_) if path.is_symlink() => Kind::DanglingLink,
            Err(error) => return Err(DataError::io("read", &path)(error)),
        };
        Ok((path, kind))
    };
    paths.into_iter().map(with_kind).collect()
}

/// Names of the folders in a folder, sorted. What else is in it is left out.
pub(crate) fn subfolders(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for (path, kind) in entries(folder)? {
        match kind {
            Kind::Folder => {
                let name = path.file_name().unwrap_or_default();
                names.push(name.to_str().map(str::to_owned).ok_or_else(|| {
                    DataError::format(folder, "a folder's name", format!("{name:?}"), "UTF-8")
                })?);
            }
            Kind::File if is_named_image(&path) => left_out.add(&path, "stray image"),
            other => leave_out(&path, &other, left_out),
        }
    }
    Ok(names)
}

/// The image files in a folder by their ending, sorted by name. What else is in it is left out.
pub(crate) fn image_files(
    folder: &Path,
    left_out: &mut LeftOut,
) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    for (path, kind) in entries(folder)? {
        match kind {
            Kind::File if is_named_image(&path) => images.push(path),
            other => leave_out(&path, &other, left_out),
        }
    }
    Ok(images)
}

/// The image files in a folder, and after them those in the folders inside it, sorted by name.
pub(crate) fn image_files_below(
    folder: &Path,
    images: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
) -> Result<(), DataError> {
    let mut inside = Vec::new();
    for (path, kind) in entries(folder)? {
        match kind {
            Kind::File if is_named_image(&path) => images.push(path),
            Kind::Folder => inside.push(path),
            other => leave_out(&path, &other, left_out),
        }
    }
    inside.iter().try_for_each(|path| image_files_below(path, images, left_out))
}

fn leave_out(path: &Path, kind: &Kind, left_out: &mut LeftOut) {
    match kind {
        Kind::File => left_out.add_file(path),
        Kind::Folder => left_out.add(path, "sub-folder"),
        Kind::DanglingLink => left_out.add(path, "dangling link"),
        Kind::Special => left_out.add(path, "special file"),
        Kind::Hidden => left_out.add(path, "hidden file"),
    }
}

/// Whether a folder holds nothing, or nothing but hidden files and parts of downloads.
pub(crate) fn holds_nothing(folder: &Path) -> bool {
    let is_nothing = |(path, kind): &(PathBuf, Kind)| matches!(kind, Kind::Hidden) || is_part(path);
    entries(folder).is_ok_and(|all| all.iter().all(is_nothing))
}

/// The sha256 of a file in hexadecimal, reading it once; `read` is called with the bytes so far.
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

/// The sha256 of a file of this length, reporting progress.
pub(crate) fn checksum(
    path: &Path,
    total: u64,
    progress: &dyn Progress,
) -> Result<String, DataError> {
    let what = format!("checking {}", path.file_name().unwrap_or_default().display());
    sha256(path, &mut |done| {
        progress.report(&Update { what: &what, counted: Counted::Bytes, done, total });
    })
}

/// Whether a file is a download that is not whole yet.
pub(crate) fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "part")
}
