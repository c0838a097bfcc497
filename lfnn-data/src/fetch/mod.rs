//! Downloading the data sets whose owners let anyone download them.
//!
//! A file is received as `NAME.part` in its folder, continued from there after a break (also by
//! a later run), checked against its sha256, and only then moved to its name: a file under its
//! name is whole. Mirrors are tried in turn; the checksum makes it safe to trust none of them.

mod download;
mod remote;
mod unpack;

use std::fs;
use std::path::{Path, PathBuf};

pub use remote::{Patience, Remote};
pub use unpack::unpack;

use crate::declaration::Origin;
use crate::published::Published;
use crate::{DataError, DatasetName, Progress, PublishedFile};

/// Downloads a data set into its folder below `root` and returns the folder. Files that are there
/// already and are right are kept.
///
/// # Errors
/// If the data set cannot be fetched by itself, no mirror gives a file, or the disk refuses.
pub fn fetch(
    name: DatasetName,
    root: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, DataError> {
    let set = name.declaration();
    let Origin::Download { folder, files } = set.origin else {
        return Err(DataError::NotFetchable { name: set.name, hint: set.hint() });
    };
    let folder = root.join(folder);
    let mut wanted = Vec::new();
    for (remote, plain) in remotes(files) {
        if !plain.map_or(Ok(false), |plain| is_there_plain(plain, &folder, progress))? {
            wanted.push(remote);
        }
    }
    fetch_files(&wanted, &folder, Patience::default(), progress)?;
    Ok(folder)
}

/// The downloads of a data set, each with its uncompressed form if it is not an archive.
fn remotes(
    files: &Published,
) -> impl Iterator<Item = (Remote, Option<&'static PublishedFile>)> + '_ {
    let archive = files.is_archive();
    files.downloads.iter().enumerate().map(move |(index, file)| {
        let mirrors = files.mirrors.iter().map(|mirror| format!("{mirror}{}", file.name)).collect();
        let members = if archive { files.plain.to_vec() } else { Vec::new() };
        let plain = if archive { None } else { files.plain.get(index) };
        (Remote { file: file.clone(), mirrors, members }, plain)
    })
}

/// Whether a file is there without the compression it is published with. A wrong one is an error:
/// it would be read in place of what is fetched, and it is not ours to delete.
fn is_there_plain(
    plain: &PublishedFile,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<bool, DataError> {
    let path = folder.join(&*plain.name);
    if !path.is_file() {
        return Ok(false);
    }
    let state = plain.check(&path, progress)?;
    if state.is_good() {
        return Ok(true);
    }
    let expected = "the published one; delete the file and fetch again";
    Err(DataError::format(&path, "its content", format!("wrong ({state})"), expected))
}

/// Downloads files into a folder, from the mirrors they name.
///
/// # Errors
/// If no mirror gives a file, an archive lacks a member, or the disk refuses.
pub fn fetch_files(
    remotes: &[Remote],
    folder: &Path,
    patience: Patience,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    let made: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
    let fetched = fetch_into(remotes, folder, patience, progress);
    if fetched.is_err() {
        // Folders that hold nothing would look like broken data sets. Others cannot be deleted so.
        for folder in made {
            let _ = fs::remove_dir(folder);
        }
    }
    fetched
}

fn fetch_into(
    remotes: &[Remote],
    folder: &Path,
    patience: Patience,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    for remote in remotes {
        let target = folder.join(&*remote.file.name);
        if remote.is_in(folder, progress)? {
            continue;
        }
        download::download(remote, &target, patience, progress)?;
        if !remote.members.is_empty() {
            unpack(&target, &remote.members, folder, progress)?;
            fs::remove_file(&target).map_err(DataError::io("delete", &target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_download_has_a_checksum_of_sha256s_length_and_several_mirrors() {
        for name in DatasetName::ALL {
            let Origin::Download { files, .. } = name.declaration().origin else { continue };
            for (Remote { file, mirrors, .. }, _) in remotes(files) {
                assert!(file.sha256.is_some(), "{}", file.name);
                assert!(mirrors.len() >= 2, "{}", file.name);
                assert!(mirrors[0].starts_with("https://"), "{}", file.name);
            }
            for file in files.plain.iter().chain(files.downloads) {
                let sum = file.sha256.as_deref();
                assert!(sum.is_none_or(|sum| sum.len() == 64), "{}", file.name);
            }
        }
    }
}
