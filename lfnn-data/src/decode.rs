//! Image files to bytes: one for a prediction, or a folder's worth in parallel.
//!
//! Every file goes through the same steps, so that a prediction sees an image as training did:
//! decode (the format by its content, not its name), turn as its EXIF orientation says, convert to
//! grey or RGB, resize if a size is asked for. Transparency is dropped: the colour below it counts.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use rayon::prelude::*;

use crate::{DataError, ImageShape, Progress, Step, Unit};

/// Bilinear; when shrinking it averages over the pixels that go into one, so that fine patterns do
/// not alias. It never overshoots, as Lanczos does at sharp edges.
const FILTER: FilterType = FilterType::Triangle;

const FORMATS: &str = "a JPEG, PNG, BMP, GIF, WebP or PNM image";

/// Loads one image file in the shape a network asks for: grey if `shape` has one channel, RGB if
/// three, resized to its height and width without keeping the aspect ratio (bilinear, averaging
/// when it shrinks). Returns `[row][column][channel]`.
///
/// # Errors
/// If the file cannot be read or decoded, or the shape has neither one nor three channels or no
/// pixels.
pub fn load_image(path: &Path, shape: ImageShape) -> Result<Vec<u8>, DataError> {
    check_size((shape.height, shape.width))?;
    let resized = Fit::Resize(shape.height, shape.width);
    let image = decode(path, resized)?;
    convert(image, shape.channels)
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
) -> Result<Vec<u8>, DataError> {
    let mut pixels = shape.allocate(files.len(), what)?;
    let counter = Counter::new(files.len(), what, progress);
    let images = pixels.par_chunks_exact_mut(shape.bytes().max(1));
    let failed = images.zip(files).find_map_first(|(target, file)| {
        let decoded = decode(file, fit).and_then(|image| convert(image, shape.channels));
        counter.one_more();
        decoded.map(|bytes| target.copy_from_slice(&bytes)).err()
    });
    failed.map_or(Ok(pixels), Err)
}

/// Decodes many files and keeps nothing but the errors, in the order of the files.
pub(crate) fn check_all(
    files: &[PathBuf],
    fit: Fit,
    what: &str,
    progress: &dyn Progress,
) -> Vec<(PathBuf, DataError)> {
    let counter = Counter::new(files.len(), what, progress);
    let check = |file: &PathBuf| {
        let decoded = decode(file, fit);
        counter.one_more();
        decoded.err().map(|error| (file.clone(), error))
    };
    files.par_iter().filter_map(check).collect()
}

/// Counts what is done on all threads and reports it.
struct Counter<'a> {
    done: AtomicU64,
    total: u64,
    what: &'a str,
    progress: &'a dyn Progress,
}

impl<'a> Counter<'a> {
    fn new(total: usize, what: &'a str, progress: &'a dyn Progress) -> Self {
        Self { done: AtomicU64::new(0), total: total as u64, what, progress }
    }

    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let (what, total) = (self.what, self.total);
        self.progress.report(&Step { what, unit: Unit::Images, done, total });
    }
}

/// Height and width of an image file as it will be decoded.
pub(crate) fn size(path: &Path) -> Result<(usize, usize), DataError> {
    let mut decoder = open(path)?;
    Ok(upright_size(&mut decoder, path)?.0)
}

fn broken(file: &Path) -> impl FnOnce(image::ImageError) -> DataError {
    move |source| match source {
        image::ImageError::IoError(source)
            if source.kind() != std::io::ErrorKind::UnexpectedEof
                && source.raw_os_error().is_some() =>
        {
            DataError::io("read", file)(source)
        }
        source => DataError::Decode { file: file.to_owned(), expected: FORMATS, source },
    }
}

/// The decoder for a file, by its content. The `image` crate's limit on memory (512 MiB) holds, so
/// that a forged header cannot exhaust it.
fn open(path: &Path) -> Result<impl ImageDecoder, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let reader = ImageReader::new(BufReader::new(file));
    let reader = reader.with_guessed_format().map_err(DataError::io("read", path))?;
    reader.into_decoder().map_err(broken(path))
}

/// Height and width after turning the image upright, and how it is to be turned.
fn upright_size(
    decoder: &mut impl ImageDecoder,
    path: &Path,
) -> Result<((usize, usize), image::metadata::Orientation), DataError> {
    use image::metadata::Orientation as Turn;
    let turn = decoder.orientation().map_err(broken(path))?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    let sideways = matches!(
        turn,
        Turn::Rotate90 | Turn::Rotate270 | Turn::Rotate90FlipH | Turn::Rotate270FlipH
    );
    Ok((if sideways { (width, height) } else { (height, width) }, turn))
}

/// An image upright and of the size asked for.
fn decode(path: &Path, fit: Fit) -> Result<DynamicImage, DataError> {
    let mut decoder = open(path)?;
    let (found, turn) = upright_size(&mut decoder, path)?;
    // Sizes are compared before anything is decoded.
    if let Fit::Exact(height, width) = fit
        && found != (height, width)
    {
        return Err(DataError::ImageSize {
            file: path.to_owned(),
            found,
            expected: (height, width),
            hint: String::new(),
        });
    }
    // The memory limit is the reader's own; going through its decoder leaves the check to us.
    Limits::default().reserve(decoder.total_bytes()).map_err(broken(path))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken(path))?;
    image.apply_orientation(turn);
    match fit {
        // `check_size` has seen that both fit 32 bits.
        Fit::Resize(height, width) if found != (height, width) => {
            Ok(image.resize_exact(width as u32, height as u32, FILTER))
        }
        _ => Ok(image),
    }
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
