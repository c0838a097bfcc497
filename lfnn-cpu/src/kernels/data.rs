//! The batch: images out of the data set, changed and normalised, and their labels.

use lfnn_core::program::{Augment, DType, step_counter};
use lfnn_core::random::below;
use rayon::prelude::*;

use crate::memory::{Element, Input, Output};
use crate::simd::vectorized;
use crate::work::{Kernel, Workspace, items_per_chunk, kernel};

/// Which example row `row` of the batch is.
fn example(order: &[u32], now: &[u32], batch: usize, row: usize) -> u32 {
    let last = (now[step_counter::COUNT] as usize).clamp(1, order.len()) - 1;
    order[(now[step_counter::STEP] as usize * batch + row).min(last)]
}

/// How one image is changed.
struct Change {
    /// Rows and columns by which it is moved.
    offset: [isize; 2],
    flip: bool,
    /// First and last rows and columns that are cut out: half-open.
    cut: Option<[std::ops::Range<usize>; 2]>,
}

impl Change {
    const NONE: Self = Self { offset: [0, 0], flip: false, cut: None };

    fn draw(augment: &Augment, seed: u64, epoch: u32, image: u32, size: [usize; 2]) -> Self {
        let words = augment.stream.block(seed, epoch, 0, image);
        let offset = |word: u32| {
            below(word, 2 * augment.padding as u32 + 1) as isize - augment.padding as isize
        };
        let cut = (augment.cutout > 0).then(|| {
            let words = augment.stream.block(seed, epoch, 1, image);
            let range = |axis: usize| {
                let centre = below(words[axis], size[axis] as u32) as usize;
                let end = (centre + augment.cutout).saturating_sub(augment.cutout / 2);
                centre.saturating_sub(augment.cutout / 2)..end.min(size[axis])
            };
            [range(0), range(1)]
        });
        Self {
            offset: [offset(words[0]), offset(words[1])],
            flip: augment.flip && words[2] >> 31 == 1,
            cut,
        }
    }
}

/// An element of a stored data set.
trait Stored: Element + Sync {
    /// The number that it stands for.
    fn value(self) -> f32;
}

impl Stored for u8 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from(self) / 255.0
    }
}

impl Stored for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

vectorized! {
    /// `value · scale + shift`, for channels after one another.
    fn normalize<T: Stored>(pixels: &[T], scale: &[f32], shift: &[f32], to: &mut [f32]) {
        if let ([scale], [shift]) = (scale, shift) {
            for (to, &pixel) in to.iter_mut().zip(pixels) {
                *to = pixel.value() * scale + shift;
            }
            return;
        }
        let channels = scale.len();
        for (to, pixel) in to.chunks_exact_mut(channels).zip(pixels.chunks_exact(channels)) {
            for c in 0..channels {
                to[c] = pixel[c].value() * scale[c] + shift[c];
            }
        }
    }
}

/// Pixels of value 0.
fn blacken(shift: &[f32], to: &mut [f32]) {
    for to in to.chunks_exact_mut(shift.len()) {
        to.copy_from_slice(shift);
    }
}

/// One image: normalised, and changed.
fn load<T: Stored>(
    pixels: &[T],
    [height, width]: [usize; 2],
    scale: &[f32],
    shift: &[f32],
    change: &Change,
    to: &mut [f32],
) {
    let channels = scale.len();
    let [down, right] = change.offset;
    // Columns of the result, before it is mirrored, that see a pixel.
    let first = right.min(0).unsigned_abs().min(width);
    let end = width.saturating_sub(right.max(0).unsigned_abs()).max(first);
    for (y, row) in to.chunks_exact_mut(width * channels).enumerate() {
        match y.checked_add_signed(down).filter(|&y| y < height) {
            // A move by the whole width leaves nothing.
            Some(y) if first < end => {
                let (left, rest) = row.split_at_mut(first * channels);
                let (seen, rest) = rest.split_at_mut((end - first) * channels);
                blacken(shift, left);
                blacken(shift, rest);
                let from = y * width + first.saturating_add_signed(right);
                normalize(&pixels[from * channels..][..seen.len()], scale, shift, seen);
                if change.flip {
                    mirror(row, channels);
                }
            }
            _ => blacken(shift, row),
        }
        if let Some([rows, columns]) = &change.cut
            && rows.contains(&y)
        {
            row[columns.start * channels..columns.end * channels].fill(0.0);
        }
    }
}

/// Turns the order of a row's pixels around.
fn mirror(row: &mut [f32], channels: usize) {
    let width = row.len() / channels;
    let (left, right) = row.split_at_mut(width.div_ceil(2) * channels);
    let pairs = left.chunks_exact_mut(channels).zip(right.chunks_exact_mut(channels).rev());
    for (left, right) in pairs {
        left.swap_with_slice(right);
    }
}

/// The stored data set.
enum Pixels {
    Bytes(Input<u8>),
    Reals(Input<f32>),
}

kernel! {
    LoadImages {
        order: Input<u32>,
        counter: Input<u32>,
        scale: Input<f32>,
        shift: Input<f32>,
        x: Output<f32>,
    }
    with |op, bind| {
        pixels: Pixels = match bind.tensor(op.pixels).dtype {
            DType::U8 => Pixels::Bytes(bind.read(op.pixels)),
            _ => Pixels::Reals(bind.read(op.pixels)),
        },
        augment: Option<Augment> = op.augment,
        /// Batch, height, width.
        extents: [usize; 3] = std::array::from_fn(|axis| bind.tensor(op.x).shape[axis]),
    }
}

impl Kernel for LoadImages {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (augment, [batch, height, width]) = (self.augment, self.extents);
        let size = [height, width];
        let (pixels, order, now) = (&self.pixels, self.order.get(), self.counter.get());
        let (scale, shift) = (self.scale.get(), self.shift.get());
        let len = size[0] * size[1] * scale.len();
        if len == 0 {
            return;
        }
        let images = items_per_chunk(len);
        self.x.get().par_chunks_mut(images * len).enumerate().for_each(|(chunk, x)| {
            for (i, x) in x.chunks_exact_mut(len).enumerate() {
                let image = example(order, now, batch, chunk * images + i);
                let change = augment.map_or(Change::NONE, |augment| {
                    Change::draw(
                        &augment,
                        step_counter::seed(now),
                        now[step_counter::EPOCH],
                        image,
                        size,
                    )
                });
                let own = image as usize * len..(image as usize + 1) * len;
                match pixels {
                    Pixels::Bytes(from) => load(&from.get()[own], size, scale, shift, &change, x),
                    Pixels::Reals(from) => load(&from.get()[own], size, scale, shift, &change, x),
                }
            }
        });
    }
}

kernel! {
    LoadLabels { labels: Input<u32>, order: Input<u32>, counter: Input<u32>, target: Output<u32> }
}

impl Kernel for LoadLabels {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (labels, order, now) = (self.labels.get(), self.order.get(), self.counter.get());
        let target = self.target.get();
        let batch = target.len();
        for (row, target) in target.iter_mut().enumerate() {
            *target = labels[example(order, now, batch, row) as usize];
        }
    }
}

kernel! {
    LoadValues { values: Input<f32>, order: Input<u32>, counter: Input<u32>, target: Output<f32> }
    with |op, bind| { len: usize = bind.tensors().channels(op.target) }
}

impl Kernel for LoadValues {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (values, order, now) = (self.values.get(), self.order.get(), self.counter.get());
        let target = self.target.get();
        let batch = target.len() / self.len;
        for (row, target) in target.chunks_exact_mut(self.len).enumerate() {
            let from = example(order, now, batch, row) as usize * self.len;
            target.copy_from_slice(&values[from..][..self.len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_and_flipped_image_comes_in_with_black_borders() {
        let pixels = [0u8, 51, 102, 153, 204, 255];
        let mut x = [9.0; 6];
        load(&pixels, [2, 3], &[1.0], &[0.0], &Change::NONE, &mut x);
        assert_eq!(x, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        let change = Change { offset: [1, -1], flip: true, cut: None };
        load(&pixels, [2, 3], &[1.0], &[-0.5], &change, &mut x);
        assert_eq!(x[3..], [-0.5; 3]);
        assert!((x[0] - 0.3).abs() < 1e-6 && (x[1] - 0.1).abs() < 1e-6 && x[2] == -0.5);
        let change = Change { cut: Some([0..1, 1..3]), ..Change::NONE };
        load(&pixels, [2, 3], &[1.0], &[1.0], &change, &mut x);
        assert_eq!(x, [1.0, 0.0, 0.0, 1.6, 1.8, 2.0]);
        load(&[-3.0f32, 0.5], [1, 1], &[2.0, 4.0], &[1.0, 0.0], &Change::NONE, &mut x[..2]);
        assert_eq!(x[..2], [-5.0, 2.0]);
    }

    #[test]
    fn rows_beyond_the_count_repeat_the_last_example() {
        let order = [5, 6, 7, 8];
        let mut now = [0; step_counter::LEN];
        now[step_counter::COUNT] = 3;
        now[step_counter::STEP] = 1;
        let rows: Vec<u32> = (0..2).map(|row| example(&order, &now, 2, row)).collect();
        assert_eq!(rows, [7, 7]);
    }
}
