//! A digest of data: whether a run is resumed, or a network evaluated, on the data that it was trained on.

use lfnn_data::{Examples, Inputs, Targets};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::data::LoadedData;
use crate::format::hex;

/// Pixels are hashed in parallel, this many bytes at a time.
const CHUNK: usize = 1 << 20;

/// SHA-256 of inputs, targets, names of classes, and which examples are trained on, held out and tested on. It does
/// not depend on the number of threads.
///
/// The inputs must not have been freed.
pub(crate) fn of(data: &LoadedData) -> String {
    let Examples { shape, inputs, targets } = &data.examples;
    let chunks: Vec<[u8; 32]> = match inputs {
        Inputs::Bytes(bytes) => {
            bytes.par_chunks(CHUNK).map(|chunk| Sha256::digest(chunk).into()).collect()
        }
        Inputs::Reals(reals) => reals.par_chunks(CHUNK / 4).map(of_reals).collect(),
    };
    let (labels, values) = match targets {
        Targets::Classes(labels) => (labels, None),
        // Encoded, or in the order of the file: always rows of contiguous numbers.
        Targets::Values(values) => {
            (&Vec::new(), Some(of_reals(values.as_slice().unwrap_or_default())))
        }
    };
    let mut sha256 = Sha256::new();
    let mut numbers = |numbers: &mut dyn Iterator<Item = u64>, count: usize| {
        sha256.update((count as u64).to_le_bytes());
        numbers.for_each(|number| sha256.update(number.to_le_bytes()));
    };
    let extents = [shape.height, shape.width, shape.channels];
    numbers(&mut extents.iter().map(|&extent| extent as u64), extents.len());
    for indices in [&data.train, &data.validation, &data.test, labels] {
        numbers(&mut indices.iter().map(|&index| u64::from(index)), indices.len());
    }
    let names = data.target.names().iter().map(String::as_bytes);
    for part in chunks.iter().chain(&values).map(<[u8; 32]>::as_slice).chain(names) {
        sha256.update((part.len() as u64).to_le_bytes());
        sha256.update(part);
    }
    hex(&sha256.finalize())
}

/// SHA-256 of numbers as they are in memory on most machines, lowest byte first.
fn of_reals(reals: &[f32]) -> [u8; 32] {
    let mut sha256 = Sha256::new();
    reals.iter().for_each(|real| sha256.update(real.to_le_bytes()));
    sha256.finalize().into()
}
