//! Labelled images in memory: decoded, as `u8`, channels last.

use std::path::Path;

use crate::DataError;

/// Height, width and channels of every image of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
}

impl ImageShape {
    /// Positions in an image, whatever its channels. Saturates rather than overflowing.
    pub fn positions(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Bytes of an image. Saturates rather than overflowing.
    pub fn bytes(self) -> usize {
        self.positions().saturating_mul(self.channels)
    }

    /// Room for `images` images, or an error rather than an abort if there is none.
    pub(crate) fn reserve(self, images: usize, what: &str) -> Result<Vec<u8>, DataError> {
        let mut pixels = Vec::new();
        let length = self.bytes().saturating_mul(images);
        // Labels and indices are 32 bits wide everywhere, hence the limit on the number.
        if u32::try_from(images).is_err() || pixels.try_reserve_exact(length).is_err() {
            return Err(DataError::TooLarge {
                what: what.to_owned(),
                images: images as u64,
                height: self.height,
                width: self.width,
                channels: self.channels,
            });
        }
        Ok(pixels)
    }

    /// As many black images, or an error if there is no room for them.
    pub(crate) fn allocate(self, images: usize, what: &str) -> Result<Vec<u8>, DataError> {
        let mut pixels = self.reserve(images, what)?;
        pixels.resize(self.bytes().saturating_mul(images), 0);
        Ok(pixels)
    }
}

/// One set of labelled images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The shape of every image.
    pub shape: ImageShape,
    /// The pixels as `[image][row][column][channel]`.
    pub pixels: Vec<u8>,
    /// The class of every image.
    pub labels: Vec<u32>,
}

impl Images {
    /// The set with these pixels and labels.
    ///
    /// # Errors
    /// If an image has no pixels, or the number of pixels is not that of one image a label.
    pub fn new(shape: ImageShape, pixels: Vec<u8>, labels: Vec<u32>) -> Result<Self, DataError> {
        let expected = shape.bytes().saturating_mul(labels.len());
        let fits = u32::try_from(shape.positions()).is_ok() && u32::try_from(labels.len()).is_ok();
        if shape.bytes() == 0 || pixels.len() != expected || !fits {
            return Err(DataError::Inconsistent {
                what: "number of pixel values",
                found: pixels.len() as u64,
                expected: format!(
                    "{} images of {} × {} × {} values",
                    labels.len(),
                    shape.height,
                    shape.width,
                    shape.channels
                ),
            });
        }
        Ok(Self { shape, pixels, labels })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one image.
    ///
    /// # Panics
    /// If there is no image `index`.
    pub fn image(&self, index: usize) -> &[u8] {
        let bytes = self.shape.bytes();
        &self.pixels[index * bytes..(index + 1) * bytes]
    }
}

/// Bytes as labels, each checked against the number of classes.
pub(crate) fn labels_of(bytes: &[u8], classes: usize, file: &Path) -> Result<Vec<u32>, DataError> {
    let check = |(index, &byte): (usize, &u8)| match usize::from(byte) < classes {
        true => Ok(u32::from(byte)),
        false => Err(DataError::LabelOutOfRange {
            file: file.to_owned(),
            index,
            found: byte.into(),
            classes,
        }),
    };
    bytes.iter().enumerate().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_no_memory_holds_are_an_error() {
        let shape = ImageShape { height: 1 << 20, width: 1 << 20, channels: 3 };
        let message = shape.allocate(1 << 30, "file").unwrap_err().to_string();
        let images = "1073741824 images of 1048576 × 1048576 × 3 do not fit in memory";
        assert_eq!(message, format!("file: {images}"));
    }
}
