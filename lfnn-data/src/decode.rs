//! Image files to bytes: one for a prediction, or a folder's worth in parallel.
//!
//! Every file goes through the same steps, so that a prediction sees an image as training did:
//! decode (the format by its content, not its name), turn as its EXIF orientation says, convert to
//! grey or RGB, resize if a size is asked for. Transparency is dropped: the colour below it counts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::DynamicImage;
use image::imageops::FilterType;
use rayon::prelude::*;

use crate::image_file::{Header, ImageFile};
use crate::notes::Tally;
use crate::{Counted, DataError, ImageShape, Progress, Update};

/// Bilinear; when shrinking it averages over the pixels that go into one, so that fine patterns do
/// not alias. It never overshoots, as Lanczos does at sharp edges.
const FILTER: FilterType = FilterType::Triangle;

/// An image file in the shape a network asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// The pixels as `[row][column][channel]`.
    pub pixels: Vec<u8>,
    /// Whether the file has 16 bits per channel, of which `pixels` keep 8.
    pub sixteen_bits: bool,
}

/// Loads one image file in the shape a network asks for: grey if `shape` has one channel, RGB if
/// three, resized to its height and width without keeping the aspect ratio (bilinear, averaging
/// when it shrinks).
///
/// # Errors
/// If the file cannot be read or decoded, or the shape has neither one nor three channels or no
/// pixels.
pub fn load_image(path: &Path, shape: ImageShape) -> Result<LoadedImage, DataError> {
    check_size((shape.height, shape.width))?;
    let (image, header) = decode(path, Fit::Resize(shape.height, shape.width))?;
    Ok(LoadedImage { pixels: convert(image, shape.channels)?, sixteen_bits: header.deep })
}

/// What to do about an image of another size than the set's.
#[derive(Clone, Copy)]
pub(crate) enum Fit {
    /// Resize it to this height and width.
    Resize(usize, usize),
    /// It is an error. The pair is the height and width expected.
    Exact(usize, usize),
    /// Leave it as it is.
    Any,
}

/// Decodes many files into one block of pixels, in parallel, in the order of the files. If several
/// files are broken, the first one is named, whatever the number of threads.
pub(crate) fn decode_all(
    files: &[PathBuf],
    shape: ImageShape,
    fit: Fit,
    what: &str,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Tally), DataError> {
    let mut pixels = shape.allocate(files.len(), what)?;
    let counter = Counter::new(files.len(), what, progress);
    let images = pixels.par_chunks_exact_mut(shape.values().max(1));
    let failed = images.zip(files).find_map_first(|(target, file)| {
        let decoded = decode(file, fit);
        counter.one_more(&decoded);
        let converted = decoded.and_then(|(image, _)| convert(image, shape.channels));
        converted.map(|bytes| target.copy_from_slice(&bytes)).err()
    });
    failed.map_or_else(|| Ok((pixels, counter.tally())), Err)
}

/// Decodes many files and keeps nothing but the errors, in the order of the files.
pub(crate) fn check_all(
    files: &[PathBuf],
    fit: Fit,
    what: &str,
    progress: &dyn Progress,
) -> (Vec<(PathBuf, DataError)>, Tally) {
    let counter = Counter::new(files.len(), what, progress);
    let check = |file: &PathBuf| {
        let decoded = decode(file, fit);
        counter.one_more(&decoded);
        decoded.err().map(|error| (file.clone(), error))
    };
    let failed = files.par_iter().filter_map(check).collect();
    (failed, counter.tally())
}

/// Counts what is done on all threads and reports it.
struct Counter<'a> {
    done: AtomicU64,
    grey: AtomicU64,
    deep: AtomicU64,
    total: u64,
    what: &'a str,
    progress: &'a dyn Progress,
}

impl<'a> Counter<'a> {
    fn new(total: usize, what: &'a str, progress: &'a dyn Progress) -> Self {
        let [done, grey, deep] = [0; 3].map(AtomicU64::new);
        Self { done, grey, deep, total: total as u64, what, progress }
    }

    fn one_more(&self, decoded: &Result<(DynamicImage, Header), DataError>) {
        if let Ok((_, header)) = decoded {
            self.grey.fetch_add(header.grey.into(), Ordering::Relaxed);
            self.deep.fetch_add(header.deep.into(), Ordering::Relaxed);
        }
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let (what, total) = (self.what, self.total);
        self.progress.report(&Update { what, counted: Counted::Images, done, total });
    }

    fn tally(self) -> Tally {
        let [grey, deep] = [self.grey, self.deep].map(AtomicU64::into_inner);
        Tally { images: self.total, grey, deep }
    }
}

/// Height and width of an image file as it will be decoded.
pub(crate) fn size(path: &Path) -> Result<(usize, usize), DataError> {
    Ok(ImageFile::read(path)?.header()?.size)
}

/// An image upright and of the size asked for.
fn decode(path: &Path, fit: Fit) -> Result<(DynamicImage, Header), DataError> {
    // Sizes are compared before anything is decoded.
    let fits = |header: &Header| match fit {
        Fit::Exact(height, width) if header.size != (height, width) => Err(DataError::ImageSize {
            file: path.to_owned(),
            found: header.size,
            expected: (height, width),
            hint: String::new(),
        }),
        _ => Ok(()),
    };
    let (image, header) = ImageFile::read(path)?.decode(fits)?;
    let image = match fit {
        // `check_size` has seen that both fit 32 bits.
        Fit::Resize(height, width) if header.size != (height, width) => {
            image.resize_exact(width as u32, height as u32, FILTER)
        }
        _ => image,
    };
    Ok((image, header))
}

/// The longest side an image may be resized to. Far above any network's input, far below what
/// would exhaust memory.
const LONGEST_SIDE: usize = 1 << 14;

/// Whether images can be resized to this height and width.
pub(crate) fn check_size((height, width): (usize, usize)) -> Result<(), DataError> {
    if [height, width].iter().all(|side| (1..=LONGEST_SIDE).contains(side)) {
        return Ok(());
    }
    Err(DataError::Setting {
        key: "dataset.image_size",
        found: format!("{height} × {width}"),
        expected: format!("a height and a width from 1 to {LONGEST_SIDE}"),
    })
}

/// Bytes with the channels asked for.
fn convert(image: DynamicImage, channels: usize) -> Result<Vec<u8>, DataError> {
    match channels {
        1 => Ok(image.into_luma8().into_raw()),
        3 => Ok(image.into_rgb8().into_raw()),
        _ => Err(DataError::Inconsistent {
            what: "number of channels",
            found: channels as u64,
            expected: "1 (grey) or 3 (red, green and blue)".to_owned(),
        }),
    }
}
