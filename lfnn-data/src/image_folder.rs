//! Data sets that are folders of image files: which files there are, and their images.

use std::path::{Path, PathBuf};

use crate::declaration::{Declaration, Reader, Request};
use crate::decode::{Fit, channels_of_all, check_all, decode_all, size};
use crate::image_options::BitDepth;
use crate::notes::{LeftOut, Note, Tally};
use crate::{
    DataError, Dataset, Examples, FileReport, FileState, ImageOptions, ImageShape, Progress,
    Targets, TestPart, Verification, files, image_file,
};

/// A data set of image files.
pub(crate) struct ImageFolder {
    /// Finds the files of a folder.
    pub(crate) layout: fn(set: &Declaration, folder: &Path) -> Result<Layout, DataError>,
    /// The shape of every image, of bytes, if it is always the same.
    pub(crate) shape: Option<ImageShape>,
}

/// What a folder of images holds.
pub(crate) struct Layout {
    pub(crate) classes: Vec<String>,
    pub(crate) train: Files,
    /// None where a number of images to train on is held out.
    pub(crate) validation: Option<Files>,
    /// None where a share of the images is tested on.
    pub(crate) test: Option<Files>,
    /// What in the folders is not used.
    pub(crate) notes: Vec<Note>,
}

impl Layout {
    /// The parts of the set, with their names.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &Files)> {
        let train = if self.test.is_some() { "train" } else { "whole" };
        let parts = [
            (train, Some(&self.train)),
            ("validation", self.validation.as_ref()),
            ("test", self.test.as_ref()),
        ];
        parts.into_iter().filter_map(|(name, files)| Some((name, files?)))
    }

    /// That a user's wishes leave no part to be found twice.
    fn check(&self, test: Option<&TestPart>, validation: usize) -> Result<(), DataError> {
        if self.validation.is_some() && validation > 0 {
            let expected = "0: the folder has a validation part".to_owned();
            let found = validation.to_string();
            return Err(DataError::Setting { key: "dataset.validation", found, expected });
        }
        match (&self.test, test) {
            (Some(_), Some(test)) => Err(refused(test, "nothing: the folder has a test part")),
            (None, Some(test @ TestPart::File(_))) => Err(refused(test, "a share between 0 and 1")),
            _ => Ok(()),
        }
    }
}

impl ImageFolder {
    /// The shape and the depth of every image, and how it comes to its size.
    fn shape(
        &self,
        options: &ImageOptions,
        layout: &Layout,
    ) -> Result<(ImageShape, BitDepth, Fit), DataError> {
        if let Some(shape) = self.shape {
            return Ok((shape, BitDepth::Eight, Fit::Exact(shape.height, shape.width)));
        }
        let (height, width) = match (options.size, layout.train.paths.first()) {
            (Some(size), _) => size,
            (None, Some(first)) => size(first)?,
            (None, None) => (0, 0),
        };
        let files = match (options.channels, options.depth) {
            (Some(_), Some(_)) => Tally::default(),
            _ => channels_of_all(layout.parts().flat_map(|(_, files)| &files.paths))?,
        };
        let (channels, depth) = options.format(&files);
        let fit = match options.size {
            Some(_) => Fit::Resize(height, width),
            None => Fit::Exact(height, width),
        };
        Ok((ImageShape { height, width, channels }, depth, fit))
    }
}

impl Reader for ImageFolder {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let Request { set, source, path: folder, progress } = *request;
        source.images.check()?;
        let layout = (self.layout)(set, folder)?;
        layout.check(source.test.as_ref(), source.validation)?;
        let (shape, depth, fit) = self.shape(&source.images, &layout)?;
        let mut tallies = Vec::new();
        let mut decode = |files: &Files, part: &str| {
            let what = format!("decoding {part}");
            let decoded = files.decode((shape, depth), fit, &what, progress);
            let (examples, tally) = decoded.map_err(|error| match self.shape {
                Some(_) => error,
                None => suggest_size(error),
            })?;
            tallies.push(tally);
            Ok::<_, DataError>(examples)
        };
        let train = decode(&layout.train, "train")?;
        let mut decode_some = |files: &Option<Files>, part| {
            files.as_ref().map(|files| decode(files, part)).transpose()
        };
        let validation = decode_some(&layout.validation, "validation")?;
        let (train, test) = match decode_some(&layout.test, "test")? {
            Some(test) => (train, test),
            None => {
                let split = source.split_test(&train.targets)?;
                (train.select(&split.train), train.select(&split.validation))
            }
        };
        let mut notes = layout.notes;
        notes.extend(Tally::sum(tallies).notes((shape.channels, depth)));
        let dataset = Dataset::of_images(set.name, &layout.classes, train, test, notes);
        Ok(Dataset { validation, ..dataset })
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
        let fit = self.shape.map_or(Fit::Any, |shape| Fit::Exact(shape.height, shape.width));
        let (mut reports, mut tallies) = (Vec::new(), Vec::new());
        for (part, files) in layout.parts() {
            let (failed, tally) =
                check_all(&files.paths, fit, &format!("checking {part}"), progress);
            tallies.push(tally);
            let good = FileState::images(files.paths.len() - failed.len());
            reports.push(FileReport { path: format!("{part} set").into(), state: good });
            reports.extend(failed.into_iter().map(|(path, error)| FileReport {
                path: path.strip_prefix(folder).unwrap_or(&path).to_owned(),
                state: FileState::broken(&error, &path),
            }));
        }
        let (mut notes, tally) = (layout.notes, Tally::sum(tallies));
        notes.extend(tally.notes(match self.shape {
            Some(shape) => (shape.channels, BitDepth::Eight),
            None => ImageOptions::default().format(&tally),
        }));
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
        (shape, depth): (ImageShape, BitDepth),
        fit: Fit,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<(Examples, Tally), DataError> {
        let (pixels, tally) = decode_all(&self.paths, (shape, depth), fit, what, progress)?;
        let targets = Targets::Classes(self.labels.clone());
        Ok((Examples::new(shape, pixels, targets)?, tally))
    }
}

/// That a class has no images.
pub(crate) fn empty(folder: &Path) -> DataError {
    let expected = format!("files ending in {}", image_file::endings());
    DataError::EmptyClass { folder: folder.to_owned(), expected }
}
