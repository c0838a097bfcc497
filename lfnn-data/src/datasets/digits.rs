//! The UCI 8×8 digits, compiled in so that the first run needs no download.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::declaration::{DatasetSize, Declaration, Origin, Reader, Request};
use crate::{DataError, Dataset, Examples, ImageShape};

pub(super) static DATASET: Declaration = Declaration {
    name: "digits",
    origin: Origin::Embedded,
    size: Some(DatasetSize { shape: SHAPE, classes: 10, train: 1442, test: 355 }),
    reader: &Embedded,
};

/// The names of ten digits.
pub(super) const CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

const SHAPE: ImageShape = ImageShape { height: 8, width: 8, channels: 1 };
const CSV: &[u8] = include_bytes!("../../data/digits.csv.gz");
/// How the embedded file is called in an error.
const FILE: &str = "digits.csv.gz";

/// Every fifth image of a class, in the order of the file, is a test image: a rule without a
/// seed, so that all results on the digits speak of the same images.
const TEST_EVERY: usize = 5;

struct Embedded;

impl Reader for Embedded {
    fn load(&self, request: &Request<'_>) -> Result<Dataset, DataError> {
        let [train, test] = load()?;
        Ok(Dataset::of_images(request.set.name, &CLASSES, train, test, Vec::new()))
    }
}

/// The training and the test images.
fn load() -> Result<[Examples; 2], DataError> {
    let mut text = String::new();
    GzDecoder::new(CSV).read_to_string(&mut text).map_err(DataError::io("read", FILE.as_ref()))?;
    let all = parse(&text, FILE.as_ref())?;

    let mut seen = [0; CLASSES.len()];
    let (mut train, mut test) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for (index, &label) in all.labels().iter().enumerate() {
        let count = &mut seen[label as usize];
        let (pixels, labels) =
            if *count % TEST_EVERY == TEST_EVERY - 1 { &mut test } else { &mut train };
        *count += 1;
        pixels.extend_from_slice(all.image(index));
        labels.push(label);
    }
    Ok([Examples::images(SHAPE, train.0, train.1)?, Examples::images(SHAPE, test.0, test.1)?])
}

/// Lines of 64 values from 0 to 16 and a digit, separated by commas.
fn parse(text: &str, file: &Path) -> Result<Examples, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (line, row) in text.lines().enumerate() {
        let wrong = || {
            let expected = "64 numbers from 0 to 16 and a digit, separated by commas";
            DataError::format(file, format!("line {}", line + 1), format!("`{row}`"), expected)
        };
        let values: Option<Vec<u8>> = row.split(',').map(|value| value.parse().ok()).collect();
        let values = values.ok_or_else(wrong)?;
        match values.split_last() {
            Some((&label, image))
                if image.len() == SHAPE.values()
                    && usize::from(label) < CLASSES.len()
                    && image.iter().all(|&value| value <= 16) =>
            {
                labels.push(u32::from(label));
                // 0 to 16 becomes 0 to 255, rounded.
                pixels.extend(image.iter().map(|&v| ((u16::from(v) * 255 + 8) / 16) as u8));
            }
            _ => return Err(wrong()),
        }
    }
    Examples::images(SHAPE, pixels, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_digits_split_four_to_one_in_every_class() {
        let [train, test] = load().unwrap();
        let size = DATASET.size.unwrap();
        assert_eq!((train.len(), test.len()), (size.train, size.test));
        for class in 0..10 {
            let of = |set: &Examples| set.labels().iter().filter(|&&label| label == class).count();
            let (train, test) = (of(&train), of(&test));
            assert_eq!(test, (train + test) / 5, "class {class}");
        }
    }

    #[test]
    fn pixels_are_scaled_to_the_whole_range_and_rounded() {
        let [train, _] = load().unwrap();
        // The first line of the file begins 0,0,5,13,9,1,0,0 and is a zero.
        assert_eq!(train.labels()[0], 0);
        assert_eq!(&train.image(0)[..8], [0, 0, 80, 207, 143, 16, 0, 0]);
        assert_eq!(train.bytes().iter().max(), Some(&255));
    }

    #[test]
    fn a_broken_line_is_named() {
        let row = |pixel: &str, label: &str| format!("{pixel}{},{label}\n", ",0".repeat(63));
        assert!(parse(&row("16", "9"), FILE.as_ref()).is_ok());
        for bad in [row("17", "9"), row("0", "10"), row("x", "1"), "0,1\n".into(), "\n".into()] {
            let message = parse(&(row("0", "1") + &bad), FILE.as_ref()).unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "digits.csv.gz: line 2 is `{}`; expected 64 numbers from 0 to 16 and a \
                     digit, separated by commas",
                    bad.trim_end()
                )
            );
        }
    }
}
