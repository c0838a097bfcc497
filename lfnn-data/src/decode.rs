//! Image files to pixels: one for a prediction, or a folder's worth in parallel.
//!
//! Every file goes through the same steps, so that a prediction sees an image as training did:
//! decode (the format by its content, not its name), turn as its EXIF orientation says, resize if a
//! size is asked for, convert to grey or RGB and to bytes or real numbers. Transparency is dropped:
//! the colour below it counts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::DynamicImage;
use image::imageops::FilterType;
use rayon::prelude::*;

use crate::examples::real_of_16_bits;
use crate::image_file::{Channels, Header, ImageFile};
use crate::image_options::{BitDepth, check_size};
use crate::notes::Tally;
use crate::{Counted, DataError, ImageShape, Inputs, Progress, Update};

/// Bilinear; when shrinking it averages over the pixels that go into one, so that fine patterns do
/// not alias. It never overshoots, as Lanczos does at sharp edges.
const FILTER: FilterType = FilterType::Triangle;

/// An image file in the shape a network asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// The pixels as `[row][column][channel]`.
    pub pixels: Inputs,
    /// Whether the file has 16 bits per channel, of which `pixels` keep 8.
    pub is_cut: bool,
}

/// Loads one image file in the shape a network asks for: grey if `shape` has one channel, RGB if
/// three, resized to its height and width without keeping the aspect ratio (bilinear, averaging
/// when it shrinks).
///
/// ```no_run
/// use lfnn_data::{BitDepth, ImageShape, load_image};
///
/// let shape = ImageShape { height: 28, width: 28, channels: 1 };
/// let image = load_image("digit.png".as_ref(), shape, BitDepth::Eight)?;
/// assert_eq!(image.pixels.len(), 28 * 28);
/// # Ok::<(), lfnn_data::DataError>(())
/// ```
///
/// # Errors
/// If the file cannot be read or decoded, or the shape has neither one nor three channels or no
/// pixels.
pub fn load_image(
    path: &Path,
    shape: ImageShape,
    depth: BitDepth,
) -> Result<LoadedImage, DataError> {
    check_size((shape.height, shape.width))?;
    let (image, Header { channels, .. }) = decode(path, Fit::Resize(shape.height, shape.width))?;
    let pixels = match depth {
        BitDepth::Eight => Inputs::Bytes(bytes(image, shape.channels)?),
        BitDepth::Sixteen => Inputs::Reals(reals(image, shape.channels)?),
    };
    Ok(LoadedImage { pixels, is_cut: channels.deep && depth == BitDepth::Eight })
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

/// What the channels of many files are, of which only the beginnings are read. If several files are
/// broken, the first one is named.
pub(crate) fn channels_of_all<'a>(
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<Tally, DataError> {
    let files: Vec<&PathBuf> = files.into_iter().collect();
    let all: Vec<_> = files.into_par_iter().map(|file| Channels::of_file(file)).collect();
    let all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    let count = |which: fn(&Channels) -> bool| all.iter().filter(|c| which(c)).count() as u64;
    let (grey, deep) = (count(|channels| channels.grey), count(|channels| channels.deep));
    Ok(Tally { images: all.len() as u64, grey, deep })
}

/// Decodes many files into one block of pixels, in parallel, in the order of the files. If several
/// files are broken, the first one is named, whatever the number of threads.
pub(crate) fn decode_all(
    files: &[PathBuf],
    (shape, depth): (ImageShape, BitDepth),
    fit: Fit,
    what: &str,
    progress: &dyn Progress,
) -> Result<(Inputs, Tally), DataError> {
    let counter = Counter::new(files.len(), what, progress);
    let pixels = match depth {
        BitDepth::Eight => Inputs::Bytes(fill(files, shape, fit, &counter, bytes)?),
        BitDepth::Sixteen => Inputs::Reals(fill(files, shape, fit, &counter, reals)?),
    };
    Ok((pixels, counter.tally()))
}

fn fill<T: Copy + Default + Send>(
    files: &[PathBuf],
    shape: ImageShape,
    fit: Fit,
    counter: &Counter<'_>,
    convert: impl Fn(DynamicImage, usize) -> Result<Vec<T>, DataError> + Sync,
) -> Result<Vec<T>, DataError> {
    let mut pixels = shape.allocate(files.len(), counter.what)?;
    let images = pixels.par_chunks_exact_mut(shape.values().max(1));
    let failed = images.zip(files).find_map_first(|(target, file)| {
        let decoded = decode(file, fit);
        counter.one_more(&decoded);
        let converted = decoded.and_then(|(image, _)| convert(image, shape.channels));
        converted.map(|values| target.copy_from_slice(&values)).err()
    });
    failed.map_or(Ok(pixels), Err)
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
    decoded: AtomicU64,
    grey: AtomicU64,
    deep: AtomicU64,
    total: u64,
    what: &'a str,
    progress: &'a dyn Progress,
}

impl<'a> Counter<'a> {
    fn new(total: usize, what: &'a str, progress: &'a dyn Progress) -> Self {
        let [done, decoded, grey, deep] = [0; 4].map(AtomicU64::new);
        Self { done, decoded, grey, deep, total: total as u64, what, progress }
    }

    fn one_more(&self, decoded: &Result<(DynamicImage, Header), DataError>) {
        if let Ok((_, Header { channels: Channels { grey, deep }, .. })) = *decoded {
            self.decoded.fetch_add(1, Ordering::Relaxed);
            self.grey.fetch_add(grey.into(), Ordering::Relaxed);
            self.deep.fetch_add(deep.into(), Ordering::Relaxed);
        }
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let (what, total) = (self.what, self.total);
        self.progress.report(&Update { what, counted: Counted::Images, done, total });
    }

    fn tally(self) -> Tally {
        let [images, grey, deep] = [self.decoded, self.grey, self.deep].map(AtomicU64::into_inner);
        Tally { images, grey, deep }
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

/// Bytes with the channels asked for.
fn bytes(image: DynamicImage, channels: usize) -> Result<Vec<u8>, DataError> {
    match channels {
        1 => Ok(image.into_luma8().into_raw()),
        3 => Ok(image.into_rgb8().into_raw()),
        _ => Err(wrong_channels(channels)),
    }
}

/// Real numbers from 0 to 1, as bytes stand for, with the channels asked for.
fn reals(image: DynamicImage, channels: usize) -> Result<Vec<f32>, DataError> {
    let values = match channels {
        1 => image.into_luma16().into_raw(),
        3 => image.into_rgb16().into_raw(),
        _ => return Err(wrong_channels(channels)),
    };
    Ok(values.into_iter().map(real_of_16_bits).collect())
}

fn wrong_channels(found: usize) -> DataError {
    DataError::Inconsistent {
        what: "number of channels",
        found: found as u64,
        expected: "1 (grey) or 3 (red, green and blue)".to_owned(),
    }
}
