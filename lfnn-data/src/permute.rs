//! The pixel-permuted task: one fixed permutation of the positions for all images.

use lfnn_core::random::{Purpose, Stream, permutation};
use rayon::prelude::*;

use crate::{Examples, ImageShape, Inputs};

/// Moves the pixels of every image to other positions, the same ones in every image. The channels
/// of a pixel move together. The permutation depends on `seed` and on the number of positions
/// alone, so that training and test images agree.
pub fn permute_pixels(images: &mut Examples, seed: u64) {
    let shape = images.shape;
    // No image has 2³² positions (`Examples::new` refuses it); an empty one has nothing to permute.
    let positions = u32::try_from(shape.positions()).unwrap_or(0);
    if positions == 0 || shape.channels == 0 {
        return;
    }
    let order = pixel_permutation(positions, seed);
    match &mut images.inputs {
        Inputs::Bytes(bytes) => permute(bytes, shape, &order),
        Inputs::Reals(reals) => permute(reals, shape, &order),
    }
}

fn permute<T: Copy + Send>(pixels: &mut [T], shape: ImageShape, order: &[u32]) {
    pixels.par_chunks_exact_mut(shape.values()).for_each_init(Vec::new, |old, image| {
        old.clear();
        old.extend_from_slice(image);
        for (pixel, &from) in image.chunks_exact_mut(shape.channels).zip(order) {
            let from = from as usize * shape.channels;
            pixel.copy_from_slice(&old[from..from + shape.channels]);
        }
    });
}

/// The permutation of [`permute_pixels`] for images of this many positions: where the pixel of each
/// position comes from.
pub fn pixel_permutation(positions: u32, seed: u64) -> Vec<u32> {
    permutation(Stream::new(Purpose::PixelPermutation, 0), seed, 0, positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    fn images(count: usize) -> Examples {
        let shape = ImageShape { height: 3, width: 4, channels: 2 };
        // Both channels of a position tell it: the second is the first plus 100.
        let image = (0..12u8).flat_map(|position| [position, position + 100]);
        let pixels = std::iter::repeat_n(image, count).flatten().collect();
        Examples::images(shape, pixels, vec![0; count]).unwrap()
    }

    #[test]
    fn all_images_are_permuted_alike_and_channels_move_together() {
        let (mut train, mut test) = (images(3), images(1));
        permute_pixels(&mut train, 5);
        permute_pixels(&mut test, 5);
        assert_ne!(train, images(3));
        for index in 0..3 {
            assert_eq!(train.image(index), test.image(0));
        }
        let mut positions: Vec<u8> = test.bytes().chunks(2).map(|pixel| pixel[0]).collect();
        assert!(test.bytes().chunks(2).all(|pixel| pixel[1] == pixel[0] + 100));
        positions.sort_unstable();
        assert_eq!(positions, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn another_seed_gives_another_permutation() {
        let (mut one, mut two) = (images(1), images(1));
        permute_pixels(&mut one, 1);
        permute_pixels(&mut two, 2);
        assert_ne!(one, two);
    }
}
