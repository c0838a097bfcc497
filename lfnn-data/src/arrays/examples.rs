//! Arrays as examples: inputs of any shape, and classes or numbers to predict.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ndarray::Array2;

use super::{ArrayPart, ArrayValues, StoredArray};
use crate::examples::real_of_16_bits;
use crate::{DataError, Examples, ImageShape, Inputs, TargetNames, Targets};

impl ArrayPart {
    /// The names of what is predicted: the classes among the targets, or a name for each column of numbers.
    ///
    /// # Errors
    /// Targets that are no classes.
    pub(crate) fn target_names(
        &self,
        path: &Path,
        regression: bool,
    ) -> Result<TargetNames, DataError> {
        let Self { y, .. } = self;
        if regression {
            let columns = y.shape.get(1).copied().unwrap_or(1);
            let name = |column: usize| match columns {
                1 => y.name.clone(),
                _ => format!("{}[{column}]", y.name),
            };
            return Ok(TargetNames::Values((0..columns).map(name).collect()));
        }
        let classes: BTreeSet<i64> = y.classes(path)?.into_iter().collect();
        if classes.len() < 2 || classes.len() > (y.shape[0] / 2).max(2) {
            let found = format!("{} different values of {}", classes.len(), y.shape[0]);
            let expected = "at least 2 classes with examples (`task: regression` predicts numbers)";
            return Err(DataError::format(path, format!("`{}`", y.name), found, expected));
        }
        Ok(TargetNames::Classes(classes.iter().map(i64::to_string).collect()))
    }

    /// The examples. Bytes stay bytes; whole numbers of 16 bits become numbers from 0 to 1, as bytes stand for them.
    ///
    /// # Errors
    /// Numbers that are not finite in single precision, or classes that have no name.
    pub(crate) fn into_examples(
        self,
        path: &Path,
        names: &TargetNames,
    ) -> Result<Examples, DataError> {
        let Self { x, y } = self;
        let targets = match names {
            TargetNames::Classes(names) => {
                let labels: BTreeMap<&str, u32> =
                    names.iter().map(String::as_str).zip(0..).collect();
                let label = |(index, class): (usize, i64)| {
                    labels.get(&class.to_string()[..]).copied().ok_or_else(|| {
                        let what = format!("`{}` [{index}]", y.name);
                        let expected = format!("one of {}", names.join(", "));
                        DataError::format(path, what, class, expected)
                    })
                };
                let classes = y.classes(path)?.into_iter().enumerate();
                Targets::Classes(classes.map(label).collect::<Result<_, _>>()?)
            }
            TargetNames::Values(names) => {
                let (shape, name) = ((y.shape[0], names.len()), y.name.clone());
                let values = Array2::from_shape_vec(shape, y.reals(path, false)?);
                Targets::Values(values.map_err(|error| {
                    let expected = format!("{} numbers for each example", names.len());
                    DataError::format(path, format!("`{name}`"), error, expected)
                })?)
            }
        };
        let shape = x.image_shape();
        Examples::new(shape, x.into_inputs(path)?, targets)
    }
}

impl StoredArray {
    /// The shape of one example, channels last.
    pub fn image_shape(&self) -> ImageShape {
        let (height, width, channels) = match self.shape[1..] {
            [features] => (1, 1, features),
            [height, width] => (height, width, 1),
            [height, width, channels] => (height, width, channels),
            _ => (0, 0, 0),
        };
        ImageShape { height, width, channels }
    }

    /// The inputs of examples: bytes, or real numbers.
    ///
    /// # Errors
    /// A number that is not finite in single precision.
    pub fn into_inputs(self, path: &Path) -> Result<Inputs, DataError> {
        match self.values {
            ArrayValues::U8(bytes) => Ok(Inputs::Bytes(bytes)),
            _ => Ok(Inputs::Reals(self.reals(path, true)?)),
        }
    }

    /// The elements as real numbers; of inputs, those of 16 bits from 0 to 1.
    fn reals(self, path: &Path, is_input: bool) -> Result<Vec<f32>, DataError> {
        let Self { shape, values, name } = self;
        let reals: Vec<f32> = match values {
            ArrayValues::U8(values) => values.into_iter().map(f32::from).collect(),
            ArrayValues::U16(values) if is_input => {
                values.into_iter().map(real_of_16_bits).collect()
            }
            ArrayValues::U16(values) => values.into_iter().map(f32::from).collect(),
            ArrayValues::Whole(values) => values.into_iter().map(|value| value as f32).collect(),
            ArrayValues::Real(values) => values,
        };
        match reals.iter().position(|value| !value.is_finite()) {
            None => Ok(reals),
            Some(at) => {
                let what = format!("`{name}` {:?}", indices(at, &shape));
                Err(DataError::format(path, what, reals[at], "a finite number of single precision"))
            }
        }
    }

    /// The class of each example: a whole number, or the place of the 1 among zeros (one-hot).
    fn classes(&self, path: &Path) -> Result<Vec<i64>, DataError> {
        let Self { shape, values, name } = self;
        let refuse = |at: usize, found: String, expected: &str| {
            let what = format!("`{name}` {:?}", indices(at, shape));
            DataError::format(path, what, found, expected)
        };
        let whole: Vec<i64> = match values {
            ArrayValues::U8(values) => values.iter().map(|&value| value.into()).collect(),
            ArrayValues::U16(values) => values.iter().map(|&value| value.into()).collect(),
            ArrayValues::Whole(values) => values.clone(),
            ArrayValues::Real(values) => {
                let is_whole = |value: &f32| value.fract() == 0.0 && value.abs() < 1e9;
                if let Some(at) = values.iter().position(|value| !is_whole(value)) {
                    let expected =
                        "a class, as a whole number (`task: regression` predicts numbers)";
                    return Err(refuse(at, values[at].to_string(), expected));
                }
                values.iter().map(|&value| value as i64).collect()
            }
        };
        let columns = shape.get(1).copied().unwrap_or(1);
        if columns == 1 {
            return Ok(whole);
        }
        let class = |(row, one_hot): (usize, &[i64])| {
            let mut set = one_hot.iter().zip(0..).filter(|(value, _)| **value != 0);
            match (set.next(), set.next()) {
                (Some((1, class)), None) => Ok(class),
                _ => Err(refuse(
                    row * columns,
                    "of a row that is not one-hot".into(),
                    "one class for each example, or a 1 among zeros",
                )),
            }
        };
        whole.chunks(columns.max(1)).enumerate().map(class).collect()
    }
}

/// The indices of an element in each axis.
fn indices(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let index = at % extent.max(1);
            at /= extent.max(1);
            index
        })
        .collect();
    indices.reverse();
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(name: &str, shape: &[usize], values: ArrayValues) -> StoredArray {
        StoredArray { shape: shape.to_vec(), values, name: name.into() }
    }

    fn part(x: (&[usize], ArrayValues), y: (&[usize], ArrayValues)) -> ArrayPart {
        ArrayPart { x: array("x", x.0, x.1), y: array("y", y.0, y.1) }
    }

    fn path() -> &'static Path {
        Path::new("a.npz")
    }

    #[test]
    fn whole_numbers_become_classes_by_value_and_deep_pixels_numbers_from_0_to_1() {
        let deep = ArrayValues::U16(vec![0, 65535, 32768, 1]);
        let labels = ArrayValues::Whole(vec![7, -1, 7, -1]);
        let part = part((&[4, 1, 1], deep), (&[4], labels));
        let names = part.target_names(path(), false).unwrap();
        assert_eq!(names.classes(), ["-1", "7"]);
        let examples = part.into_examples(path(), &names).unwrap();
        assert_eq!(examples.shape, ImageShape { height: 1, width: 1, channels: 1 });
        assert_eq!(examples.labels(), [1, 0, 1, 0]);
        let expected = vec![0.0, 1.0, 32768.0 / 65535.0, 1.0 / 65535.0];
        assert_eq!(examples.inputs, Inputs::Reals(expected));
    }

    #[test]
    fn one_hot_rows_are_classes_and_columns_of_numbers_are_values() {
        let features = || (&[4, 2][..], ArrayValues::Real(vec![0.5; 8]));
        let one_hot = ArrayValues::Real(vec![0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        let of_classes = part(features(), (&[4, 2], one_hot.clone()));
        let names = of_classes.target_names(path(), false).unwrap();
        let examples = of_classes.clone().into_examples(path(), &names).unwrap();
        assert_eq!(examples.labels(), [1, 0, 1, 0]);
        assert_eq!(examples.shape, ImageShape { height: 1, width: 1, channels: 2 });
        let names = of_classes.target_names(path(), true).unwrap();
        assert_eq!(names, TargetNames::Values(vec!["y[0]".into(), "y[1]".into()]));
        let Targets::Values(values) = of_classes.into_examples(path(), &names).unwrap().targets
        else {
            panic!("values");
        };
        assert_eq!(values.row(0).to_vec(), [0.0, 1.0]);
    }

    #[test]
    fn what_is_no_class_or_no_number_is_an_error_that_names_the_element() {
        let x = || (&[4, 2][..], ArrayValues::U8(vec![0; 8]));
        let message = |y: (&[usize], ArrayValues)| {
            part(x(), y).target_names(path(), false).unwrap_err().to_string()
        };
        assert_eq!(
            message((&[4], ArrayValues::Real(vec![0.0, 1.0, 1.5, 0.0]))),
            "a.npz: `y` [2] is 1.5; expected a class, as a whole number (`task: regression` predicts numbers)"
        );
        assert_eq!(
            message((&[4, 2], ArrayValues::U8(vec![0, 1, 1, 1, 0, 1, 1, 0]))),
            "a.npz: `y` [1, 0] is of a row that is not one-hot; expected one class for each example, or a 1 among zeros"
        );
        assert_eq!(
            message((&[4], ArrayValues::Whole(vec![1, 2, 3, 4]))),
            "a.npz: `y` is 4 different values of 4; expected at least 2 classes with examples \
             (`task: regression` predicts numbers)"
        );
        let nan = ArrayValues::Real(vec![0.0, 1.0, f32::NAN, 3.0]);
        let part = part((&[2, 2], nan), (&[2], ArrayValues::U8(vec![0, 1])));
        let names = part.target_names(path(), false).unwrap();
        assert_eq!(
            part.into_examples(path(), &names).unwrap_err().to_string(),
            "a.npz: `x` [1, 0] is NaN; expected a finite number of single precision"
        );
        let names = TargetNames::Classes(vec!["0".into(), "1".into()]);
        let other =
            self::part((&[1, 1], ArrayValues::U8(vec![0])), (&[1], ArrayValues::U8(vec![3])));
        assert_eq!(
            other.into_examples(path(), &names).unwrap_err().to_string(),
            "a.npz: `y` [0] is 3; expected one of 0, 1"
        );
    }
}
