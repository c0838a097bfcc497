//! Data sets that are folders of image files: which files there are, before any is decoded.

use std::path::{Path, PathBuf};

use crate::decode::{Fit, decode_all};
use crate::image_file;
use crate::notes::{LeftOut, Note, Tally};
use crate::{DataError, DatasetName, ImageShape, Images, Progress, files, folder, tiny_imagenet};

/// What a folder of images holds.
pub(crate) struct Layout {
    pub(crate) classes: Vec<String>,
    pub(crate) train: Files,
    pub(crate) test: Files,
    /// What in the folders of the two sets is not used.
    pub(crate) notes: Vec<Note>,
}

impl Layout {
    /// The layout of Tiny ImageNet, or of any other folder of images.
    pub(crate) fn read(name: DatasetName, folder: &Path) -> Result<Self, DataError> {
        let train = folder.join("train");
        name.need_folder(&train, "a folder for each class")?;
        match name {
            DatasetName::TinyImagenet => tiny_imagenet::layout(folder, &train),
            _ => folder::layout(folder, &train),
        }
    }
}

/// The image files of one set and their labels.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) labels: Vec<u32>,
}

impl Files {
    /// Adds the images of one class.
    pub(crate) fn add_class(
        &mut self,
        folder: &Path,
        label: u32,
        left_out: &mut LeftOut,
    ) -> Result<(), DataError> {
        let there = folder.is_dir();
        let images = if there { files::image_files(folder, left_out)? } else { Vec::new() };
        if images.is_empty() {
            return Err(empty(folder));
        }
        self.labels.extend(images.iter().map(|_| label));
        self.paths.extend(images);
        Ok(())
    }

    pub(crate) fn decode(
        &self,
        shape: ImageShape,
        fit: Fit,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<(Images, Tally), DataError> {
        let (pixels, tally) = decode_all(&self.paths, shape, fit, what, progress)?;
        Ok((Images::new(shape, pixels, self.labels.clone())?, tally))
    }
}

/// That a class has no images.
pub(crate) fn empty(folder: &Path) -> DataError {
    let expected = format!("files ending in {}", image_file::endings());
    DataError::EmptyClass { folder: folder.to_owned(), expected }
}
