//! Random changes of training images.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Range};
use crate::sizes::MAX_AUGMENTATION;

const SIZE: Range = Range::at_least(0).at_most(MAX_AUGMENTATION);

/// Random changes of training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Black pixels added on each side before a random crop of the original size.
    #[cfg_attr(feature = "schema", schemars(transform = { SIZE }))]
    pub crop_padding: usize,
    /// Whether images are flipped horizontally at random.
    pub flip: bool,
    /// Side of a random square that is set to the mean, in pixels.
    #[cfg_attr(feature = "schema", schemars(transform = { SIZE }))]
    pub cutout: usize,
}

impl Augmentation {
    /// Checks every number.
    ///
    /// # Errors
    /// A number out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { crop_padding, flip: _, cutout } = *self;
        SIZE.check("dataset.augmentation.crop_padding", crop_padding)?;
        SIZE.check("dataset.augmentation.cutout", cutout)
    }
}
