//! Examples in memory: images, rows of tables, arrays; channels last.

use std::borrow::Cow;
use std::path::Path;

use lfnn_core::data::{self, Split, hold_out};
use lfnn_core::train::Pixels;
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Height, width and channels of every image of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green and blue; the features of a table.
    pub channels: usize,
}

impl ImageShape {
    /// Height, width and channels.
    pub fn extents(self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Positions in an image, whatever its channels. Saturates rather than overflowing.
    pub fn positions(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Numbers in an image. Saturates rather than overflowing.
    pub fn values(self) -> usize {
        self.positions().saturating_mul(self.channels)
    }

    /// Room for `images` images, or an error rather than an abort if there is none.
    pub(crate) fn reserve<T>(self, images: usize, what: &str) -> Result<Vec<T>, DataError> {
        let mut pixels = Vec::new();
        let length = self.values().saturating_mul(images);
        // Labels and indices are 32 bits wide everywhere, hence the limit on the number.
        if u32::try_from(images).is_err() || pixels.try_reserve_exact(length).is_err() {
            return Err(DataError::TooLarge {
                what: what.to_owned(),
                images: images as u64,
                height: self.height,
                width: self.width,
                channels: self.channels,
            });
        }
        Ok(pixels)
    }

    /// As many black images, or an error if there is no room for them.
    pub(crate) fn allocate<T: Copy + Default>(
        self,
        images: usize,
        what: &str,
    ) -> Result<Vec<T>, DataError> {
        let mut pixels = self.reserve(images, what)?;
        pixels.resize(self.values().saturating_mul(images), T::default());
        Ok(pixels)
    }
}

/// The numbers that predictions are made from, as `[example][row][column][channel]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Bytes, which stand for numbers from 0 to 1.
    Bytes(Vec<u8>),
    /// Real numbers, which stand for themselves.
    Reals(Vec<f32>),
}

impl Inputs {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Inputs::Bytes(bytes) => bytes.len(),
            Inputs::Reals(reals) => reals.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a whole number of 16 bits stands for: a number from 0 to 1, as a byte does.
pub(crate) fn real_of_16_bits(value: u16) -> f32 {
    f32::from(value) / f32::from(u16::MAX)
}

impl<'a> From<&'a Inputs> for Pixels<'a> {
    fn from(inputs: &'a Inputs) -> Self {
        match inputs {
            Inputs::Bytes(bytes) => Pixels::Bytes(bytes),
            Inputs::Reals(reals) => Pixels::Reals(reals),
        }
    }
}

/// What is to be predicted of examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// The class of each example, `[examples]`.
    Classes(Vec<u32>),
    /// Numbers, `[examples, columns]`.
    Values(Array2<f32>),
}

impl Targets {
    /// The number of examples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(labels) => labels.len(),
            Targets::Values(values) => values.nrows(),
        }
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The names of what is predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetNames {
    /// Names of the classes, in the order of the labels.
    Classes(Vec<String>),
    /// Names of the numbers, in the order of the columns.
    Values(Vec<String>),
}

impl TargetNames {
    /// The names of classes; none in a regression.
    pub fn classes(&self) -> &[String] {
        match self {
            TargetNames::Classes(names) => names,
            TargetNames::Values(_) => &[],
        }
    }

    /// The names, of whatever they are.
    pub fn names(&self) -> &[String] {
        match self {
            TargetNames::Classes(names) | TargetNames::Values(names) => names,
        }
    }
}

/// Examples in memory: images, rows of a table, or any arrays of one shape. A row of a table is an image of one pixel
/// with a channel for each feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// The shape of every example.
    pub shape: ImageShape,
    /// What predictions are made from.
    pub inputs: Inputs,
    /// What is to be predicted.
    pub targets: Targets,
}

impl Examples {
    /// Examples with these inputs and targets.
    ///
    /// # Errors
    /// An example without numbers, or inputs that are not those of one example for each target.
    pub fn new(shape: ImageShape, inputs: Inputs, targets: Targets) -> Result<Self, DataError> {
        let count = targets.len();
        let expected = shape.values().saturating_mul(count);
        let fits = u32::try_from(shape.positions()).is_ok() && u32::try_from(count).is_ok();
        if shape.values() == 0 || inputs.len() != expected || !fits {
            let ImageShape { height, width, channels } = shape;
            return Err(DataError::Inconsistent {
                what: "number of pixel values",
                found: inputs.len() as u64,
                expected: format!("{count} images of {height} × {width} × {channels} values"),
            });
        }
        Ok(Self { shape, inputs, targets })
    }

    /// Images of bytes with their classes.
    ///
    /// # Errors
    /// As [`Examples::new`].
    pub fn images(shape: ImageShape, pixels: Vec<u8>, labels: Vec<u32>) -> Result<Self, DataError> {
        Self::new(shape, Inputs::Bytes(pixels), Targets::Classes(labels))
    }

    /// The same for a trainer. Inputs are borrowed.
    ///
    /// # Errors
    /// No examples, or a number that is not finite.
    pub fn dataset(&self) -> Result<data::Dataset<'_>, data::DataError> {
        let inputs = self.network_inputs()?;
        match &self.targets {
            Targets::Classes(labels) => {
                data::Dataset::classification(inputs, labels.as_slice().into())
            }
            Targets::Values(values) => data::Dataset::regression(inputs, values.view()),
        }
    }

    /// The inputs, without what is to be predicted, as a network takes them. They are borrowed.
    ///
    /// # Errors
    /// Another number of values than the shape has.
    pub fn network_inputs(&self) -> Result<data::Inputs<'_>, data::DataError> {
        data::Inputs::new(self.shape.extents(), &self.inputs)
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The class of each example; none in a regression.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes(labels) => labels,
            Targets::Values(_) => &[],
        }
    }

    /// The pixels of images of bytes; none of other examples.
    pub fn bytes(&self) -> &[u8] {
        match &self.inputs {
            Inputs::Bytes(bytes) => bytes,
            Inputs::Reals(_) => &[],
        }
    }

    /// The pixels of one image of bytes.
    ///
    /// # Panics
    /// If there is no image `index`, or its pixels are no bytes.
    pub fn image(&self, index: usize) -> &[u8] {
        let values = self.shape.values();
        &self.bytes()[index * values..(index + 1) * values]
    }

    /// Holds out `count` examples, balanced over the classes where there are any; see [`hold_out`].
    ///
    /// # Errors
    /// If `count` is not less than the number of examples.
    pub fn hold_out(&self, count: usize, seed: u64) -> Result<Split, DataError> {
        self.targets.hold_out(count, seed)
    }

    /// Puts other examples of the same kind behind these.
    ///
    /// # Errors
    /// Examples of another shape or another kind, or too many.
    pub fn append(&mut self, other: Self) -> Result<(), DataError> {
        let expected = || DataError::Inconsistent {
            what: "number of values of an example",
            found: other.shape.values() as u64,
            expected: format!("{}, of the same type", self.shape.values()),
        };
        if other.shape != self.shape {
            return Err(expected());
        }
        match (&mut self.targets, &other.targets) {
            (Targets::Classes(all), Targets::Classes(labels)) => all.extend(labels),
            (Targets::Values(all), Targets::Values(values)) => {
                all.append(Axis(0), values.view()).map_err(|_| expected())?;
            }
            _ => return Err(expected()),
        }
        match (&mut self.inputs, other.inputs) {
            (Inputs::Bytes(all), Inputs::Bytes(mut bytes)) => all.append(&mut bytes),
            (Inputs::Reals(all), Inputs::Reals(mut reals)) => all.append(&mut reals),
            (_, inputs) => {
                return Err(DataError::Inconsistent {
                    what: "number of values of another type",
                    found: inputs.len() as u64,
                    expected: "0".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The examples with these indices, in their order.
    ///
    /// # Panics
    /// If one of them is no example.
    pub fn select(&self, indices: &[u32]) -> Self {
        let chosen: Vec<usize> = indices.iter().map(|&index| index as usize).collect();
        let values = self.shape.values();
        fn pick<T: Copy>(all: &[T], chosen: &[usize], values: usize) -> Vec<T> {
            chosen.iter().flat_map(|&at| &all[at * values..(at + 1) * values]).copied().collect()
        }
        let inputs = match &self.inputs {
            Inputs::Bytes(all) => Inputs::Bytes(pick(all, &chosen, values)),
            Inputs::Reals(all) => Inputs::Reals(pick(all, &chosen, values)),
        };
        Self { shape: self.shape, inputs, targets: self.targets.select(&chosen) }
    }
}

impl Targets {
    /// That each number to predict differs between these examples.
    pub(crate) fn check_varied(
        &self,
        file: &Path,
        names: &[String],
        examples: &[u32],
    ) -> Result<(), DataError> {
        let Targets::Values(values) = self else { return Ok(()) };
        for (name, column) in names.iter().zip(values.columns()) {
            let mut values = examples.iter().map(|&at| column[at as usize]);
            let first = values.next().unwrap_or_default();
            if values.all(|value| value == first) {
                let what = format!("the target `{name}`");
                let found = format!("{first} in all examples to train on");
                return Err(DataError::format(file, what, found, "numbers that differ"));
            }
        }
        Ok(())
    }

    /// The labels; in a regression, those of one class.
    fn strata(&self) -> Cow<'_, [u32]> {
        match self {
            Targets::Classes(labels) => labels.into(),
            Targets::Values(values) => vec![0; values.nrows()].into(),
        }
    }

    /// See [`Examples::hold_out`].
    pub(crate) fn hold_out(&self, count: usize, seed: u64) -> Result<Split, DataError> {
        let available = self.len();
        hold_out(&self.strata(), count, seed).ok_or(DataError::HoldOut { found: count, available })
    }

    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        match self {
            Targets::Classes(all) => Targets::Classes(indices.iter().map(|&at| all[at]).collect()),
            Targets::Values(all) => Targets::Values(all.select(Axis(0), indices)),
        }
    }
}

/// Bytes as labels, each checked against the number of classes.
pub(crate) fn labels_of(bytes: &[u8], classes: usize, file: &Path) -> Result<Vec<u32>, DataError> {
    let check = |(index, &byte): (usize, &u8)| match usize::from(byte) < classes {
        true => Ok(u32::from(byte)),
        false => Err(DataError::LabelOutOfRange {
            file: file.to_owned(),
            index,
            found: byte.into(),
            classes,
        }),
    };
    bytes.iter().enumerate().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_no_memory_holds_are_an_error() {
        let shape = ImageShape { height: 1 << 20, width: 1 << 20, channels: 3 };
        let message = shape.allocate::<u8>(1 << 30, "file").unwrap_err().to_string();
        let images = "1073741824 images of 1048576 × 1048576 × 3 do not fit in memory";
        assert_eq!(message, format!("file: {images}"));
    }
}
