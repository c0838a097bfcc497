//! A digest of data: whether a run is resumed, or a network evaluated, on the data that it was trained on.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::data::LoadedData;
use crate::format::hex;

/// Pixels are hashed in parallel, this many bytes at a time.
const CHUNK: usize = 1 << 20;

/// SHA-256 of images, labels, classes, and which images are trained on, held out and tested on. It does not
/// depend on the number of threads.
///
/// The pixels must not have been freed.
pub(crate) fn of(data: &LoadedData) -> String {
    let images = data.images();
    let chunks: Vec<[u8; 32]> =
        data.pixels().par_chunks(CHUNK).map(|chunk| Sha256::digest(chunk).into()).collect();
    let mut sha256 = Sha256::new();
    let mut numbers = |numbers: &mut dyn Iterator<Item = u64>, count: usize| {
        sha256.update((count as u64).to_le_bytes());
        numbers.for_each(|number| sha256.update(number.to_le_bytes()));
    };
    numbers(&mut images.shape.iter().map(|&extent| extent as u64), images.shape.len());
    for indices in [&data.train, &data.validation, &data.test, data.labels()] {
        numbers(&mut indices.iter().map(|&index| u64::from(index)), indices.len());
    }
    for part in
        chunks.iter().map(<[u8; 32]>::as_slice).chain(data.classes.iter().map(String::as_bytes))
    {
        sha256.update((part.len() as u64).to_le_bytes());
        sha256.update(part);
    }
    hex(&sha256.finalize())
}
