//! Whether the files of a data set are what was published, file by file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::catalogue::{Catalogue, KnownFile};
use crate::decode::{Fit, check_all};
use crate::files::{self, checksum};
use crate::layout::{Files, Layout};
use crate::notes::{Note, Tally};
use crate::tiny_imagenet;
use crate::{DataError, Dataset, DatasetName, Progress, Source, silent};

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
        expected: &'static str,
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

impl From<Vec<FileReport>> for Verification {
    fn from(files: Vec<FileReport>) -> Self {
        Self { files, notes: Vec::new() }
    }
}

/// Checks every file of the data set `name` in `folder` (without a meaning for the embedded one).
///
/// Files with a published checksum are compared with it. Image folders have none: all their images
/// are decoded, and each broken one is reported.
///
/// # Errors
/// If the folder is not there. What is wrong inside it is in the reports.
pub fn verify(
    name: DatasetName,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Verification, DataError> {
    if name == DatasetName::Digits {
        let state = match Dataset::load(&Source::named(name), folder, &silent) {
            Ok(digits) => images(digits.train.len() + digits.test.len()),
            Err(error) => FileState::Broken { problem: error.chain() },
        };
        return Ok(vec![FileReport { path: "(compiled in)".into(), state }].into());
    }
    name.need_folder(folder, name.of_folder())?;
    let Some(known) = Catalogue::of(name) else {
        return Ok(verify_images(name, folder, progress));
    };
    let files = known.expected();
    let reports = files.iter().map(|forms| verify_file(forms, folder, progress));
    Ok(reports.collect::<Vec<_>>().into())
}

/// Checks the first of a file's forms that is there.
fn verify_file(forms: &[KnownFile], folder: &Path, progress: &dyn Progress) -> FileReport {
    let there = forms.iter().find(|form| folder.join(form.name).is_file());
    let state = match there {
        None => FileState::Missing,
        Some(file) => {
            let path = folder.join(file.name);
            known_file(file, &path, progress).unwrap_or_else(|error| broken(&error, &path))
        }
    };
    let name = there.or(forms.first()).map_or("", |file| file.name);
    FileReport { path: name.into(), state }
}

/// Compares a file with what was published.
pub(crate) fn known_file(
    file: &KnownFile,
    path: &Path,
    progress: &dyn Progress,
) -> Result<FileState, DataError> {
    let length = files::length(path)?;
    if length != file.bytes {
        return Ok(FileState::WrongLength { found: length, expected: file.bytes });
    }
    let Some(expected) = file.sha256 else {
        return Ok(FileState::Readable { what: "length".to_owned() });
    };
    let found = checksum(path, file.bytes, progress)?;
    Ok(if found == expected {
        FileState::Verified
    } else {
        FileState::WrongChecksum { found, expected }
    })
}

/// Decodes all images of a folder: a report for each broken one, and one for each set.
fn verify_images(name: DatasetName, folder: &Path, progress: &dyn Progress) -> Verification {
    let layout = match Layout::read(name, folder) {
        Ok(layout) => layout,
        Err(error) => {
            let state = FileState::Broken { problem: error.chain() };
            return vec![FileReport { path: ".".into(), state }].into();
        }
    };
    let fit = if name == DatasetName::TinyImagenet { tiny_imagenet::FIT } else { Fit::Any };
    let check = |set, files: &Files| {
        let (failed, tally) = check_all(&files.paths, fit, &format!("checking {set}"), progress);
        let good = files.paths.len() - failed.len();
        let mut reports =
            vec![FileReport { path: format!("{set} set").into(), state: images(good) }];
        reports.extend(failed.into_iter().map(|(path, error)| FileReport {
            path: path.strip_prefix(folder).map_or_else(|_| path.clone(), Path::to_owned),
            state: broken(&error, &path),
        }));
        (reports, tally)
    };
    let (mut files, of_train) = check("train", &layout.train);
    let (of_test_files, of_test) = check("test", &layout.test);
    files.extend(of_test_files);
    let mut notes = layout.notes;
    notes.extend(Tally::notes([of_train, of_test]));
    Verification { files, notes }
}

fn images(count: usize) -> FileState {
    FileState::Readable { what: format!("{count} image{}", if count == 1 { "" } else { "s" }) }
}

/// What is wrong with a file, without its name, which the report has.
fn broken(error: &DataError, path: &Path) -> FileState {
    let problem = error.chain();
    let named = format!("{}: ", path.display());
    FileState::Broken { problem: problem.strip_prefix(&named).unwrap_or(&problem).to_owned() }
}
