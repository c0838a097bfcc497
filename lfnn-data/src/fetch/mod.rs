//! Downloading the data sets whose owners let anyone download them.
//!
//! A file is received as `NAME.part` beside its place, continued from there after a break (also by
//! a later run), checked against its sha256, and only then moved to its name: a file under its
//! name is whole. Mirrors are tried in turn; the checksum makes it safe to trust none of them.

mod download;
mod unpack;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use unpack::unpack;

use crate::catalogue::{Catalogue, KnownFile};
use crate::files::{self, checksum};
use crate::{DataError, DatasetName, Progress, verify};

/// A file to download, and where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its sha256, in lower-case hexadecimal.
    pub sha256: String,
    /// Complete addresses of it, in the order to be tried.
    pub mirrors: Vec<String>,
    /// For a `.tar.gz`: the files to take out of it, wherever in it they are; the archive is
    /// deleted afterwards. Empty for a file that is kept as it is.
    pub members: Vec<Member>,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its sha256, if one is known.
    pub sha256: Option<String>,
}

/// How patient a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection and the head of an answer.
    pub connect: Duration,
    /// For the next bytes of an answer that has begun.
    pub stall: Duration,
    /// How often one mirror may break off before the next is asked. Each try continues where the
    /// last one stopped; a try that brings nothing ends the mirror's turn at once.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), stall: Duration::from_secs(30), tries: 20 }
    }
}

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
    let (Some(known), Some(folder)) = (Catalogue::of(name), name.folder()) else {
        return Err(DataError::NotFetchable { name: name.as_str(), hint: name.hint() });
    };
    let folder = root.join(folder);
    let mut wanted = Vec::new();
    for (remote, plain) in remotes(known) {
        if !plain.map_or(Ok(false), |plain| is_there_plain(plain, &folder, progress))? {
            wanted.push(remote);
        }
    }
    fetch_files(&wanted, &folder, Patience::default(), progress)?;
    Ok(folder)
}

/// The downloads of a data set, each with its uncompressed form if it is not an archive.
fn remotes(known: &Catalogue) -> Vec<(Remote, Option<&'static KnownFile>)> {
    let archived: &[KnownFile] = if known.is_archive() { known.plain } else { &[] };
    let member = |file: &KnownFile| Member {
        name: file.name.to_owned(),
        bytes: file.bytes,
        sha256: file.sha256.map(str::to_owned),
    };
    let remote = |file: &KnownFile| Remote {
        name: file.name.to_owned(),
        bytes: file.bytes,
        sha256: file.sha256.unwrap_or_default().to_owned(),
        mirrors: known.mirrors.iter().map(|mirror| format!("{mirror}{}", file.name)).collect(),
        members: archived.iter().map(member).collect(),
    };
    let plain = |index| if known.is_archive() { None } else { known.plain.get(index) };
    let downloads = known.downloads.iter().enumerate();
    downloads.map(|(index, file)| (remote(file), plain(index))).collect()
}

/// Whether a file is there without the compression it is published with. A wrong one is an error:
/// it would be read in place of what is fetched, and it is not ours to delete.
fn is_there_plain(
    plain: &KnownFile,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<bool, DataError> {
    let path = folder.join(plain.name);
    if !path.is_file() {
        return Ok(false);
    }
    let state = verify::known_file(plain, &path, progress)?;
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
        let target = folder.join(&remote.name);
        if remote.is_there(folder, progress)? {
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

impl Remote {
    /// Whether the file, or everything that would be taken out of it, is there and right.
    fn is_there(&self, folder: &Path, progress: &dyn Progress) -> Result<bool, DataError> {
        if self.members.is_empty() {
            return is_right(&folder.join(&self.name), self.bytes, Some(&self.sha256), progress);
        }
        for member in &self.members {
            let path = folder.join(&member.name);
            if !is_right(&path, member.bytes, member.sha256.as_deref(), progress)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a file is there with this length and, if it is known, this checksum.
fn is_right(
    path: &Path,
    bytes: u64,
    sha256: Option<&str>,
    progress: &dyn Progress,
) -> Result<bool, DataError> {
    if !path.is_file() || files::length(path)? != bytes {
        return Ok(false);
    }
    match sha256 {
        Some(expected) => Ok(checksum(path, bytes, progress)? == expected),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_download_has_a_checksum_of_sha256s_length_and_several_mirrors() {
        for known in DatasetName::ALL.into_iter().filter_map(Catalogue::of) {
            for (remote, _) in remotes(known) {
                assert_eq!(remote.sha256.len(), 64, "{}", remote.name);
                assert!(remote.mirrors.len() >= 2, "{}", remote.name);
                assert!(remote.mirrors[0].starts_with("https://"), "{}", remote.name);
            }
            for file in known.plain {
                assert!(file.sha256.is_none_or(|sum| sum.len() == 64), "{}", file.name);
            }
        }
    }
}
