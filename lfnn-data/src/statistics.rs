//! Mean and standard deviation of each channel or feature, the constants with which examples are normalised.

use ndarray::ArrayView2;

use crate::{DataError, Images};

/// Per channel, in units of pixels from 0 to 1; or per feature, in the feature's units.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStatistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Standard deviation (of the population); 1 for a channel that is constant, so that dividing
    /// by it is safe.
    pub std: Vec<f32>,
}

/// Mean and standard deviation of each channel over the images `indices`.
///
/// Sums are of whole numbers, so the result is exact up to the last rounding and depends on no
/// order.
///
/// # Errors
/// If `indices` is empty or one of them is no image.
pub fn channel_statistics(
    images: &Images,
    indices: &[u32],
) -> Result<ChannelStatistics, DataError> {
    let channels = images.shape.channels;
    let mut sums = vec![(0u128, 0u128); channels];
    for &index in indices {
        if index as usize >= images.len() {
            return Err(DataError::Inconsistent {
                what: "index of an image",
                found: index.into(),
                expected: format!("less than {}", images.len()),
            });
        }
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
    if n == 0 {
        return Err(DataError::Inconsistent {
            what: "number of images to normalise by",
            found: indices.len() as u64,
            expected: "at least 1".to_owned(),
        });
    }
    let mean = |&(sum, _): &(u128, u128)| (sum as f64 / n as f64 / 255.0) as f32;
    let std = |&(sum, squares): &(u128, u128)| match n * squares - sum * sum {
        0 => 1.0,
        // n²·variance is exact as a whole number; it is not below zero.
        scaled => ((scaled as f64).sqrt() / n as f64 / 255.0) as f32,
    };
    Ok(ChannelStatistics {
        mean: sums.iter().map(mean).collect(),
        std: sums.iter().map(std).collect(),
    })
}

/// Mean and standard deviation of each feature over these rows of `[rows, features]`.
///
/// # Errors
/// If `rows` is empty or one of them is no row.
pub fn feature_statistics(
    features: ArrayView2<'_, f32>,
    rows: &[u32],
) -> Result<ChannelStatistics, DataError> {
    if rows.is_empty() {
        return Err(DataError::Inconsistent {
            what: "number of rows to normalise by",
            found: 0,
            expected: "at least 1".to_owned(),
        });
    }
    if let Some(&row) = rows.iter().find(|&&row| row as usize >= features.nrows()) {
        return Err(DataError::Inconsistent {
            what: "index of a row",
            found: row.into(),
            expected: format!("less than {}", features.nrows()),
        });
    }
    let count = rows.len() as f64;
    let (mut mean, mut std) = (Vec::new(), Vec::new());
    for feature in features.columns() {
        let values = || rows.iter().map(|&row| f64::from(feature[row as usize]));
        let center = values().sum::<f64>() / count;
        let deviation =
            (values().map(|value| (value - center).powi(2)).sum::<f64>() / count).sqrt();
        mean.push(center as f32);
        // A deviation that single precision cannot divide by is none.
        std.push(if (deviation as f32).is_normal() { deviation as f32 } else { 1.0 });
    }
    Ok(ChannelStatistics { mean, std })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    fn images() -> Images {
        let shape = ImageShape { height: 1, width: 2, channels: 2 };
        // Channel 0 is 0 and 255 alternately; channel 1 is 51 everywhere but in the last image.
        let pixels = vec![0, 51, 255, 51, 0, 51, 255, 51, 9, 9, 9, 9];
        Images::new(shape, pixels, vec![0; 3]).unwrap()
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
        assert_eq!(message(&[]), "number of rows to normalise by is 0; expected at least 1");
        assert_eq!(message(&[3]), "index of a row is 3; expected less than 3");
    }

    #[test]
    fn no_image_or_one_that_is_not_there_is_an_error() {
        let message =
            |indices: &[u32]| channel_statistics(&images(), indices).unwrap_err().to_string();
        assert_eq!(message(&[]), "number of images to normalise by is 0; expected at least 1");
        assert_eq!(message(&[0, 3]), "index of an image is 3; expected less than 3");
    }
}
