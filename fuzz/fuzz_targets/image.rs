//! An image file of any format, as `predict` and an image folder read it; grey if its length is even.
#![no_main]

use lfnn_data::{ImageShape, load_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image");
    std::fs::write(&path, file).expect("a file in it");
    let shape =
        ImageShape { height: 8, width: 5, channels: if file.len() % 2 == 0 { 1 } else { 3 } };
    if let Ok(image) = load_image(&path, shape) {
        assert_eq!(image.pixels.len(), shape.values());
    }
});
