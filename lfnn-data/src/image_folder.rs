//! Data sets that are folders of image files: which files there are, and their images.

use std::path::{Path, PathBuf};

use crate::declaration::{Declaration, Reader, Request};
use crate::decode::{Fit, check_all, check_size, decode_all, size};
use crate::notes::{LeftOut, Note, Tally};
use crate::{
    DataError, Dataset, Examples, FileReport, FileState, ImageShape, Progress, TestPart,
    Verification, files, image_file,
};

/// A data set of image files; images become RGB.
pub(crate) struct ImageFolder {
    /// Finds the files of a folder.
    pub(crate) layout: fn(set: &Declaration, folder: &Path) -> Result<Layout, DataError>,
    /// Height and width of every image, if they are always the same.
    pub(crate) image_size: Option<(usize, usize)>,
}

/// What a folder of images holds.
pub(crate) struct Layout {
    pub(crate) classes: Vec<String>,
    pub(crate) train: Files,
    /// None where a share of the images is tested on.
    pub(crate) test: Option<Files>,
    /// What in the folders is not used.
    pub(crate) notes: Vec<Note>,
}

/// The folder `train` of a data set.
///
/// # Errors
/// There is none.
pub(crate) fn train_folder(set: &Declaration, folder: &Path) -> Result<PathBuf, DataError> {
    let train = folder.join("train");
    set.need_folder(&train, "a folder for each class")?;
    Ok(train)
}

impl Reader for ImageFolder {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let Request { set, source, path: folder, progress } = *request;
        let image_size = source.image_size;
        image_size.map_or(Ok(()), check_size)?;
        let layout = (self.layout)(set, folder)?;
        let (height, width) = match (image_size.or(self.image_size), layout.train.paths.first()) {
            (Some(size), _) => size,
            (None, Some(first)) => size(first)?,
            (None, None) => (0, 0),
        };
        let shape = ImageShape { height, width, channels: 3 };
        let fit = match image_size {
            Some(_) => Fit::Resize(height, width),
            None => Fit::Exact(height, width),
        };
        let decode = |files: &Files, what| {
            let decoded = files.decode(shape, fit, what, progress);
            decoded.map_err(
                |error| if self.image_size.is_none() { suggest_size(error) } else { error },
            )
        };
        let mut notes = layout.notes;
        let (train, of_train) = decode(&layout.train, "decoding train")?;
        let (train, test) = match (&layout.test, &source.test) {
            (Some(_), Some(test)) => {
                return Err(refused(test, "nothing: the folder has a test part"));
            }
            (Some(files), None) => {
                let (test, of_test) = decode(files, "decoding test")?;
                notes.extend(Tally::notes([of_train, of_test]));
                (train, test)
            }
            (None, Some(test @ TestPart::File(_))) => {
                return Err(refused(test, "a share between 0 and 1"));
            }
            (None, _) => {
                notes.extend(Tally::notes([of_train]));
                let split = source.split_test(&train.targets)?;
                (train.select(&split.train), train.select(&split.validation))
            }
        };
        Ok(Dataset::of_images(set.name, &layout.classes, train, test, notes))
    }

    fn count(&self, set: &Declaration, folder: &Path) -> Result<[u64; 2], DataError> {
        let layout = (self.layout)(set, folder)?;
        let files = [Some(layout.train), layout.test];
        Ok(files.map(|files| files.map_or(0, |files| files.paths.len() as u64)))
    }

    /// Decodes all images: a report for each broken one, and one for each set.
    fn verify(&self, set: &Declaration, folder: &Path, progress: &dyn Progress) -> Verification {
        let layout = match (self.layout)(set, folder) {
            Ok(layout) => layout,
            Err(error) => {
                let state = FileState::Broken { problem: error.chain() };
                return [FileReport { path: ".".into(), state }].into_iter().collect();
            }
        };
        let fit = self.image_size.map_or(Fit::Any, |(height, width)| Fit::Exact(height, width));
        let mut reports = Vec::new();
        let none = Files::default();
        let sets = match &layout.test {
            Some(test) => [("train", &layout.train), ("test", test)],
            None => [("whole", &layout.train), ("", &none)],
        };
        let tallies = sets.map(|(set, files)| {
            if set.is_empty() {
                return Tally::default();
            }
            let (failed, tally) =
                check_all(&files.paths, fit, &format!("checking {set}"), progress);
            let good = FileState::images(files.paths.len() - failed.len());
            reports.push(FileReport { path: format!("{set} set").into(), state: good });
            reports.extend(failed.into_iter().map(|(path, error)| FileReport {
                path: path.strip_prefix(folder).unwrap_or(&path).to_owned(),
                state: FileState::broken(&error, &path),
            }));
            tally
        });
        let mut notes = layout.notes;
        notes.extend(Tally::notes(tallies));
        Verification { files: reports, notes }
    }
}

/// That `dataset.test` cannot be what it is.
fn refused(test: &TestPart, expected: &str) -> DataError {
    let found = match test {
        TestPart::Share(share) => share.to_string(),
        TestPart::File(file) => file.display().to_string(),
    };
    DataError::Setting { key: "dataset.test", found, expected: expected.to_owned() }
}

/// Without a size asked for, the first image sets it; another size needs the user's word.
fn suggest_size(error: DataError) -> DataError {
    match error {
        DataError::ImageSize { file, found, expected, .. } => {
            let hint = "the first image's size, because `dataset.image_size` is not set; set it \
                        to resize all images";
            DataError::ImageSize { file, found, expected, hint: hint.to_owned() }
        }
        other => other,
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
    ) -> Result<(Examples, Tally), DataError> {
        let (pixels, tally) = decode_all(&self.paths, shape, fit, what, progress)?;
        Ok((Examples::images(shape, pixels, self.labels.clone())?, tally))
    }
}

/// That a class has no images.
pub(crate) fn empty(folder: &Path) -> DataError {
    let expected = format!("files ending in {}", image_file::endings());
    DataError::EmptyClass { folder: folder.to_owned(), expected }
}
