//! A data set by name: where it is, and how it is loaded.

use std::path::{Path, PathBuf};

use crate::declaration::Request;
use crate::{DataError, Dataset, DatasetName, Progress};

/// Which data set, and what a user may say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: DatasetName,
    /// Its folder, if it is not the usual one below the data folder.
    pub path: Option<PathBuf>,
    /// Height and width to resize every image to; for a folder of the user's alone.
    pub image_size: Option<(usize, usize)>,
}

impl Source {
    /// The data set `name` in its usual folder.
    pub fn named(name: DatasetName) -> Self {
        Self { name, path: None, image_size: None }
    }

    /// Where the data set is when the data folder is `root`; none if it is compiled in.
    ///
    /// # Errors
    /// If an image folder has no path.
    pub fn folder(&self, root: &Path) -> Result<Option<PathBuf>, DataError> {
        if let Some(path) = &self.path {
            return Ok(Some(path.clone()));
        }
        if self.name.needs_path() {
            return Err(DataError::Setting {
                key: "dataset.path",
                found: "nothing".to_owned(),
                expected: "the path of a folder of images".to_owned(),
            });
        }
        Ok(self.name.folder().map(|folder| root.join(folder)))
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
        if let (Some((height, width)), false) = (source.image_size, name.needs_path()) {
            return Err(DataError::Setting {
                key: "dataset.image_size",
                found: format!("{height} × {width}"),
                expected: format!("nothing: only the data set `folder` is resized, not `{name}`"),
            });
        }
        let folder = source.folder(root)?;
        if let Some(folder) = &folder {
            set.need_own_folder(folder)?;
        }
        let folder = folder.as_deref().unwrap_or(root);
        let request = Request { set, folder, image_size: source.image_size, progress };
        set.reader.load(&request)
    }
}
