//! The IDX format of MNIST and Fashion-MNIST, plain or compressed with gzip.
//!
//! A header of big-endian numbers: two zero bytes, the type of a value (8: unsigned byte), the
//! number of dimensions, then each dimension; after it the values. A header is never trusted: the
//! sizes it claims are compared with what the file can hold before anything is allocated.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::declaration::{Declaration, Reader, Request};
use crate::examples::labels_of;
use crate::{DataError, Dataset, Examples, ImageShape, files};

/// Deflate cannot pack more than this many bytes into one; what a compressed file can hold.
const MOST_PER_COMPRESSED_BYTE: u64 = 1032;
const UNSIGNED_BYTE: u8 = 8;

/// The files of the MNIST family: training images and labels that begin with `train`, test images and labels with
/// `t10k`.
pub(crate) struct Idx {
    pub(crate) classes: &'static [&'static str],
}

impl Reader for Idx {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let Request { set, path: folder, .. } = *request;
        let [train_files, test_files] = [find(set, folder, "train")?, find(set, folder, "t10k")?];
        let train = load_set(&train_files, self.classes.len())?;
        let test = load_set(&test_files, self.classes.len())?;
        if train.shape != test.shape {
            let size = |shape: ImageShape| format!("{} × {}", shape.height, shape.width);
            let expected = format!("{} as in {}", size(train.shape), train_files.images.display());
            return Err(DataError::format(
                &test_files.images,
                "image size",
                size(test.shape),
                expected,
            ));
        }
        Ok(Dataset::of_images(set.name, self.classes, train, test, Vec::new()))
    }

    fn count(&self, set: &Declaration, folder: &Path) -> Result<[u64; 2], DataError> {
        let count = |prefix: &str| count(&find(set, folder, prefix)?.images);
        Ok([count("train")?, count("t10k")?])
    }
}

/// The two files of one set.
struct SetFiles {
    images: PathBuf,
    labels: PathBuf,
}

/// The files of the set whose names begin with `prefix`, each plain or, failing that, `.gz`.
fn find(set: &Declaration, folder: &Path, prefix: &str) -> Result<SetFiles, DataError> {
    let find = |kind: &str| {
        let plain = folder.join(format!("{prefix}-{kind}-ubyte"));
        let packed = folder.join(format!("{prefix}-{kind}-ubyte.gz"));
        [&plain, &packed].into_iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
            set.missing(&plain, format!("this file of {}, or the same with .gz", set.name))
        })
    };
    Ok(SetFiles { images: find("images-idx3")?, labels: find("labels-idx1")? })
}

fn load_set(files: &SetFiles, classes: usize) -> Result<Examples, DataError> {
    let ([images, height, width], pixels) = read::<3>(&files.images)?;
    let ([count], bytes) = read::<1>(&files.labels)?;
    if images != count {
        return Err(DataError::CountMismatch {
            images_file: files.images.clone(),
            images: images.into(),
            labels_file: files.labels.clone(),
            labels: count.into(),
        });
    }
    let labels = labels_of(&bytes, classes, &files.labels)?;
    let shape = ImageShape { height: height as usize, width: width as usize, channels: 1 };
    Examples::images(shape, pixels, labels)
}

/// Dimensions and values of an IDX file of unsigned bytes with `D` dimensions.
fn read<const D: usize>(path: &Path) -> Result<([u32; D], Vec<u8>), DataError> {
    let (mut reader, available) = open(path)?;
    let dims = header(&mut reader, available, path)?;
    let values = dims.iter().map(|&d| u64::from(d)).product::<u64>();
    let side = |axis: usize| dims.get(axis).map_or(1, |&side| side as usize);
    let image = ImageShape { height: side(1), width: side(2), channels: 1 };
    let mut bytes = image.reserve(side(0), &path.display().to_string())?;
    // One byte more than there should be distinguishes an oversized file from a right one.
    reader.take(values + 1).read_to_end(&mut bytes).map_err(unreadable(path))?;
    let (found, start) = (bytes.len() as u64, header_length(D));
    let asked = format!("{}, for its header says {dims:?}", values + start);
    if found < values {
        return Err(DataError::truncated(path, found + start, asked));
    }
    if found > values {
        return Err(DataError::oversized(path, format!("more than {}", values + start), asked));
    }
    Ok((dims, bytes))
}

/// The number of images that a file's header claims.
fn count(path: &Path) -> Result<u64, DataError> {
    let (mut reader, available) = open(path)?;
    Ok(header::<3>(&mut reader, available, path)?[0].into())
}

const fn header_length(dims: usize) -> u64 {
    4 + 4 * dims as u64
}

/// A reader of the plain bytes, and a bound on how many there can be.
fn open(path: &Path) -> Result<(Box<dyn Read>, u64), DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let length = files::length(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        // A gzip file may have several parts, and what follows one must be another.
        let reader = MultiGzDecoder::new(BufReader::new(file));
        Ok((Box::new(reader), length.saturating_mul(MOST_PER_COMPRESSED_BYTE)))
    } else {
        Ok((Box::new(file), length))
    }
}

/// A read that failed: a broken gzip stream, or the operating system's refusal.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> DataError {
    move |error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            let found = format!("broken ({error})");
            DataError::format(path, "gzip stream", found, "a whole gzip file")
        }
        _ => DataError::io("read", path)(error),
    }
}

fn header<const D: usize>(
    reader: &mut dyn Read,
    available: u64,
    path: &Path,
) -> Result<[u32; D], DataError> {
    let mut bytes = Vec::new();
    let length = header_length(D);
    reader.take(length).read_to_end(&mut bytes).map_err(unreadable(path))?;
    if let Some(magic) = bytes.first_chunk::<4>() {
        check_magic(*magic, D, path)?;
    }
    if (bytes.len() as u64) < length {
        return Err(DataError::truncated(path, bytes.len(), format!("a header of {length}")));
    }
    let mut dims = [0; D];
    for (dim, chunk) in dims.iter_mut().zip(bytes[4..].as_chunks().0) {
        *dim = u32::from_be_bytes(*chunk);
    }
    let values = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(u64::from(dim)));
    let asked = |length: String| format!("{length}, for its header says {dims:?}");
    match values {
        Some(0) => Err(DataError::format(
            path,
            "list of dimensions",
            format!("{dims:?}"),
            "none of them 0",
        )),
        Some(values) if values.saturating_add(length) <= available => Ok(dims),
        Some(values) => {
            Err(DataError::truncated(path, available, asked((values + length).to_string())))
        }
        None => Err(DataError::truncated(path, available, asked("more than 2⁶⁴".into()))),
    }
}

fn check_magic(magic: [u8; 4], dims: usize, path: &Path) -> Result<(), DataError> {
    let [zero, zero_too, kind, count] = magic;
    if [zero, zero_too] != [0, 0] {
        let expected = format!("[0, 0, {UNSIGNED_BYTE}, {dims}], an IDX file");
        return Err(DataError::format(path, "magic number", format!("{magic:?}"), expected));
    }
    if kind != UNSIGNED_BYTE {
        let expected = format!("{UNSIGNED_BYTE}, unsigned bytes");
        return Err(DataError::format(path, "type of its values", kind, expected));
    }
    if usize::from(count) != dims {
        let meaning = if dims == 3 { "images" } else { "labels" };
        let expected = format!("{dims}, as for {meaning}");
        return Err(DataError::format(path, "number of dimensions", count, expected));
    }
    Ok(())
}
