//! What the tests make their files with.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, Luma, Rgb, RgbImage};
use lfnn_data::{
    BitDepth, DataError, Dataset, DatasetName, ImageOptions, ImageShape, Inputs, Source,
    load_image, silent,
};

/// Loads a data set from a folder.
pub(crate) fn load(name: DatasetName, folder: &Path) -> Result<Dataset, DataError> {
    load_sized(name, folder, None)
}

/// Loads a data set from a folder, resized.
pub(crate) fn load_sized(
    name: DatasetName,
    folder: &Path,
    size: Option<(usize, usize)>,
) -> Result<Dataset, DataError> {
    load_images(name, folder, ImageOptions { size, ..ImageOptions::default() })
}

/// Loads a data set from a folder, its images converted so.
pub(crate) fn load_images(
    name: DatasetName,
    folder: &Path,
    images: ImageOptions,
) -> Result<Dataset, DataError> {
    let path = Some(folder.to_owned());
    let source = Source { path, images, ..Source::named(name) };
    Dataset::load(&source, Path::new("nowhere"), &silent)
}

/// The bytes of an image file in this shape.
pub(crate) fn bytes_of(path: &Path, shape: ImageShape) -> Result<Vec<u8>, DataError> {
    match load_image(path, shape, BitDepth::Eight)?.pixels {
        Inputs::Bytes(bytes) => Ok(bytes),
        Inputs::Reals(_) => panic!("bytes"),
    }
}

/// The message of the error that loading gives, with `folder` taken out of it.
pub(crate) fn message(name: DatasetName, folder: &Path) -> String {
    without(folder, load(name, folder).unwrap_err().to_string())
}

/// A message with `folder/` taken out of it.
pub(crate) fn without(folder: &Path, message: String) -> String {
    let prefix = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
    message.replace(&prefix, "").replace('\\', "/")
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// MNIST in small: 4 training and 2 test images of 2×3 pixels.
pub(crate) fn write_mnist(folder: &Path) {
    for (prefix, count) in [("train", 4u8), ("t10k", 2)] {
        let pixels: Vec<u8> = (0..count * 6).collect();
        let labels: Vec<u8> = (0..count).map(|label| label * 3).collect();
        let images = idx(&[count.into(), 2, 3], &pixels);
        write(&folder.join(format!("{prefix}-images-idx3-ubyte")), images);
        write(&folder.join(format!("{prefix}-labels-idx1-ubyte")), idx(&[count.into()], &labels));
    }
}

/// Records of CIFAR: labels, then planes filled with 10·k, 10·k + 1 and 10·k + 2 in record k.
pub(crate) fn cifar_records(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        bytes.extend(*label);
        bytes.extend((0..3072).map(|at| (10 * index + at / 1024) as u8));
    }
    bytes
}

/// CIFAR-10 in small: one record a training file, two in the test file.
pub(crate) fn write_cifar_10(folder: &Path) {
    for batch in 1..=5u8 {
        let path = folder.join(format!("data_batch_{batch}.bin"));
        write(&path, cifar_records(&[&[batch]]));
    }
    write(&folder.join("test_batch.bin"), cifar_records(&[&[0], &[9]]));
}

/// Writes a colour image of one colour, in the format of the path's extension.
pub(crate) fn write_colour(path: &Path, height: u32, width: u32, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_pixel(width, height, Rgb(colour));
    image.save_with_format(path, format_of(path)).unwrap();
}

/// Writes a grey image of one grey, in the format of the path's extension.
pub(crate) fn write_grey(path: &Path, height: u32, width: u32, grey: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = GrayImage::from_pixel(width, height, Luma([grey]));
    image.save_with_format(path, format_of(path)).unwrap();
}

fn format_of(path: &Path) -> image::ImageFormat {
    match path.extension().unwrap().to_str().unwrap() {
        "JPEG" => image::ImageFormat::Jpeg,
        ending => image::ImageFormat::from_extension(ending).unwrap(),
    }
}

/// The path of a file in `images/`.
pub(crate) fn sample(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images").join(name)
}
