//! What a user may say about the images of a folder, and what is so if nothing is said.

use crate::DataError;
use crate::notes::Tally;

/// Bits of each channel of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BitDepth {
    /// Pixels are bytes.
    #[default]
    Eight,
    /// Pixels are real numbers from 0 to 1.
    Sixteen,
}

impl BitDepth {
    /// The depth of so many bits; none of other numbers than 8 and 16.
    pub fn of_bits(bits: usize) -> Option<Self> {
        match bits {
            8 => Some(Self::Eight),
            16 => Some(Self::Sixteen),
            _ => None,
        }
    }
}

/// How image files become images, where a user may say: in a folder of the user's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// Height and width to resize every image to; those of the first image if none.
    pub size: Option<(usize, usize)>,
    /// 1 for grey or 3 for red, green and blue; if none, 1 where every image is grey.
    pub channels: Option<usize>,
    /// Bits of each channel; if none, 16 where any file has them.
    pub depth: Option<BitDepth>,
}

impl ImageOptions {
    /// That images can be converted so.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        self.size.map_or(Ok(()), check_size)?;
        match self.channels {
            None | Some(1 | 3) => Ok(()),
            Some(channels) => Err(DataError::Setting {
                key: "dataset.channels",
                found: channels.to_string(),
                expected: "1 (grey) or 3 (red, green and blue)".to_owned(),
            }),
        }
    }

    /// The first of the options that is given: its key and value.
    pub(crate) fn given(&self) -> Option<(&'static str, String)> {
        let size = self.size.map(|(height, width)| format!("{height} × {width}"));
        let channels = self.channels.map(|channels| channels.to_string());
        let bits = self.depth.map(|depth| match depth {
            BitDepth::Eight => "8".to_owned(),
            BitDepth::Sixteen => "16".to_owned(),
        });
        let options =
            [("dataset.image_size", size), ("dataset.channels", channels), ("dataset.bits", bits)];
        options.into_iter().find_map(|(key, value)| Some((key, value?)))
    }

    /// Channels and their depth of files that are these.
    pub(crate) fn format(&self, files: &Tally) -> (usize, BitDepth) {
        let channels = if files.grey == files.images { 1 } else { 3 };
        let depth = if files.deep > 0 { BitDepth::Sixteen } else { BitDepth::Eight };
        (self.channels.unwrap_or(channels), self.depth.unwrap_or(depth))
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
