//! The files of CIFAR-10 and CIFAR-100, which the first byte tells apart: each file of a set is the input, stretched
//! to whole records or not.
#![no_main]

use lfnn_data::{Dataset, DatasetName, Source, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [kind, records, file @ ..] = bytes else { return };
    let (name, record) =
        if kind & 1 == 0 { (DatasetName::Cifar10, 3073) } else { (DatasetName::Cifar100, 3074) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut file = file.to_vec();
    if kind & 2 != 0 {
        file.resize(usize::from(records % 4) * record, *records);
    }
    let files = [
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
        "test_batch.bin",
        "train.bin",
        "test.bin",
    ];
    for name in files {
        std::fs::write(folder.path().join(name), &file).expect("a file in it");
    }
    let source = Source { path: Some(folder.path().into()), ..Source::named(name) };
    if let Ok(data) = Dataset::load(&source, folder.path(), &lfnn_data::silent) {
        assert!(data.train.labels().iter().all(|&label| (label as usize) < data.classes().len()));
    }
    let _ = verify(name, folder.path(), &lfnn_data::silent);
});
