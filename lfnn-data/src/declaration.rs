//! What is declared of a data set, in a file of its own below `datasets`.

use std::fmt;
use std::path::Path;

use crate::notes::number_of;
use crate::published::Published;
use crate::{
    DataError, Dataset, FileReport, FileState, ImageShape, Progress, Source, Verification, silent,
};

/// A data set.
pub(crate) struct Declaration {
    /// Its name in a configuration and on the command line.
    pub(crate) name: &'static str,
    /// Where its files are, and where they come from.
    pub(crate) origin: Origin,
    /// What is known of it without its files.
    pub(crate) size: Option<DatasetSize>,
    /// What reads its files.
    pub(crate) reader: &'static dyn Reader,
}

/// Where the files of a data set are, and where they come from.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// It is compiled into this crate.
    Embedded,
    /// It can be downloaded, into this folder below the data folder.
    Download { folder: &'static str, files: &'static Published },
    /// The user puts it into this folder below the data folder, as `hint` says.
    Manual { folder: &'static str, hint: &'static str },
    /// It is the user's own file or folder, of this kind, which `hint` describes.
    Path { kind: DataKind, hint: &'static str },
}

/// What the examples of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Images.
    Images,
    /// Rows of a table.
    Table,
    /// Arrays of numbers.
    Arrays,
}

impl DataKind {
    /// What one example is called.
    pub fn example(self) -> &'static str {
        match self {
            DataKind::Images => "image",
            DataKind::Table => "row",
            DataKind::Arrays => "example",
        }
    }

    /// What the path of a user's own data set leads to.
    pub fn expected(self) -> &'static str {
        match self {
            DataKind::Images => "a folder of images",
            DataKind::Table => "a CSV or TSV file",
            DataKind::Arrays => "a .npz or .safetensors file, or a folder of .npy files",
        }
    }

    fn accepts(self, path: &Path) -> bool {
        match self {
            DataKind::Images => path.is_dir(),
            DataKind::Table => path.is_file(),
            DataKind::Arrays => path.exists(),
        }
    }
}

/// What is known of a data set without its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetSize {
    /// The shape of every image.
    pub shape: ImageShape,
    /// The number of classes.
    pub classes: usize,
    /// The number of training images.
    pub train: usize,
    /// The number of test images.
    pub test: usize,
}

/// What is to be loaded.
pub(crate) struct Request<'a> {
    pub(crate) set: &'a Declaration,
    pub(crate) source: &'a Source,
    /// Where the data set is.
    pub(crate) path: &'a Path,
    pub(crate) progress: &'a dyn Progress,
}

/// Reads the files of a data set.
pub(crate) trait Reader: Sync {
    /// Loads the data set.
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError>;

    /// Training and test images in a folder. Where it can be avoided, the images are not read.
    fn count(&self, set: &Declaration, folder: &Path) -> Result<[u64; 2], DataError> {
        let data = self.load_alone(set, folder)?;
        Ok([data.train, data.test].map(|examples| examples.len() as u64))
    }

    /// Loads the data set as it is when nothing is said about it.
    fn load_alone(&self, set: &Declaration, path: &Path) -> Result<Dataset, DataError> {
        let source = Source::named(set.name.parse()?);
        self.load(&Request { set, source: &source, path, progress: &silent })
    }

    /// What a data set without published checksums holds, in words.
    fn describe(&self, set: &Declaration, path: &Path) -> Result<String, DataError> {
        let data = self.load_alone(set, path)?;
        Ok(number_of(data.train.len() + data.test.len(), "image"))
    }

    /// Checks a data set without published checksums.
    fn verify(&self, set: &Declaration, path: &Path, _: &dyn Progress) -> Verification {
        let state = match self.describe(set, path) {
            Ok(what) => FileState::Readable { what },
            Err(error) => FileState::broken(&error, path),
        };
        let path = if matches!(set.origin, Origin::Embedded) { "(compiled in)" } else { "." };
        [FileReport { path: path.into(), state }].into_iter().collect()
    }
}

impl Declaration {
    /// The usual name of its folder below the data folder.
    pub(crate) fn folder(&self) -> Option<&'static str> {
        match self.origin {
            Origin::Download { folder, .. } | Origin::Manual { folder, .. } => Some(folder),
            Origin::Embedded | Origin::Path { .. } => None,
        }
    }

    /// How a user gets it: the end of a message that says that it is not there.
    pub(crate) fn hint(&self) -> String {
        match self.origin {
            Origin::Embedded => "it is compiled in".to_owned(),
            Origin::Download { .. } => format!("`lfnn-cli data fetch {}` downloads it", self.name),
            Origin::Manual { hint, .. } | Origin::Path { hint, .. } => hint.to_owned(),
        }
    }

    /// That a folder or file of this data set is not there, or something else in its place.
    pub(crate) fn missing(&self, path: &Path, expected: impl fmt::Display) -> DataError {
        let found = match (path.is_dir(), path.exists(), path.is_symlink()) {
            (true, ..) => "it is a folder",
            (_, true, _) => "it is a file",
            (.., true) => "it is a link to nothing",
            _ => "not found",
        };
        DataError::Missing {
            path: path.to_owned(),
            found,
            expected: expected.to_string(),
            hint: self.hint(),
        }
    }

    /// That there is a folder.
    pub(crate) fn need_folder(
        &self,
        path: &Path,
        expected: impl fmt::Display,
    ) -> Result<(), DataError> {
        if path.is_dir() { Ok(()) } else { Err(self.missing(path, expected)) }
    }

    /// That the data set's folder or file is there.
    pub(crate) fn need_own_path(&self, path: &Path) -> Result<(), DataError> {
        match self.origin {
            Origin::Path { kind, .. } if kind.accepts(path) => Ok(()),
            Origin::Path { kind, .. } => Err(self.missing(path, kind.expected())),
            _ => self.need_folder(path, format!("the folder of {}", self.name)),
        }
    }
}
