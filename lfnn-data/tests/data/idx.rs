//! MNIST's format: what loads, and the message for everything that does not.

use std::fs;

use lfnn_data::{DatasetName, ImageShape};
use tempfile::tempdir;

use crate::support::{gzip, idx, load, message, write, write_mnist};

const MNIST: DatasetName = DatasetName::Mnist;

#[test]
fn plain_files_load() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    let data = load(MNIST, folder.path()).unwrap();
    assert_eq!(data.name, "mnist");
    assert_eq!(data.classes().len(), 10);
    assert_eq!(data.train.shape, ImageShape { height: 2, width: 3, channels: 1 });
    assert_eq!(data.train.labels(), [0, 3, 6, 9]);
    assert_eq!(data.train.image(1), [6, 7, 8, 9, 10, 11]);
    assert_eq!(data.test.len(), 2);
}

#[test]
fn compressed_files_load_the_same() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    let plain = load(MNIST, folder.path()).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let packed = gzip(&fs::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        write(&path.with_file_name(format!("{}.gz", path.file_name().unwrap().display())), packed);
    }
    assert_eq!(load(MNIST, folder.path()).unwrap(), plain);
}

#[test]
fn fashion_mnist_has_its_own_class_names() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    let data = load(DatasetName::FashionMnist, folder.path()).unwrap();
    assert_eq!(data.classes()[9], "Ankle boot");
}

#[test]
fn a_missing_file_is_named_with_the_way_to_get_it() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
    assert_eq!(
        message(MNIST, folder.path()),
        "t10k-labels-idx1-ubyte: not found; expected this file of mnist, or the same with .gz; \
         `lfnn-cli data fetch mnist` downloads it"
    );
}

/// The message when the training images are these bytes.
fn with_images(bytes: &[u8]) -> String {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    write(&folder.path().join("train-images-idx3-ubyte"), bytes);
    message(MNIST, folder.path())
}

/// The message when the training labels are these bytes.
fn with_labels(bytes: &[u8]) -> String {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    write(&folder.path().join("train-labels-idx1-ubyte"), bytes);
    message(MNIST, folder.path())
}

#[test]
fn a_wrong_header_is_told_field_by_field() {
    let header = |bytes: [u8; 4]| with_images(&[&bytes[..], &[0; 100]].concat());
    assert_eq!(
        header([31, 139, 8, 0]),
        "train-images-idx3-ubyte: magic number is [31, 139, 8, 0]; expected [0, 0, 8, 3], an IDX \
         file"
    );
    assert_eq!(
        header([0, 0, 13, 3]),
        "train-images-idx3-ubyte: type of its values is 13; expected 8, unsigned bytes"
    );
    assert_eq!(
        header([0, 0, 8, 1]),
        "train-images-idx3-ubyte: number of dimensions is 1; expected 3, as for images"
    );
    assert_eq!(
        with_labels(&idx(&[1, 1, 1], &[0])),
        "train-labels-idx1-ubyte: number of dimensions is 3; expected 1, as for labels"
    );
    assert_eq!(
        with_images(&idx(&[4, 0, 3], &[])),
        "train-images-idx3-ubyte: list of dimensions is [4, 0, 3]; expected none of them 0"
    );
}

#[test]
fn a_truncated_or_oversized_file_is_told_with_both_lengths() {
    assert_eq!(
        with_images(&[0, 0]),
        "train-images-idx3-ubyte: truncated at 2 bytes; expected a header of 16"
    );
    assert_eq!(
        with_images(&idx(&[4, 2, 3], &[0; 23])),
        "train-images-idx3-ubyte: truncated at 39 bytes; expected 40, for its header says \
         [4, 2, 3]"
    );
    assert_eq!(
        with_images(&idx(&[4, 2, 3], &[0; 25])),
        "train-images-idx3-ubyte: oversized at more than 40 bytes; expected 40, for its header \
         says [4, 2, 3]"
    );
}

#[test]
fn a_forged_header_is_caught_before_memory_is_asked_for() {
    let most = u32::MAX;
    assert_eq!(
        with_images(&idx(&[most, most, most], &[0; 4])),
        "train-images-idx3-ubyte: truncated at 20 bytes; expected more than 2⁶⁴, for its \
         header says [4294967295, 4294967295, 4294967295]"
    );
    assert!(with_images(&idx(&[most, 1 << 15, 1], &[0; 4])).contains("truncated at 20 bytes"));

    // The same compressed, where the file's length only bounds what it can hold.
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    fs::remove_file(folder.path().join("train-images-idx3-ubyte")).unwrap();
    let packed = folder.path().join("train-images-idx3-ubyte.gz");
    write(&packed, gzip(&idx(&[most, 28, 28], &[0; 4])));
    assert!(message(MNIST, folder.path()).contains("truncated"));
    write(&packed, gzip(&idx(&[40, 2, 3], &[0; 24])));
    assert_eq!(
        message(MNIST, folder.path()),
        "train-images-idx3-ubyte.gz: truncated at 40 bytes; expected 256, for its header \
         says [40, 2, 3]"
    );
}

#[test]
fn a_broken_gzip_stream_is_named() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    fs::remove_file(folder.path().join("train-images-idx3-ubyte")).unwrap();
    let packed = gzip(&idx(&[4, 2, 3], &[7; 24]));
    for bytes in [&packed[..packed.len() / 2], b"not gzip at all"] {
        write(&folder.path().join("train-images-idx3-ubyte.gz"), bytes);
        let message = message(MNIST, folder.path());
        let start = "train-images-idx3-ubyte.gz: gzip stream is broken (";
        assert!(message.starts_with(start), "{message}");
        assert!(message.ends_with("expected a whole gzip file"), "{message}");
    }
}

#[test]
fn a_gzip_file_of_several_parts_is_read_whole_and_nothing_else_may_follow() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    let plain = folder.path().join("train-images-idx3-ubyte");
    let bytes = fs::read(&plain).unwrap();
    fs::remove_file(&plain).unwrap();
    let packed = folder.path().join("train-images-idx3-ubyte.gz");
    write(&packed, [gzip(&bytes[..20]), gzip(&bytes[20..])].concat());
    assert_eq!(load(MNIST, folder.path()).unwrap().train.bytes(), &bytes[16..]);
    write(&packed, [gzip(&bytes), b"something else".to_vec()].concat());
    let message = message(MNIST, folder.path());
    assert!(message.starts_with("train-images-idx3-ubyte.gz: gzip stream is broken"), "{message}");
}

#[test]
fn labels_must_be_as_many_as_images_and_classes() {
    assert_eq!(
        with_labels(&idx(&[3], &[0; 3])),
        "train-images-idx3-ubyte: found 4 images, but train-labels-idx1-ubyte has 3 labels; \
         expected as many"
    );
    assert_eq!(
        with_labels(&idx(&[4], &[0, 1, 10, 3])),
        "train-labels-idx1-ubyte: label 2 is 10; expected less than 10"
    );
}

#[test]
fn training_and_test_images_must_have_one_size() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    write(&folder.path().join("t10k-images-idx3-ubyte"), idx(&[2, 3, 2], &[0; 12]));
    assert_eq!(
        message(MNIST, folder.path()),
        "t10k-images-idx3-ubyte: image size is 3 × 2; expected 2 × 3 as in \
         train-images-idx3-ubyte"
    );
}
