//! Files as the owners of a data set published them: sizes, checksums and mirrors.

use std::borrow::Cow;
use std::path::Path;

use crate::files::{self, checksum};
use crate::{DataError, FileReport, FileState, Progress};

/// A file as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// Its name, without folders.
    pub name: Cow<'static, str>,
    /// Its length.
    pub bytes: u64,
    /// Its sha256 in lower-case hexadecimal; none where no published one is known.
    pub sha256: Option<Cow<'static, str>>,
}

pub(crate) const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> PublishedFile {
    PublishedFile { name: Cow::Borrowed(name), bytes, sha256: Some(Cow::Borrowed(sha256)) }
}

pub(crate) const fn without_checksum(name: &'static str, bytes: u64) -> PublishedFile {
    PublishedFile { name: Cow::Borrowed(name), bytes, sha256: None }
}

impl PublishedFile {
    /// Compares a file with it.
    pub(crate) fn check(
        &self,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<FileState, DataError> {
        let length = files::length(path)?;
        if length != self.bytes {
            return Ok(FileState::WrongLength { found: length, expected: self.bytes });
        }
        let Some(expected) = self.sha256.as_deref() else {
            return Ok(FileState::Readable { what: "length".to_owned() });
        };
        let found = checksum(path, self.bytes, progress)?;
        Ok(if found == expected {
            FileState::Verified
        } else {
            FileState::WrongChecksum { found, expected: expected.to_owned() }
        })
    }

    /// Whether it is in a folder, and as it was published.
    #[cfg(feature = "download")]
    pub(crate) fn is_in(&self, folder: &Path, progress: &dyn Progress) -> Result<bool, DataError> {
        let path = folder.join(&*self.name);
        Ok(path.is_file() && self.check(&path, progress)?.is_good())
    }
}

/// The files of a data set.
pub(crate) struct Published {
    /// Addresses that a download's name completes.
    #[cfg_attr(not(feature = "download"), expect(dead_code, reason = "only `fetch` asks mirrors"))]
    pub(crate) mirrors: &'static [&'static str],
    /// What is downloaded.
    pub(crate) downloads: &'static [PublishedFile],
    /// The same without its compression: files of the same order for IDX, an archive's members for CIFAR.
    pub(crate) plain: &'static [PublishedFile],
}

impl Published {
    /// Whether the downloads are archives that are unpacked, rather than files that are kept.
    pub(crate) fn is_archive(&self) -> bool {
        self.downloads.iter().all(|file| file.name.ends_with(".tar.gz"))
    }

    /// Checks the files of a folder.
    pub(crate) fn check<'a>(
        &'a self,
        folder: &'a Path,
        progress: &'a dyn Progress,
    ) -> impl Iterator<Item = FileReport> + 'a {
        // A file may also be there as it is downloaded.
        let downloads = if self.is_archive() { &[] } else { self.downloads };
        self.plain.iter().enumerate().map(move |(index, plain)| {
            let forms = [Some(plain), downloads.get(index)];
            let found = forms.into_iter().flatten().find(|file| folder.join(&*file.name).is_file());
            let state = found.map_or(FileState::Missing, |file| {
                let path = folder.join(&*file.name);
                let state = file.check(&path, progress);
                state.unwrap_or_else(|error| FileState::broken(&error, &path))
            });
            FileReport { path: (*found.unwrap_or(plain).name).into(), state }
        })
    }
}
