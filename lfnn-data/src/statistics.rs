//! Mean and standard deviation of each channel or feature, the constants with which examples are normalised.

use ndarray::{ArrayView2, ArrayView3, Axis};

use crate::{DataError, Examples, Inputs};

/// Per channel, in units of pixels from 0 to 1; or per feature, in the feature's units.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStatistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Standard deviation (of the population); 1 for a channel that is constant, so that dividing
    /// by it is safe.
    pub std: Vec<f32>,
}

/// Mean and standard deviation of each channel over the examples `indices`.
///
/// Sums of bytes are of whole numbers, so the result is exact up to the last rounding and depends on no
/// order. Sums of real numbers are in double precision.
///
/// # Errors
/// If `indices` is empty or one of them is no example.
pub fn channel_statistics(
    examples: &Examples,
    indices: &[u32],
) -> Result<ChannelStatistics, DataError> {
    check(indices, examples.len(), "image")?;
    let shape = examples.shape;
    match &examples.inputs {
        Inputs::Bytes(_) => Ok(statistics_of_bytes(examples, indices)),
        Inputs::Reals(reals) => {
            let parts = (examples.len(), shape.positions(), shape.channels);
            let parts = ArrayView3::from_shape(parts, reals).map_err(|_| inconsistent(examples))?;
            Ok(statistics_of_reals(parts, indices))
        }
    }
}

/// Mean and standard deviation of each feature over these rows of `[rows, features]`.
///
/// # Errors
/// If `rows` is empty or one of them is no row.
pub fn feature_statistics(
    features: ArrayView2<'_, f32>,
    rows: &[u32],
) -> Result<ChannelStatistics, DataError> {
    check(rows, features.nrows(), "row")?;
    Ok(statistics_of_reals(features.insert_axis(Axis(1)), rows))
}

fn inconsistent(examples: &Examples) -> DataError {
    DataError::Inconsistent {
        what: "number of values",
        found: examples.inputs.len() as u64,
        expected: format!("{} for each of {} examples", examples.shape.values(), examples.len()),
    }
}

/// That there are indices, and that each is one of `count` examples.
fn check(indices: &[u32], count: usize, example: &str) -> Result<(), DataError> {
    let (what, found, expected) = match indices.iter().find(|&&index| index as usize >= count) {
        Some(&index) => ("index of an example", index.into(), format!("less than {count}")),
        None if indices.is_empty() => {
            ("number of examples to normalise by", 0, format!("at least 1 {example}"))
        }
        None => return Ok(()),
    };
    Err(DataError::Inconsistent { what, found, expected })
}

fn statistics_of_bytes(images: &Examples, indices: &[u32]) -> ChannelStatistics {
    let channels = images.shape.channels;
    let mut sums = vec![(0u128, 0u128); channels];
    for &index in indices {
        // One image fits 64 bits: 2³² positions of at most 255² each, 2¹⁶.
        let mut of_image = vec![(0u64, 0u64); channels];
        for pixel in images.image(index as usize).chunks_exact(channels) {
            for ((sum, squares), &value) in of_image.iter_mut().zip(pixel) {
                *sum += u64::from(value);
                *squares += u64::from(value) * u64::from(value);
            }
        }
        for (total, image) in sums.iter_mut().zip(of_image) {
            *total = (total.0 + u128::from(image.0), total.1 + u128::from(image.1));
        }
    }
    let n = indices.len() as u128 * images.shape.positions() as u128;
    let mean = |&(sum, _): &(u128, u128)| (sum as f64 / n as f64 / 255.0) as f32;
    let std = |&(sum, squares): &(u128, u128)| match n * squares - sum * sum {
        0 => 1.0,
        // n²·variance is exact as a whole number; it is not below zero.
        scaled => ((scaled as f64).sqrt() / n as f64 / 255.0) as f32,
    };
    ChannelStatistics { mean: sums.iter().map(mean).collect(), std: sums.iter().map(std).collect() }
}

/// Of `[examples, positions, channels]`.
fn statistics_of_reals(examples: ArrayView3<'_, f32>, indices: &[u32]) -> ChannelStatistics {
    let count = (indices.len() * examples.len_of(Axis(1))) as f64;
    let statistics = |channel: ArrayView2<'_, f32>| {
        let values = || {
            let rows = indices.iter().flat_map(|&index| channel.row(index as usize).into_iter());
            rows.map(|&value| f64::from(value))
        };
        let mean = values().sum::<f64>() / count;
        let (low, high) = values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        // Of a constant such as 0.1 the mean, and so the deviation, has a rounding error.
        if low == high {
            return (low as f32, 1.0);
        }
        let std = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt() as f32;
        // A deviation that single precision cannot divide by is none.
        (mean as f32, if std.is_normal() { std } else { 1.0 })
    };
    let (mean, std) = examples.axis_iter(Axis(2)).map(statistics).unzip();
    ChannelStatistics { mean, std }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    fn images() -> Examples {
        let shape = ImageShape { height: 1, width: 2, channels: 2 };
        // Channel 0 is 0 and 255 alternately; channel 1 is 51 everywhere but in the last image.
        let pixels = vec![0, 51, 255, 51, 0, 51, 255, 51, 9, 9, 9, 9];
        Examples::images(shape, pixels, vec![0; 3]).unwrap()
    }

    #[test]
    fn statistics_are_of_the_images_asked_for_and_a_constant_channel_has_deviation_one() {
        let statistics = channel_statistics(&images(), &[0, 1]).unwrap();
        assert_eq!(statistics, ChannelStatistics { mean: vec![0.5, 0.2], std: vec![0.5, 1.0] });
    }

    #[test]
    fn features_of_rows_are_standardised_and_constant_ones_have_deviation_one() {
        let features = ndarray::array![[1.0, 7.0], [3.0, 7.0], [99.0, 0.0]];
        let statistics = feature_statistics(features.view(), &[0, 1]).unwrap();
        assert_eq!(statistics, ChannelStatistics { mean: vec![2.0, 7.0], std: vec![1.0, 1.0] });
        let message =
            |rows: &[u32]| feature_statistics(features.view(), rows).unwrap_err().to_string();
        assert_eq!(
            message(&[]),
            "number of examples to normalise by is 0; expected at least 1 row"
        );
        assert_eq!(message(&[3]), "index of an example is 3; expected less than 3");
    }

    #[test]
    fn channels_of_real_images_are_standardised_over_all_positions() {
        let shape = ImageShape { height: 2, width: 1, channels: 2 };
        let reals = vec![1.0, 0.1, 3.0, 0.1, 5.0, 0.1, 7.0, 0.1, 90.0, 90.0, 90.0, 90.0];
        let targets = crate::Targets::Classes(vec![0; 3]);
        let images = Examples::new(shape, Inputs::Reals(reals), targets).unwrap();
        let statistics = channel_statistics(&images, &[0, 1]).unwrap();
        // The mean of 1, 3, 5, 7 is 4, their variance 5; 0.1 has no exact sum.
        let expected = ChannelStatistics { mean: vec![4.0, 0.1], std: vec![5f32.sqrt(), 1.0] };
        assert_eq!(statistics, expected);
    }

    #[test]
    fn no_image_or_one_that_is_not_there_is_an_error() {
        let message =
            |indices: &[u32]| channel_statistics(&images(), indices).unwrap_err().to_string();
        assert_eq!(
            message(&[]),
            "number of examples to normalise by is 0; expected at least 1 image"
        );
        assert_eq!(message(&[0, 3]), "index of an example is 3; expected less than 3");
    }
}
