//! An image file of any format, as `predict` and an image folder read it; grey if its length is even, real numbers if it
//! is a multiple of 3.
#![no_main]

use lfnn_data::{BitDepth, ImageShape, load_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image");
    std::fs::write(&path, file).expect("a file in it");
    let shape =
        ImageShape { height: 8, width: 5, channels: if file.len() % 2 == 0 { 1 } else { 3 } };
    let depth = if file.len() % 3 == 0 { BitDepth::Sixteen } else { BitDepth::Eight };
    if let Ok(image) = load_image(&path, shape, depth) {
        assert_eq!(image.pixels.len(), shape.values());
    }
});
