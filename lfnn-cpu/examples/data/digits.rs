//! The digits that are compiled into lfnn-data, as arrays.

use std::error::Error;
use std::path::Path;

use lfnn_data::{Dataset, DatasetName, Source, silent};
use ndarray::{Array1, Array4};

/// Images, `[images, height, width, channels]`, and their classes.
pub(crate) fn digits() -> Result<(Array4<u8>, Array1<u32>), Box<dyn Error>> {
    let images = Dataset::load(&Source::named(DatasetName::Digits), Path::new(""), &silent)?.train;
    let shape = (images.len(), images.shape.height, images.shape.width, images.shape.channels);
    Ok((Array4::from_shape_vec(shape, images.pixels)?, images.labels.into()))
}
