//! One image file: opened by its content, turned upright, decoded whole.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::Path;

use image::error::{DecodingError, ImageFormatHint};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::{DataError, jpeg};

/// The formats that are read.
const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::WebP,
    ImageFormat::Pnm,
];

const EXPECTED: &str = "a whole JPEG, PNG, BMP, GIF, WebP or PNM image";

/// The `image` crate's limit on what it decodes to. No image file is longer either.
const MOST_BYTES: u64 = 512 << 20;

/// Whether a file's name ends as that of an image that can be read.
pub(crate) fn is_named_image(path: &Path) -> bool {
    let format = path.extension().and_then(ImageFormat::from_extension);
    format.is_some_and(|format| FORMATS.contains(&format))
}

/// The endings of image files, as a list in words.
pub(crate) fn endings() -> String {
    let all = FORMATS.iter().flat_map(|format| format.extensions_str());
    let mut all: Vec<String> = all.map(|ending| format!(".{ending}")).collect();
    let last = all.pop().unwrap_or_default();
    format!("{} or {last}", all.join(", "))
}

/// What a file says before its pixels.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// Height and width of the image turned upright.
    pub(crate) size: (usize, usize),
    /// What its pixels are.
    pub(crate) channels: Channels,
    turn: Orientation,
}

/// What the pixels of an image file are.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    /// Whether they have no colour.
    pub(crate) grey: bool,
    /// Whether their channels have more than 8 bits.
    pub(crate) deep: bool,
}

impl Channels {
    /// Those of a file, of which as little is read as its format allows.
    pub(crate) fn of_file(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        Ok(Self::of(&decoder(path, BufReader::new(file))?))
    }

    fn of(decoder: &impl ImageDecoder) -> Self {
        let colour = decoder.color_type();
        Self {
            grey: !colour.has_color(),
            deep: colour.bits_per_pixel() > 8 * u16::from(colour.channel_count()),
        }
    }
}

/// The decoder for a file, by its content, with the `image` crate's limit on memory, so that a
/// forged header cannot exhaust it.
fn decoder<'a>(
    path: &Path,
    file: impl BufRead + Seek + 'a,
) -> Result<impl ImageDecoder + 'a, DataError> {
    let reader = ImageReader::new(file);
    let reader = reader.with_guessed_format().map_err(DataError::io("read", path))?;
    reader.into_decoder().map_err(|error| broken(path, error))
}

fn broken(path: &Path, error: ImageError) -> DataError {
    let message = match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "the file ends before the image does".to_owned()
        }
        // Decoders end some of their messages with a line break.
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    DataError::Decode { file: path.to_owned(), expected: EXPECTED, source: message.into() }
}

/// The EXIF chunk of a PNG wherever it is; the decoder finds it only before the pixels.
fn late_exif_of_png(file: &[u8]) -> Option<Vec<u8>> {
    let mut rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (name, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if name == b"eXIf" {
            return Some(data.to_vec());
        }
        // A checksum follows the data.
        rest = after.get(4..)?;
    }
    None
}

/// The longest side that a JPEG can have; other formats could have more.
const MOST_ON_A_SIDE: usize = 65_535;
/// 64 megapixels.
const MOST_PIXELS: usize = 1 << 26;

/// The bytes of an image file.
pub(crate) struct ImageFile<'p> {
    path: &'p Path,
    bytes: Vec<u8>,
}

impl<'p> ImageFile<'p> {
    pub(crate) fn read(path: &'p Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
        if bytes.len() as u64 > MOST_BYTES {
            let (found, expected) =
                (format!("more than {MOST_BYTES}"), format!("at most {MOST_BYTES}"));
            return Err(DataError::oversized(path, found, expected));
        }
        Ok(Self { path, bytes })
    }

    fn decoder(&self) -> Result<impl ImageDecoder + '_, DataError> {
        decoder(self.path, Cursor::new(self.bytes.as_slice()))
    }

    pub(crate) fn header(&self) -> Result<Header, DataError> {
        self.header_of(&mut self.decoder()?)
    }

    fn header_of(&self, decoder: &mut impl ImageDecoder) -> Result<Header, DataError> {
        let exif = decoder.exif_metadata().map_err(|error| broken(self.path, error))?;
        let exif = exif.or_else(|| late_exif_of_png(&self.bytes)).unwrap_or_default();
        // The mark belongs to JPEG alone, but other files have it too.
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif);
        let turn = Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms);
        let (width, height) = decoder.dimensions();
        let (height, width) = (height as usize, width as usize);
        let sideways = matches!(
            turn,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        let size = if sideways { (width, height) } else { (height, width) };
        Ok(Header { size, channels: Channels::of(decoder), turn })
    }

    /// A file of a few bytes may speak of an image that takes minutes to decode and to resize.
    fn check_extent(&self, (height, width): (usize, usize)) -> Result<(), DataError> {
        let fits =
            height.max(width) <= MOST_ON_A_SIDE && height.saturating_mul(width) <= MOST_PIXELS;
        if fits {
            return Ok(());
        }
        let found = format!("{height} × {width} pixels (height × width)");
        let expected = format!("at most {MOST_ON_A_SIDE} on a side and {MOST_PIXELS} in all");
        Err(DataError::format(self.path, "image size", found, expected))
    }

    /// The image upright, after `fits` has found nothing wrong with the header.
    pub(crate) fn decode(
        &self,
        fits: impl FnOnce(&Header) -> Result<(), DataError>,
    ) -> Result<(DynamicImage, Header), DataError> {
        let mut decoder = self.decoder()?;
        let header = self.header_of(&mut decoder)?;
        fits(&header)?;
        self.check_extent(header.size)?;
        let broken = |error| broken(self.path, error);
        // The memory limit is the reader's own; going through its decoder leaves the check to us.
        Limits::default().reserve(decoder.total_bytes()).map_err(broken)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
        if matches!(image::guess_format(&self.bytes), Ok(ImageFormat::Jpeg)) {
            let fault = |fault: String| {
                let jpeg = ImageFormatHint::Exact(ImageFormat::Jpeg);
                broken(ImageError::Decoding(DecodingError::new(jpeg, fault)))
            };
            jpeg::check(&self.bytes).map_err(fault)?;
        }
        image.apply_orientation(header.turn);
        Ok((image, header))
    }
}
