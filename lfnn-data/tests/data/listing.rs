//! Names of data sets, the list of them, and the check of their files.

use std::fs;
use std::path::Path;

use lfnn_data::{DatasetName, FileState, Presence, list, silent, verify};
use tempfile::tempdir;

use crate::support::{cifar_records, write, write_cifar_10, write_colour, write_mnist};

#[test]
fn names_are_read_as_they_are_written() {
    for name in DatasetName::ALL {
        assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
    }
    let names = DatasetName::ALL.map(DatasetName::as_str);
    assert_eq!(
        "minst".parse::<DatasetName>().unwrap_err().to_string(),
        format!("there is no data set `minst`; expected one of {}", names.join(", "))
    );
    let folders = DatasetName::ALL.iter().filter_map(|name| name.folder());
    assert!(folders.clone().all(|folder| folders.clone().filter(|&f| f == folder).count() == 1));
}

#[test]
fn the_list_tells_what_is_there_and_what_is_not() {
    let root = tempdir().unwrap();
    write_mnist(&root.path().join("mnist"));
    write_cifar_10(&root.path().join("cifar-10-batches-bin"));
    fs::remove_file(root.path().join("cifar-10-batches-bin/test_batch.bin")).unwrap();
    let listings = list(root.path());
    let of = |name| listings.iter().find(|listing| listing.name == name).unwrap();

    let digits = of(DatasetName::Digits);
    assert_eq!((&digits.presence, digits.train), (&Presence::Embedded, Some(1442)));
    let mnist = of(DatasetName::Mnist);
    assert_eq!(mnist.presence, Presence::Present);
    assert_eq!((mnist.train, mnist.test), (Some(4), Some(2)));
    let Presence::Incomplete { problem } = &of(DatasetName::Cifar10).presence else { panic!() };
    assert!(problem.contains("test_batch.bin: not found"), "{problem}");
    let Presence::Absent { hint } = &of(DatasetName::Cifar100).presence else { panic!() };
    assert_eq!(hint, "`lfnn-cli data fetch cifar-100` downloads it");
    // All but the user's own folder.
    assert_eq!(listings.len(), DatasetName::ALL.iter().filter(|name| !name.needs_path()).count());
}

#[test]
fn a_folder_that_holds_nothing_but_parts_of_downloads_is_absent() {
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join("mnist")).unwrap();
    write(&root.path().join("cifar-100-binary/cifar-100-binary.tar.gz.part"), "begun");
    for listing in list(root.path()) {
        if listing.name != DatasetName::Digits {
            let absent = Presence::Absent { hint: listing.name.hint() };
            assert_eq!(listing.presence, absent, "{}", listing.name);
        }
    }
}

fn states(name: DatasetName, folder: &Path) -> Vec<(String, FileState)> {
    let found = verify(name, folder, &silent).unwrap();
    found.files.into_iter().map(|r| (r.path.display().to_string(), r.state)).collect()
}

#[test]
fn verifying_compares_lengths_and_checksums_with_those_published() {
    let folder = tempdir().unwrap();
    write_mnist(folder.path());
    fs::remove_file(folder.path().join("train-labels-idx1-ubyte")).unwrap();
    // The right length of the published file, but all zeros.
    write(&folder.path().join("t10k-labels-idx1-ubyte"), vec![0; 10_008]);
    let states = states(DatasetName::Mnist, folder.path());
    assert_eq!(
        states[0].1,
        FileState::WrongLength { found: 40, expected: 47_040_016 },
        "{states:?}"
    );
    assert_eq!(states[1], ("train-labels-idx1-ubyte".to_owned(), FileState::Missing));
    assert!(
        matches!(&states[3].1, FileState::WrongChecksum { expected, .. }
            if expected.starts_with("ff7bcfd4")),
        "{states:?}"
    );
    assert!(states.iter().all(|(_, state)| !state.is_good()));
    assert_eq!(states[0].1.to_string(), "found 40 bytes; expected 47040016");
}

#[test]
fn verifying_decodes_every_image_of_a_folder() {
    let folder = tempdir().unwrap();
    for part in ["train/a/1.png", "train/a/2.png", "test/a/1.png"] {
        write_colour(&folder.path().join(part), 3, 3, [1, 2, 3]);
    }
    write(&folder.path().join("train/a/2.png"), "no image");
    let states = states(DatasetName::Folder, folder.path());
    let images = |what: &str| FileState::Readable { what: what.to_owned() };
    assert_eq!(states[0], ("train set".to_owned(), images("1 image")));
    assert_eq!(Path::new(&states[1].0), Path::new("train/a/2.png"));
    assert!(matches!(&states[1].1, FileState::Broken { problem }
        if problem.contains("cannot be decoded")));
    assert_eq!(states[2], ("test set".to_owned(), images("1 image")));
}

#[test]
fn verifying_what_is_not_there_names_the_folder() {
    let folder = tempdir().unwrap();
    let error = verify(DatasetName::Cifar10, &folder.path().join("x"), &silent).unwrap_err();
    assert!(error.to_string().ends_with(
        "x: not found; expected the folder of cifar-10; `lfnn-cli data fetch cifar-10` downloads it"
    ));
    assert!(states(DatasetName::Digits, folder.path())[0].1.is_good());
    write(&folder.path().join("train.bin"), cifar_records(&[&[0, 0]]));
    assert_eq!(states(DatasetName::Cifar100, folder.path())[1].1, FileState::Missing);
}
