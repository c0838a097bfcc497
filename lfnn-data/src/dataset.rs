//! A data set by name: where it lies, and what loads it.

use std::path::{Path, PathBuf};

use crate::{
    DataError, DatasetName, Images, Note, Progress, cifar, digits, folder, idx, tiny_imagenet,
};

/// Which data set, and what a user may say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: DatasetName,
    /// Its folder, if it is not the usual one below the data folder.
    pub path: Option<PathBuf>,
    /// Height and width to resize every image to; for [`DatasetName::Folder`] alone.
    pub image_size: Option<(usize, usize)>,
}

impl Source {
    /// The data set `name` in its usual folder.
    pub fn named(name: DatasetName) -> Self {
        Self { name, path: None, image_size: None }
    }

    /// Where the data set lies when the data folder is `root`; none if it is compiled in.
    ///
    /// # Errors
    /// If an image folder has no path.
    pub fn folder(&self, root: &Path) -> Result<Option<PathBuf>, DataError> {
        if let Some(path) = &self.path {
            return Ok(Some(path.clone()));
        }
        if self.name == DatasetName::Folder {
            return Err(DataError::Setting {
                key: "dataset.path",
                found: "nothing".to_owned(),
                expected: "the path of a folder of images".to_owned(),
            });
        }
        Ok(self.name.folder().map(|folder| root.join(folder)))
    }
}

/// A training set and a test set with the same classes and the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The data set's name.
    pub name: String,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Images to learn from; [`crate::hold_out`] keeps some of them for validation.
    pub train: Images,
    /// Images never looked at before the end.
    pub test: Images,
    /// What a user may not expect: files that were left out, grey that became RGB, …
    pub notes: Vec<Note>,
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
        let name = source.name;
        if let (Some((height, width)), true) = (source.image_size, name != DatasetName::Folder) {
            return Err(DataError::Setting {
                key: "dataset.image_size",
                found: format!("{height} × {width}"),
                expected: format!("nothing: only the data set `folder` is resized, not `{name}`"),
            });
        }
        let Some(folder) = source.folder(root)? else {
            return digits::load();
        };
        name.need_folder(&folder, name.of_folder())?;
        match name {
            DatasetName::Digits => digits::load(),
            DatasetName::Mnist | DatasetName::FashionMnist => idx::load(name, &folder),
            DatasetName::Cifar10 | DatasetName::Cifar100 => cifar::load(name, &folder),
            DatasetName::TinyImagenet => tiny_imagenet::load(&folder, progress),
            DatasetName::Folder => folder::load(&folder, source.image_size, progress),
        }
    }

    /// Puts the parts together.
    pub(crate) fn assemble<S: ToString>(
        name: DatasetName,
        classes: &[S],
        train: Images,
        test: Images,
    ) -> Self {
        let classes = classes.iter().map(S::to_string).collect();
        Self { name: name.to_string(), classes, train, test, notes: Vec::new() }
    }

    pub(crate) fn with_notes(mut self, notes: impl IntoIterator<Item = Note>) -> Self {
        self.notes.extend(notes);
        self
    }
}
