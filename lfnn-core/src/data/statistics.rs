//! Mean and standard deviation of each channel: the constants with which inputs are normalised.

use crate::train::{Images, Labels, Normalization, Pixels};

impl Normalization {
    /// Mean and standard deviation (of the population) of each channel over these images, of the numbers that their
    /// elements stand for. A channel that does not vary has deviation 1, so that dividing by it is safe. `rows` are
    /// indices of images; none gives mean 0 and deviation 1.
    ///
    /// # Panics
    /// If one of the rows is no image, or the number of elements does not fit the shape.
    pub fn of(images: &Images<'_>, rows: &[u32]) -> Self {
        let [height, width, channels] = images.shape;
        let size = height * width * channels;
        let range = |row: u32| row as usize * size..(row as usize + 1) * size;
        let count = rows.len() * height * width;
        let (mean, std) = match images.pixels {
            Pixels::Bytes(bytes) => {
                of_bytes(rows.iter().map(|&row| &bytes[range(row)]), channels, count)
            }
            Pixels::Reals(reals) => {
                of_reals(|| rows.iter().map(|&row| &reals[range(row)]), channels, count)
            }
        };
        Self { mean, std }
    }

    /// Mean and standard deviation of each of the numbers to predict, `[examples, width]`, over these rows.
    ///
    /// # Panics
    /// If one of the rows is no example.
    pub fn of_values(values: &[f32], width: usize, rows: &[u32]) -> Self {
        let (pixels, labels) = (Pixels::Reals(values), Labels::Values(values));
        Self::of(&Images { pixels, labels, shape: [1, 1, width], classes: width }, rows)
    }
}

/// Sums are of whole numbers, so the result is exact up to the last rounding and depends on no order.
fn of_bytes<'a>(
    images: impl Iterator<Item = &'a [u8]>,
    channels: usize,
    count: usize,
) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![(0u128, 0u128); channels];
    for image in images {
        // One image fits 64 bits: 2³² positions of at most 255² each, 2¹⁶.
        let mut of_image = vec![(0u64, 0u64); channels];
        for pixel in image.chunks_exact(channels) {
            for ((sum, squares), &value) in of_image.iter_mut().zip(pixel) {
                *sum += u64::from(value);
                *squares += u64::from(value) * u64::from(value);
            }
        }
        for (total, image) in sums.iter_mut().zip(of_image) {
            *total = (total.0 + u128::from(image.0), total.1 + u128::from(image.1));
        }
    }
    let n = count.max(1) as u128;
    let mean = |&(sum, _): &(u128, u128)| (sum as f64 / n as f64 / 255.0) as f32;
    let std = |&(sum, squares): &(u128, u128)| match n * squares - sum * sum {
        0 => 1.0,
        // n²·variance is exact as a whole number; it is not below zero.
        scaled => ((scaled as f64).sqrt() / n as f64 / 255.0) as f32,
    };
    (sums.iter().map(mean).collect(), sums.iter().map(std).collect())
}

/// In double precision, in the order of the images: first the means, then the deviations from them.
fn of_reals<'a, I: Iterator<Item = &'a [f32]>>(
    images: impl Fn() -> I,
    channels: usize,
    count: usize,
) -> (Vec<f32>, Vec<f32>) {
    let n = count.max(1) as f64;
    let sums = |of: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        let mut sums = vec![0.0; channels];
        for pixel in images().flat_map(|image| image.chunks_exact(channels)) {
            for (channel, (sum, &value)) in sums.iter_mut().zip(pixel).enumerate() {
                *sum += of(channel, f64::from(value));
            }
        }
        sums
    };
    // Differences from the first value, so that a channel that does not vary has no rounding error: it would be divided
    // by it.
    let first: Vec<f64> =
        images().next().into_iter().flatten().take(channels).map(|&value| value.into()).collect();
    let offsets = sums(&|channel, value| value - first[channel]);
    let mean: Vec<f64> = first.iter().zip(&offsets).map(|(first, sum)| first + sum / n).collect();
    let squares = sums(&|channel, value| (value - mean[channel]).powi(2));
    // A deviation that single precision cannot divide by is none.
    let std = |sum: f64| Some((sum / n).sqrt() as f32).filter(|std| std.is_normal()).unwrap_or(1.0);
    (mean.iter().map(|&mean| mean as f32).collect(), squares.into_iter().map(std).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pixels: Pixels<'_>, shape: [usize; 3], rows: &[u32]) -> Normalization {
        let labels = Labels::Classes(&[0, 0, 0]);
        Normalization::of(&Images { pixels, labels, shape, classes: 2 }, rows)
    }

    #[test]
    fn bytes_stand_for_numbers_from_0_to_1_and_a_constant_channel_has_deviation_1() {
        // Channel 0 is 0 and 255 alternately; channel 1 is 51 everywhere but in the last image.
        let bytes = [0, 51, 255, 51, 0, 51, 255, 51, 9, 9, 9, 9];
        let found = of(Pixels::Bytes(&bytes), [1, 2, 2], &[0, 1]);
        assert_eq!(found, Normalization { mean: vec![0.5, 0.2], std: vec![0.5, 1.0] });
    }

    #[test]
    fn features_are_standardised_over_the_rows_asked_for() {
        let reals = [1.0, 7.0, 3.0, 7.0, 99.0, 0.0];
        let found = of(Pixels::Reals(&reals), [1, 1, 2], &[0, 1]);
        assert_eq!(found, Normalization { mean: vec![2.0, 7.0], std: vec![1.0, 1.0] });
    }

    #[test]
    fn a_constant_that_binary_numbers_only_approach_has_deviation_1() {
        let reals = vec![0.1; 1000];
        let rows: Vec<u32> = (0..1000).collect();
        let found = of(Pixels::Reals(&reals), [1, 1, 1], &rows);
        assert_eq!(found, Normalization { mean: vec![0.1], std: vec![1.0] });
    }

    #[test]
    fn the_positions_of_a_signal_are_values_of_its_channel() {
        let reals = [1.0, 3.0, 5.0, 7.0, 0.0, 0.0];
        let found = of(Pixels::Reals(&reals), [1, 2, 1], &[0, 1]);
        assert_eq!(found, Normalization { mean: vec![4.0], std: vec![5.0f32.sqrt()] });
    }
}
