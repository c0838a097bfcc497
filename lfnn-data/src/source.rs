//! A data set by name: where it is, and how it is loaded.

use std::path::{Path, PathBuf};

use lfnn_core::data::Split;

use crate::declaration::Request;
use crate::{DataError, Dataset, DatasetName, ImageOptions, Progress, TableColumns, Targets};

/// The share of a user's own examples that are tested on, where nothing else is said.
pub const DEFAULT_TEST_SHARE: f64 = 0.2;

/// Which data set, and what a user may say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: DatasetName,
    /// Its file or folder, if it is not the usual one below the data folder.
    pub path: Option<PathBuf>,
    /// How image files become images; for a folder of the user's alone.
    pub images: ImageOptions,
    /// Which columns of a table are used. Of arrays, `regression` alone matters.
    pub columns: TableColumns,
    /// What a table or arrays without a test part are tested on: [`DEFAULT_TEST_SHARE`] if none.
    pub test: Option<TestPart>,
    /// Number of training examples that will be held out for validation, where the data set has no part for it: what is known of a column of a table, such
    /// as the mean that fills its empty cells, is known of the other rows.
    pub validation: usize,
    /// Seed of the choice of test and validation examples.
    pub seed: u64,
}

/// What is tested on, where a data set does not say.
#[derive(Clone, Debug, PartialEq)]
pub enum TestPart {
    /// This share of the examples, between 0 and 1, balanced over the classes.
    Share(f64),
    /// Another file.
    File(PathBuf),
}

impl Source {
    /// The data set `name` in its usual folder.
    pub fn named(name: DatasetName) -> Self {
        let (images, columns) = (ImageOptions::default(), TableColumns::default());
        Self { name, path: None, images, columns, test: None, validation: 0, seed: 1 }
    }

    /// Where the data set is when the data folder is `root`; none if it is compiled in.
    ///
    /// # Errors
    /// If a data set of the user's own has no path.
    pub fn folder(&self, root: &Path) -> Result<Option<PathBuf>, DataError> {
        if let Some(path) = &self.path {
            return Ok(Some(path.clone()));
        }
        if self.name.needs_path() {
            return Err(DataError::Setting {
                key: "dataset.path",
                found: "nothing".to_owned(),
                expected: format!("the path of {}", self.name.kind().expected()),
            });
        }
        Ok(self.name.folder().map(|folder| root.join(folder)))
    }

    /// Indices of the examples to train and to test on, where one file holds both.
    pub(crate) fn split_test(&self, targets: &Targets) -> Result<Split, DataError> {
        let share = match self.test {
            Some(TestPart::Share(share)) => share,
            _ => DEFAULT_TEST_SHARE,
        };
        let count = targets.len();
        let tested = (count as f64 * share).round() as usize;
        if !(0.0..1.0).contains(&share) || tested == 0 || tested >= count {
            return Err(DataError::Setting {
                key: "dataset.test",
                found: format!("{share} of {count} examples"),
                expected: "a share between 0 and 1 that leaves examples on both sides".to_owned(),
            });
        }
        targets.hold_out(tested, self.seed)
    }
}

impl Dataset {
    /// Loads a data set from its folder below `root`, or from the path its source names.
    ///
    /// # Errors
    /// If anything is missing, unreadable or not what its format asks for.
    pub fn load(
        source: &Source,
        root: &Path,
        progress: &dyn Progress,
    ) -> Result<Dataset, DataError> {
        let (name, set) = (source.name, source.name.declaration());
        if let (Some((key, found)), false) = (source.images.given(), name.is_resized()) {
            let expected = format!("nothing: it is for the data set `folder`, not for `{name}`");
            return Err(DataError::Setting { key, found, expected });
        }
        let folder = source.folder(root)?;
        if let Some(folder) = &folder {
            set.need_own_path(folder)?;
        }
        let path = folder.as_deref().unwrap_or(root);
        set.reader.load(&Request { set, source, path, progress })
    }
}
