//! Random bytes, and valid files with random changes, through every parser: an error or a data
//! set, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use lfnn_data::{BitDepth, Dataset, DatasetName, ImageShape, load_image};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::support::{
    gzip, idx, load, load_sized, sample, write, write_cifar_10, write_colour, write_mnist,
};

/// Changes to a valid file: bytes overwritten, then perhaps cut off or lengthened.
#[derive(Clone, Debug)]
struct Damage {
    overwritten: Vec<(prop::sample::Index, u8)>,
    length: Option<prop::sample::Index>,
    appended: Vec<u8>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let overwritten = prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..8);
    let appended = prop::collection::vec(any::<u8>(), 0..8);
    (overwritten, any::<Option<prop::sample::Index>>(), appended)
        .prop_map(|(overwritten, length, appended)| Damage { overwritten, length, appended })
}

impl Damage {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (at, value) in &self.overwritten {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if let Some(length) = self.length {
            bytes.truncate(length.index(bytes.len() + 1));
        }
        bytes.extend(&self.appended);
        bytes
    }
}

/// What loads must hold together.
fn check(data: Dataset) {
    for images in [&data.train, &data.test] {
        assert_eq!(images.bytes().len(), images.shape.values() * images.len());
        assert!(images.labels().iter().all(|&label| (label as usize) < data.classes().len()));
    }
}

fn survives(name: DatasetName, folder: &Path, file: PathBuf, bytes: &[u8]) {
    write(&file, bytes);
    if let Ok(data) = load(name, folder) {
        check(data);
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

proptest! {
    #[test]
    fn idx_survives_random_bytes_behind_a_right_magic(
        random in bytes(),
        magic: bool,
        packed: bool,
        labels: bool,
    ) {
        let folder = tempdir().unwrap();
        write_mnist(folder.path());
        let stem = if labels { "train-labels-idx1-ubyte" } else { "train-images-idx3-ubyte" };
        let mut bytes = if magic { vec![0, 0, 8, if labels { 1 } else { 3 }] } else { vec![] };
        bytes.extend(&random);
        let mut file = folder.path().join(stem);
        if packed {
            fs::remove_file(&file).unwrap();
            file = folder.path().join(format!("{stem}.gz"));
            bytes = gzip(&bytes);
        }
        survives(DatasetName::Mnist, folder.path(), file, &bytes);
    }

    #[test]
    fn idx_survives_damage_to_a_valid_file(damage in damage(), packed: bool) {
        let folder = tempdir().unwrap();
        write_mnist(folder.path());
        let plain = folder.path().join("t10k-images-idx3-ubyte");
        let valid = idx(&[2, 2, 3], &[5; 12]);
        if packed {
            fs::remove_file(&plain).unwrap();
            let file = plain.with_extension("gz");
            let file = file.with_file_name("t10k-images-idx3-ubyte.gz");
            survives(DatasetName::Mnist, folder.path(), file, &damage.apply(gzip(&valid)));
        } else {
            survives(DatasetName::Mnist, folder.path(), plain, &damage.apply(valid));
        }
    }

    #[test]
    fn cifar_survives_damage_and_random_bytes(damage in damage(), random in bytes()) {
        let folder = tempdir().unwrap();
        write_cifar_10(folder.path());
        let file = folder.path().join("data_batch_2.bin");
        let damaged = damage.apply(fs::read(&file).unwrap());
        survives(DatasetName::Cifar10, folder.path(), file.clone(), &damaged);
        survives(DatasetName::Cifar10, folder.path(), file, &random);
    }

    #[test]
    fn lists_of_tiny_imagenet_survive_random_text(
        annotations in "([a-z0-9_.\t\n/]|v\\.JPEG|n1){0,40}",
        wnids in "(n1|n2|[a-z\r\n/. ]){0,12}",
        words in "(n1\t|[a-z\r\n\t]){0,12}",
        random in bytes(),
    ) {
        let folder = tempdir().unwrap();
        let root = folder.path();
        write_colour(&root.join("train/n1/images/1.JPEG"), 64, 64, [1; 3]);
        write_colour(&root.join("val/images/v.JPEG"), 64, 64, [1; 3]);
        write(&root.join("val/val_annotations.txt"), "v.JPEG\tn1\n");
        let lists = [
            ("words.txt", words.into_bytes()),
            ("val/val_annotations.txt", annotations.into_bytes()),
            ("wnids.txt", wnids.into_bytes()),
            ("wnids.txt", random),
        ];
        for (list, text) in lists {
            survives(DatasetName::TinyImagenet, root, root.join(list), &text);
        }
    }

    #[test]
    fn images_survive_damage_and_random_bytes(damage in damage(), random in bytes(), png: bool) {
        let folder = tempdir().unwrap();
        let name = if png { "1.png" } else { "1.jpg" };
        let file = folder.path().join("train/a").join(name);
        write_colour(&folder.path().join("test/a/1.png"), 9, 7, [3; 3]);
        write_colour(&file, 9, 7, [1, 2, 3]);
        let damaged = damage.apply(fs::read(&file).unwrap());
        let shape = ImageShape { height: 5, width: 5, channels: 1 };
        for bytes in [damaged, random] {
            survives(DatasetName::Folder, folder.path(), file.clone(), &bytes);
            if let Ok(data) = load_sized(DatasetName::Folder, folder.path(), Some((4, 4))) {
                check(data);
            }
            if let Ok(image) = load_image(&file, shape, BitDepth::Sixteen) {
                prop_assert_eq!(image.pixels.len(), 25);
            }
        }
    }
}

proptest! {
    #[test]
    fn images_of_every_format_survive_damage(damage in damage(), which: prop::sample::Index) {
        let samples: Vec<PathBuf> =
            fs::read_dir(sample("")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let folder = tempdir().unwrap();
        let file = folder.path().join("image");
        let bytes = fs::read(which.get(&samples)).unwrap();
        write(&file, damage.apply(bytes));
        let shape = ImageShape { height: 5, width: 5, channels: 3 };
        if let Ok(image) = load_image(&file, shape, BitDepth::Eight) {
            prop_assert_eq!(image.pixels.len(), 75);
        }
    }
}

/// A PNG whose header claims 2³¹ − 1 pixels a side must not be given the memory for them.
#[test]
fn an_image_of_a_forged_size_is_refused() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("forged.png");
    write_colour(&file, 2, 2, [0; 3]);
    let mut bytes = fs::read(&file).unwrap();
    bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    // The header's checksum has to be right for the size to be believed.
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    write(&file, &bytes);
    let shape = ImageShape { height: 2, width: 2, channels: 3 };
    let error = load_image(&file, shape, BitDepth::Eight).unwrap_err().to_string();
    assert!(error.contains("cannot be decoded"), "{error}");
}

/// A few bytes can hold an image that takes very long to decode: longer than any side of a JPEG, or huge.
#[test]
fn an_image_of_an_absurd_size_is_refused_before_it_is_decoded() {
    let folder = tempdir().unwrap();
    for (width, height) in [(65_536, 1), (9_000, 9_000)] {
        let file = folder.path().join(format!("{width}.png"));
        image::GrayImage::new(width, height).save(&file).unwrap();
        let shape = ImageShape { height: 2, width: 2, channels: 1 };
        let error = load_image(&file, shape, BitDepth::Eight).unwrap_err().to_string();
        let expected = format!(
            "{}: image size is {height} × {width} pixels (height × width); expected at most 65535 on a side and \
             67108864 in all",
            file.display()
        );
        assert_eq!(error, expected);
    }
}
