//! The binary version of CIFAR-10 and CIFAR-100.
//!
//! A file is a sequence of records: the label (CIFAR-100: the coarse label, then the fine one),
//! then the red, the green and the blue plane of 32×32 bytes each. Planes are interleaved when
//! loaded, because images are channels last everywhere here.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::declaration::{Declaration, Reader, Request};
use crate::examples::labels_of;
use crate::{DataError, Dataset, Examples, ImageShape, files};

const SHAPE: ImageShape = ImageShape { height: 32, width: 32, channels: 3 };

/// The files of a data set in this format.
pub(crate) struct Cifar {
    pub(crate) classes: &'static [&'static str],
    /// Bytes before the pixels; the last of them is the label.
    pub(crate) labels: usize,
    pub(crate) train: &'static [&'static str],
    pub(crate) test: &'static [&'static str],
}

impl Reader for Cifar {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let Request { set, path: folder, .. } = *request;
        let train = self.load_set(set, folder, self.train)?;
        let test = self.load_set(set, folder, self.test)?;
        Ok(Dataset::of_images(set.name, self.classes, train, test, Vec::new()))
    }

    fn count(&self, set: &Declaration, folder: &Path) -> Result<[u64; 2], DataError> {
        let count = |files: &[&str]| {
            let counts = files.iter().map(|file| self.records(set, &folder.join(file)));
            counts.map(|count| count.map(|count| count as u64)).sum::<Result<u64, DataError>>()
        };
        Ok([count(self.train)?, count(self.test)?])
    }
}

impl Cifar {
    fn record(&self) -> usize {
        self.labels + SHAPE.values()
    }

    /// The number of records in one file, by its size.
    fn records(&self, set: &Declaration, path: &Path) -> Result<usize, DataError> {
        if !path.is_file() {
            return Err(set.missing(path, format!("this file of {}", set.name)));
        }
        let (length, record) = (files::length(path)?, self.record() as u64);
        if length == 0 || length % record != 0 {
            let expected = format!("a multiple of {record}, the size of a record");
            return Err(DataError::truncated(path, length, expected));
        }
        usize::try_from(length / record).map_err(|_| too_large(path, length / record))
    }

    fn load_set(
        &self,
        set: &Declaration,
        folder: &Path,
        files: &[&str],
    ) -> Result<Examples, DataError> {
        let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
        let counts = paths.iter().map(|path| self.records(set, path));
        let counts = counts.collect::<Result<Vec<usize>, DataError>>()?;
        let all = counts.iter().fold(0usize, |sum, &count| sum.saturating_add(count));
        let mut pixels = SHAPE.allocate(all, &folder.display().to_string())?;
        let (mut rest, mut labels) = (pixels.as_mut_slice(), Vec::new());
        for (path, count) in paths.iter().zip(counts) {
            let bytes = fs::read(path).map_err(DataError::io("read", path))?;
            if bytes.len() != count * self.record() {
                let (found, expected) = (bytes.len(), count * self.record());
                return Err(DataError::truncated(path, found, format!("{expected} as before")));
            }
            let of_file = rest.split_off_mut(..count * SHAPE.values()).unwrap_or_default();
            labels.extend(self.parse(&bytes, path, of_file)?);
        }
        Examples::images(SHAPE, pixels, labels)
    }

    /// The labels of a file's records; their pixels go to `images`.
    fn parse(&self, bytes: &[u8], path: &Path, images: &mut [u8]) -> Result<Vec<u32>, DataError> {
        let records = bytes.chunks_exact(self.record());
        let found: Vec<u8> = records.map(|record| record[self.labels - 1]).collect();
        images
            .par_chunks_exact_mut(SHAPE.values())
            .zip(bytes.par_chunks_exact(self.record()))
            .for_each(|(image, record)| interleave(&record[self.labels..], image));
        labels_of(&found, self.classes.len(), path)
    }
}

fn too_large(path: &Path, images: u64) -> DataError {
    let ImageShape { height, width, channels } = SHAPE;
    DataError::TooLarge { what: path.display().to_string(), images, height, width, channels }
}

/// Planes one after another become channels side by side.
fn interleave(planes: &[u8], image: &mut [u8]) {
    for (channel, plane) in planes.chunks_exact(SHAPE.positions()).enumerate() {
        for (pixel, &value) in image.chunks_exact_mut(SHAPE.channels).zip(plane) {
            pixel[channel] = value;
        }
    }
}
