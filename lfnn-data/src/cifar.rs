//! The binary version of CIFAR-10 and CIFAR-100.
//!
//! A file is a sequence of records: the label (CIFAR-100: the coarse label, then the fine one),
//! then the red, the green and the blue plane of 32×32 bytes each. Planes are interleaved when
//! loaded, because images are channels last everywhere here.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::known::{CIFAR_10, CIFAR_100};
use crate::{DataError, Dataset, DatasetName, ImageShape, Images, files, idx};

const SHAPE: ImageShape = ImageShape { height: 32, width: 32, channels: 3 };

/// What tells the two formats apart.
pub(crate) struct Format {
    name: DatasetName,
    classes: &'static [&'static str],
    /// Bytes before the pixels; the last of them is the label.
    labels: usize,
    pub(crate) train: &'static [&'static str],
    pub(crate) test: &'static [&'static str],
}

const FORMAT_10: Format = Format {
    name: DatasetName::Cifar10,
    classes: &CIFAR_10,
    labels: 1,
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
};

const FORMAT_100: Format = Format {
    name: DatasetName::Cifar100,
    classes: &CIFAR_100,
    labels: 2,
    train: &["train.bin"],
    test: &["test.bin"],
};

impl Format {
    pub(crate) fn of(name: DatasetName) -> &'static Format {
        if name == DatasetName::Cifar100 { &FORMAT_100 } else { &FORMAT_10 }
    }

    fn record(&self) -> usize {
        self.labels + SHAPE.bytes()
    }

    /// The number of records in a set's files, by their sizes.
    pub(crate) fn count(&self, folder: &Path, files: &[&str]) -> Result<u64, DataError> {
        files.iter().map(|file| self.records(&folder.join(file)).map(|n| n as u64)).sum()
    }

    /// The number of records in one file, by its size.
    fn records(&self, path: &Path) -> Result<usize, DataError> {
        if !path.is_file() {
            return Err(self.name.missing(path, format!("this file of {}", self.name)));
        }
        let (length, record) = (files::length(path)?, self.record() as u64);
        if length == 0 || length % record != 0 {
            let expected = format!("a multiple of {record}, the size of a record");
            return Err(DataError::truncated(path, length, expected));
        }
        usize::try_from(length / record).map_err(|_| too_large(path, length / record))
    }

    fn load_set(&self, folder: &Path, files: &[&str]) -> Result<Images, DataError> {
        let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
        let counts = paths.iter().map(|path| self.records(path));
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
            let of_file = rest.split_off_mut(..count * SHAPE.bytes()).unwrap_or_default();
            labels.extend(self.parse(&bytes, path, of_file)?);
        }
        Images::new(SHAPE, pixels, labels)
    }

    /// The labels of a file's records; their pixels go to `images`.
    fn parse(&self, bytes: &[u8], path: &Path, images: &mut [u8]) -> Result<Vec<u32>, DataError> {
        let records = bytes.chunks_exact(self.record());
        let found: Vec<u8> = records.map(|record| record[self.labels - 1]).collect();
        images
            .par_chunks_exact_mut(SHAPE.bytes())
            .zip(bytes.par_chunks_exact(self.record()))
            .for_each(|(image, record)| interleave(&record[self.labels..], image));
        idx::labels(&found, self.classes.len(), path)
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

pub(crate) fn load(name: DatasetName, folder: &Path) -> Result<Dataset, DataError> {
    let format = Format::of(name);
    let train = format.load_set(folder, format.train)?;
    let test = format.load_set(folder, format.test)?;
    Ok(Dataset::assemble(name, format.classes, train, test))
}
