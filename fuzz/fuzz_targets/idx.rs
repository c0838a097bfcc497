//! The files of MNIST: the images of both sets, plain or compressed as the first byte says, and labels that are as
//! many as they can be.
#![no_main]

use lfnn_data::{Dataset, DatasetName, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, file)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("a file in it");
    };
    let packed = if kind & 1 == 0 { "" } else { ".gz" };
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[3, 9]].concat();
    for set in ["train", "t10k"] {
        // The second bit exchanges what is fuzzed.
        let (images, labels) = if kind & 2 == 0 { (file, &labels[..]) } else { (IMAGES, file) };
        let (of_images, of_labels) = if kind & 2 == 0 { (packed, "") } else { ("", packed) };
        write(&format!("{set}-images-idx3-ubyte{of_images}"), images);
        write(&format!("{set}-labels-idx1-ubyte{of_labels}"), labels);
    }
    let source = Source { path: Some(folder.path().into()), ..Source::named(DatasetName::Mnist) };
    if let Ok(data) = Dataset::load(&source, folder.path(), &lfnn_data::silent) {
        assert_eq!(data.train.bytes().len(), data.train.len() * data.train.shape.values());
    }
});

/// Two images of one pixel.
const IMAGES: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 17, 99];
