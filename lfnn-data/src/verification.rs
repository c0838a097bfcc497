//! What a check of a data set finds, file by file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::notes::number_of;
use crate::{DataError, Note};

/// What is known of one file, or of a part of a data set that has no published checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Its length and its checksum are those published.
    Verified,
    /// It can be read and holds what it should, but there is no published checksum of it.
    Readable {
        /// What was checked: `length`, `500 images`.
        what: String,
    },
    /// It is not there.
    Missing,
    /// Its length is not that published.
    WrongLength {
        /// Its length.
        found: u64,
        /// The length published.
        expected: u64,
    },
    /// Its sha256 is not that published.
    WrongChecksum {
        /// Its sha256.
        found: String,
        /// The sha256 published.
        expected: String,
    },
    /// It cannot be read or is not what its format asks for.
    Broken {
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileState::Verified => f.write_str("length and sha256 are right"),
            FileState::Readable { what } => write!(f, "{what}; no checksum is known"),
            FileState::Missing => f.write_str("missing"),
            FileState::WrongLength { found, expected } => {
                write!(f, "found {found} bytes; expected {expected}")
            }
            FileState::WrongChecksum { found, expected } => {
                write!(f, "found sha256 {found}; expected {expected}")
            }
            FileState::Broken { problem } => f.write_str(problem),
        }
    }
}

impl FileState {
    /// That so many images can be read.
    pub(crate) fn images(count: usize) -> Self {
        Self::Readable { what: number_of(count, "image") }
    }

    /// What is wrong with the file `path`, without its name, which the report has.
    pub(crate) fn broken(error: &DataError, path: &Path) -> Self {
        let problem = error.chain();
        let named = format!("{}: ", path.display());
        Self::Broken { problem: problem.strip_prefix(&named).unwrap_or(&problem).to_owned() }
    }

    /// Whether nothing is wrong with it.
    pub fn is_good(&self) -> bool {
        matches!(self, FileState::Verified | FileState::Readable { .. })
    }
}

/// What was found out about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file or folder, below the data set's folder.
    pub path: PathBuf,
    /// What was found.
    pub state: FileState,
}

/// What was found out about a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// About each of its files.
    pub files: Vec<FileReport>,
    /// What a user may not expect, though it is not wrong.
    pub notes: Vec<Note>,
}

impl FromIterator<FileReport> for Verification {
    fn from_iter<I: IntoIterator<Item = FileReport>>(files: I) -> Self {
        Self { files: files.into_iter().collect(), notes: Vec::new() }
    }
}
