//! CIFAR's binary format.

use std::fs;

use lfnn_data::{DatasetName, ImageShape};
use tempfile::tempdir;

use crate::support::{cifar_records, load, message, write, write_cifar_10};

#[test]
fn cifar_10_loads_with_its_planes_interleaved() {
    let folder = tempdir().unwrap();
    write_cifar_10(folder.path());
    let data = load(DatasetName::Cifar10, folder.path()).unwrap();
    assert_eq!(data.classes()[1], "automobile");
    assert_eq!(data.train.shape, ImageShape { height: 32, width: 32, channels: 3 });
    assert_eq!(data.train.labels(), [1, 2, 3, 4, 5]);
    assert_eq!(data.test.labels(), [0, 9]);
    assert_eq!(&data.test.image(1)[..6], [10, 11, 12, 10, 11, 12]);
}

#[test]
fn cifar_100_takes_the_fine_label() {
    let folder = tempdir().unwrap();
    write(&folder.path().join("train.bin"), cifar_records(&[&[19, 99], &[3, 0]]));
    write(&folder.path().join("test.bin"), cifar_records(&[&[1, 42]]));
    let data = load(DatasetName::Cifar100, folder.path()).unwrap();
    assert_eq!(data.classes().len(), 100);
    assert!(data.classes().is_sorted());
    assert_eq!(data.train.labels(), [99, 0]);
    assert_eq!(data.test.labels(), [42]);
    assert_eq!(&data.train.image(0)[..3], [0, 1, 2]);
}

#[test]
fn a_file_that_is_no_whole_number_of_records_is_told() {
    let folder = tempdir().unwrap();
    write_cifar_10(folder.path());
    let path = folder.path().join("data_batch_3.bin");
    for (length, found) in [(3072, "3072"), (3074, "3074"), (0, "0")] {
        write(&path, vec![0; length]);
        assert_eq!(
            message(DatasetName::Cifar10, folder.path()),
            format!(
                "data_batch_3.bin: truncated at {found} bytes; expected a multiple of 3073, the \
                 size of a record"
            )
        );
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(
        message(DatasetName::Cifar10, folder.path()),
        "data_batch_3.bin: not found; expected this file of cifar-10; `lfnn-cli data fetch \
         cifar-10` downloads it"
    );
}

#[test]
fn a_label_that_is_no_class_is_told() {
    let folder = tempdir().unwrap();
    write_cifar_10(folder.path());
    write(&folder.path().join("test_batch.bin"), cifar_records(&[&[9], &[10]]));
    assert_eq!(
        message(DatasetName::Cifar10, folder.path()),
        "test_batch.bin: label 1 is 10; expected less than 10"
    );
}
