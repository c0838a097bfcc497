//! What a user may not expect of a data set is told: files left out, grey, 16 bits, EXIF, marks at
//! the beginning of texts.

use std::fs;
use std::path::Path;

use image::{ImageBuffer, Luma, Rgb};
use lfnn_data::{BitDepth, DatasetName, ImageShape, Note, load_image, silent, verify};
use tempfile::tempdir;

use crate::support::{
    bytes_of, load, load_sized, message, without, write, write_colour, write_grey,
};

const TINY: DatasetName = DatasetName::TinyImagenet;
const FOLDER: DatasetName = DatasetName::Folder;

/// A class with one image in both sets, in colour.
fn write_cats(folder: &Path) {
    for path in ["train/cat/1.png", "test/cat/1.png"] {
        write_colour(&folder.join(path), 2, 3, [1, 2, 3]);
    }
}

/// The notes on loading an image folder, which verifying it must give too.
fn notes(folder: &Path) -> Vec<String> {
    let data = load_sized(FOLDER, folder, Some((2, 3))).unwrap();
    assert_eq!(verify(FOLDER, folder, &silent).unwrap().notes, data.notes);
    data.notes.iter().map(|note| without(folder, note.to_string())).collect()
}

#[test]
fn every_format_that_predict_takes_is_trained_on_whatever_the_case_of_its_ending() {
    let folder = tempdir().unwrap();
    write_cats(folder.path());
    for ending in ["jpg", "jpeg", "bmp", "gif", "webp", "ppm", "pnm"] {
        let path = folder.path().join(format!("train/cat/{ending}.{ending}"));
        write_colour(&path, 2, 3, [200, 100, 50]);
        let upper = format!("train/cat/upper-{ending}.{}", ending.to_uppercase());
        write(&folder.path().join(upper), fs::read(&path).unwrap());
    }
    write_grey(&folder.path().join("train/cat/grey.pgm"), 2, 3, 9);
    let data = load(FOLDER, folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (16, 1));
    assert_eq!(data.notes, [Note::Grey { images: 1, of: 17 }]);
}

#[test]
fn what_is_left_out_is_counted_and_the_first_is_named() {
    let folder = tempdir().unwrap();
    write_cats(folder.path());
    assert_eq!(notes(folder.path()), [""; 0]);
    write(&folder.path().join("train/cat/.DS_Store"), "hidden");
    let hidden = "left out 1 file of train/: 1 hidden file (first: train/cat/.DS_Store)";
    assert_eq!(notes(folder.path()), [hidden]);
    fs::remove_file(folder.path().join("train/cat/.DS_Store")).unwrap();

    write(&folder.path().join("train/cat/scan.tif"), "an image of a format that is not read");
    write(&folder.path().join("train/cat/scan2.TIF"), "one more");
    write_colour(&folder.path().join("train/cat/sub/1.png"), 2, 3, [0; 3]);
    let left_out = "left out 3 files of train/: 2 .tif, 1 sub-folder (first: train/cat/scan.tif)";
    assert_eq!(notes(folder.path()), [left_out]);

    write(&folder.path().join("test/README"), "");
    write_colour(&folder.path().join("test/loose.png"), 2, 3, [0; 3]);
    let in_test =
        "left out 2 files of test/: 1 extensionless file, 1 stray image (first: test/README)";
    assert_eq!(notes(folder.path()), [left_out, in_test]);
    write_colour(&folder.path().join("extra/cat/1.png"), 2, 3, [0; 3]);
    write(&folder.path().join("labels.csv"), "");
    let beside = "left out 2 files: 1 .csv, 1 sub-folder (first: labels.csv)";
    assert_eq!(notes(folder.path()), [beside, left_out, in_test]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_those_to_nothing_are_counted() {
    use std::os::unix::fs::symlink;
    let folder = tempdir().unwrap();
    write_cats(folder.path());
    let cats = folder.path().join("train/cat");
    symlink(cats.join("1.png"), cats.join("2.png")).unwrap();
    symlink("nowhere.png", cats.join("3.png")).unwrap();
    symlink("nowhere", folder.path().join("train/dog")).unwrap();
    symlink("round.png", cats.join("round.png")).unwrap();
    assert_eq!(load(FOLDER, folder.path()).unwrap().train.len(), 2);
    assert_eq!(
        notes(folder.path()),
        ["left out 3 files of train/: 3 dangling links (first: train/dog)"]
    );
}

#[test]
fn a_file_that_is_named_an_image_and_is_none_is_an_error() {
    for ending in ["png", "webp", "BMP", "gif", "pgm"] {
        let folder = tempdir().unwrap();
        write_cats(folder.path());
        write(&folder.path().join(format!("train/cat/2.{ending}")), "no image");
        let message = message(FOLDER, folder.path());
        assert!(message.starts_with(&format!("train/cat/2.{ending}: cannot be")), "{message}");
    }
}

/// Tiny ImageNet with one class of one image in both sets.
fn write_tiny(folder: &Path, mark: &str) {
    write_colour(&folder.join("train/n01/images/1.JPEG"), 64, 64, [0, 0, 255]);
    write_colour(&folder.join("val/images/v.JPEG"), 64, 64, [0, 255, 0]);
    write(&folder.join("wnids.txt"), format!("{mark}n01\n"));
    write(&folder.join("words.txt"), format!("{mark}n01\tcat\n"));
    write(&folder.join("val/val_annotations.txt"), format!("{mark}v.JPEG\tn01\t0\t0\t63\t63\n"));
}

#[test]
fn tiny_imagenets_own_lists_are_not_left_out_and_other_things_are() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path(), "");
    write(&folder.path().join("train/n01/n01_boxes.txt"), "");
    assert_eq!(load(TINY, folder.path()).unwrap().notes, []);
    write(&folder.path().join("train/n01/images/1.txt"), "");
    write(&folder.path().join("val/images/v.tif"), "");
    write_colour(&folder.path().join("train/n02/images/1.JPEG"), 64, 64, [0; 3]);
    let notes = load(TINY, folder.path()).unwrap().notes;
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "left out 2 files of train/: 1 .txt, 1 unlisted class folder (first: train/n02)",
            "left out 1 file of val/: 1 .tif (first: val/images/v.tif)",
        ]
    );
}

#[test]
fn texts_may_begin_with_a_byte_order_mark() {
    let folder = tempdir().unwrap();
    write_tiny(folder.path(), "\u{feff}");
    let data = load(TINY, folder.path()).unwrap();
    assert_eq!((data.classes(), data.test.labels()), (&["cat".to_owned()][..], &[0][..]));
}

#[test]
fn grey_images_that_train_as_rgb_are_counted() {
    let folder = tempdir().unwrap();
    for path in ["train/cat/1.png", "train/cat/2.jpg", "test/cat/1.pgm"] {
        write_grey(&folder.path().join(path), 2, 3, 77);
    }
    assert_eq!(notes(folder.path()), [""; 0]);
    write_colour(&folder.path().join("test/cat/2.png"), 2, 3, [1, 2, 3]);
    assert_eq!(notes(folder.path()), ["3 of 4 images are grey; they train as RGB"]);
}

#[test]
fn files_of_16_bits_per_channel_are_counted() {
    let folder = tempdir().unwrap();
    write_cats(folder.path());
    let colour = ImageBuffer::from_pixel(3, 2, Rgb([0x1234u16, 0, 0xffff]));
    colour.save(folder.path().join("train/cat/2.png")).unwrap();
    let whole = "all images train with real numbers (`dataset.bits: 8` trains with bytes)";
    let one = format!("1 of 3 files has 16 bits per channel; {whole}");
    assert_eq!(notes(folder.path()), [one]);
    ImageBuffer::from_pixel(3, 2, Luma([9u16])).save(folder.path().join("test/cat/2.png")).unwrap();
    assert_eq!(
        notes(folder.path()),
        [
            "1 of 4 images is grey; it trains as RGB".to_owned(),
            format!("2 of 4 files have 16 bits per channel; {whole}"),
        ]
    );
    let shape = ImageShape { height: 2, width: 3, channels: 3 };
    let is_cut =
        |name: &str, depth| load_image(&folder.path().join(name), shape, depth).unwrap().is_cut;
    let depths = [BitDepth::Eight, BitDepth::Sixteen];
    assert_eq!(depths.map(|depth| is_cut("train/cat/2.png", depth)), [true, false]);
    assert_eq!(depths.map(|depth| is_cut("train/cat/1.png", depth)), [false; 2]);
}

/// TIFF as in EXIF, with orientation 6: turn right by a quarter.
fn exif() -> Vec<u8> {
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    exif.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    exif
}

fn chunk_of_webp(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = [name, &(data.len() as u32).to_le_bytes()[..], data].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

/// A WebP with this EXIF chunk around the data of a simple one of 4 × 2 pixels.
fn webp_with(simple: &[u8], exif: &[u8]) -> Vec<u8> {
    let header = [8, 0, 0, 0, 3, 0, 0, 1, 0, 0];
    let chunks = [
        b"WEBP",
        &chunk_of_webp(b"VP8X", &header)[..],
        &simple[12..],
        &chunk_of_webp(b"EXIF", exif),
    ];
    chunk_of_webp(b"RIFF", &chunks.concat())
}

/// A PNG with this EXIF chunk at this position.
fn png_with(plain: &[u8], at: usize, exif: &[u8]) -> Vec<u8> {
    let data = [b"eXIf", exif].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&data);
    let length = (exif.len() as u32).to_be_bytes();
    [&plain[..at], &length, &data, &crc.sum().to_be_bytes(), &plain[at..]].concat()
}

#[test]
fn orientation_is_found_with_and_without_the_mark_of_jpegs_exif() {
    let folder = tempdir().unwrap();
    let marked = [&b"Exif\0\0"[..], &exif()].concat();
    let turned = ImageShape { height: 4, width: 2, channels: 3 };
    let plain = |name: &str| {
        let path = folder.path().join(name);
        let image = ImageBuffer::from_fn(4, 2, |x, y| Rgb([x as u8 * 50, y as u8 * 100, 7]));
        image.save(&path).unwrap();
        fs::read(path).unwrap()
    };
    let (webp, png) = (plain("plain.webp"), plain("plain.png"));
    for exif in [&exif(), &marked] {
        let files = [
            ("webp", webp_with(&webp, exif)),
            ("png behind the header", png_with(&png, 33, exif)),
            ("png behind the pixels", png_with(&png, png.len() - 12, exif)),
        ];
        for (what, bytes) in files {
            let path = folder.path().join("turned");
            write(&path, bytes);
            let pixels = bytes_of(&path, turned).unwrap();
            let expected: Vec<u8> = (0..4u8).flat_map(|y| [y * 50, 100, 7, y * 50, 0, 7]).collect();
            assert_eq!(pixels, expected, "{what}");
        }
    }
}
