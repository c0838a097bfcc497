//! Image files that lost data: refused by name, never filled in; and files that only look so.
//!
//! The files in `images/` were made for these tests, with Pillow and jpegtran, from gradients.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lfnn_data::{
    BitDepth, DataError, DatasetName, ImageShape, LoadedImage, load_image, silent, verify,
};
use tempfile::tempdir;

use crate::support::{message, sample, write, write_colour};

/// The shape in which a file needs no resizing.
fn shape_of(path: &Path) -> ImageShape {
    let (width, height) = image::image_dimensions(path).unwrap();
    ImageShape { height: height as usize, width: width as usize, channels: 3 }
}

/// All files in `images/`, or those whose names end so.
fn samples(ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(sample("")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A file that is changed and loaded, again and again.
struct Changed {
    folder: tempfile::TempDir,
    name: String,
    shape: ImageShape,
    bytes: Vec<u8>,
}

impl Changed {
    fn new(sample: &Path) -> Self {
        Self {
            folder: tempdir().unwrap(),
            name: sample.file_name().unwrap().to_str().unwrap().to_owned(),
            shape: shape_of(sample),
            bytes: fs::read(sample).unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    fn load(&self, bytes: &[u8]) -> Result<LoadedImage, DataError> {
        write(&self.path(), bytes);
        load_image(&self.path(), self.shape, BitDepth::Eight)
    }

    fn whole(&self) -> LoadedImage {
        self.load(&self.bytes).unwrap()
    }

    /// What is wrong with the bytes, in the words of the check.
    fn problem(&self, bytes: &[u8]) -> String {
        let error = self.load(bytes).unwrap_err();
        assert!(error.to_string().contains(&self.name), "{error}");
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        cause.trim_start_matches("Format error decoding Jpeg: ").to_owned()
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_has_all_its_pixels() {
    for sample in samples("") {
        let file = Changed::new(&sample);
        let whole = file.whole();
        let on_disk = OpenOptions::new().write(true).open(file.path()).unwrap();
        let mut kept = Vec::new();
        for cut in (0..file.bytes.len()).rev() {
            on_disk.set_len(cut as u64).unwrap();
            if let Ok(image) = load_image(&file.path(), file.shape, BitDepth::Eight) {
                assert_eq!(image, whole, "{} cut at {cut}", file.name);
                kept.push(cut);
            }
        }
        // Marks of the end and second frames may be missing.
        let frames = if file.name.starts_with("animated") { 60 } else { 4 };
        assert!(kept.iter().all(|cut| cut + frames >= file.bytes.len()), "{}: {kept:?}", file.name);
    }
}

#[test]
fn a_jpeg_that_ends_in_zeros_is_refused_or_has_all_its_pixels() {
    for sample in samples(".jpg") {
        let file = Changed::new(&sample);
        let whole = file.whole();
        let mut on_disk = OpenOptions::new().write(true).open(file.path()).unwrap();
        for from in (0..file.bytes.len()).rev() {
            on_disk.seek(SeekFrom::Start(from as u64)).unwrap();
            on_disk.write_all(&[0]).unwrap();
            if let Ok(image) = load_image(&file.path(), file.shape, BitDepth::Eight) {
                assert_eq!(image, whole, "{} with zeros from {from}", file.name);
            }
        }
    }
}

#[test]
fn what_a_jpeg_lacks_is_told() {
    let file = Changed::new(&sample("baseline.jpg"));
    let half = file.bytes.len() * 9 / 10;
    let problem = file.problem(&file.bytes[..half]);
    assert_eq!(problem, "the data of scan 1 ends after 4 of 9 blocks");
    // An end marker does not make it whole.
    assert_eq!(file.problem(&[&file.bytes[..half], &[0xff, 0xd9]].concat()), problem);

    let file = Changed::new(&sample("progressive.jpg"));
    let scans = file.bytes.windows(2).filter(|pair| pair == &[0xff, 0xda]).count();
    let last = file.bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let problem = file.problem(&file.bytes[..last]);
    assert_eq!(problem, format!("it ends after scan {}, before its last one", scans - 1));

    let mut file = Changed::new(&sample("restarts.jpg"));
    let restart = file.bytes.windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
    let next = file.bytes.windows(2).position(|pair| pair == [0xff, 0xd2]).unwrap();
    file.bytes.drain(restart..next);
    let problem = file.problem(&file.bytes);
    assert_eq!(problem, "the data of scan 1 ends after 7 of 9 blocks");

    let file = Changed::new(&sample("baseline.jpg"));
    let end = file.bytes.len() - 2;
    let problem = file.problem(&[&file.bytes[..end], &[0x55; 40], &[0xff, 0xd9]].concat());
    assert_eq!(problem, "the data of scan 1 continues for 40 bytes after its last block");
}

/// Position and length, the marker included, of the first segment with this marker.
fn segment(bytes: &[u8], marker: u8) -> (usize, usize) {
    let at = bytes.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
    (at, 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])))
}

#[test]
fn a_jpeg_that_is_odd_but_whole_is_taken() {
    for name in ["baseline.jpg", "progressive.jpg", "restarts.jpg", "progressive-grey.jpg"] {
        let file = Changed::new(&sample(name));
        let (whole, bytes) = (file.whole(), &file.bytes);
        let end = bytes.len() - 2;
        let (scan, _) = segment(bytes, 0xda);
        let odd = [
            ("no end marker", bytes[..end].to_vec()),
            ("bytes after the end", [bytes, &b"more \xff\xd8 of a second image"[..]].concat()),
            ("padding before the end", [&bytes[..end], &[0; 4], &bytes[end..]].concat()),
            ("fill bytes before a marker", [&bytes[..end], &[0xff; 3], &bytes[end..]].concat()),
            (
                "segments of other programs",
                [
                    &bytes[..2],
                    b"\xff\xe1\x00\x0aExif\0\0\xff\xd9\xff\xe2\x00\x0eICC_PROFILE\0\xff\xfe\x00\x06\xff\xda??",
                    &bytes[2..],
                ]
                .concat(),
            ),
            (
                "a comment before the scan",
                [&bytes[..scan], b"\xff\xfe\x00\x04??", &bytes[scan..]].concat(),
            ),
        ];
        for (what, bytes) in odd {
            assert_eq!(file.load(&bytes).unwrap(), whole, "{name}: {what}");
        }
    }
}

#[test]
fn of_an_animated_file_the_first_frame_alone_counts() {
    for name in ["animated.gif", "animated.webp"] {
        let file = Changed::new(&sample(name));
        let whole = file.whole();
        let mut bytes = file.bytes.clone();
        // Inside the second frame's data.
        let end = bytes.len() - 4;
        bytes[end - 8..end].fill(0x55);
        assert_eq!(file.load(&bytes).unwrap(), whole, "{name}");
    }
}

#[test]
fn training_and_verifying_name_a_cut_jpeg() {
    let folder = tempdir().unwrap();
    let bytes = fs::read(sample("baseline.jpg")).unwrap();
    write(&folder.path().join("train/a/1.jpg"), &bytes);
    write(&folder.path().join("train/a/2.jpg"), &bytes[..bytes.len() * 9 / 10]);
    write_colour(&folder.path().join("test/a/1.png"), 36, 40, [1, 2, 3]);
    assert_eq!(
        message(DatasetName::Folder, folder.path()),
        "train/a/2.jpg: cannot be decoded; expected a whole JPEG, PNG, BMP, GIF, WebP or PNM image"
    );
    let found = verify(DatasetName::Folder, folder.path(), &silent).unwrap();
    let lines: Vec<String> =
        found.files.iter().map(|r| format!("{}: {}", r.path.display(), r.state)).collect();
    assert_eq!(
        lines,
        [
            "train set: 1 image; no checksum is known",
            "train/a/2.jpg: cannot be decoded; expected a whole JPEG, PNG, BMP, GIF, WebP or PNM \
             image: Format error decoding Jpeg: the data of scan 1 ends after 4 of 9 blocks",
            "test set: 1 image; no checksum is known",
        ]
    );
}
