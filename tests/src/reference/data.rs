//! Gathering a batch, with its random changes.

use super::Execute;
use super::store::{Buffer, Store, at, indices};
use lfnn_core::program::{
    AdvanceStepCounter, Augment, LoadImages, LoadLabels, LoadValues, step_counter,
};
use lfnn_core::random::below;

/// The example in row `row` of the batch; beyond the count, the last one.
fn example(order: &[u32], counter: &[u32], batch: usize, row: usize) -> u32 {
    let position = counter[step_counter::STEP] as usize * batch + row;
    order[position.min(counter[step_counter::COUNT] as usize - 1)]
}

/// Labels of the batch.
impl Execute for LoadLabels {
    fn execute(&self, s: &mut Store) {
        let batch = s.len(self.target);
        let (labels, order, counter) =
            (s.whole(self.labels), s.whole(self.order), s.whole(self.counter));
        let target =
            (0..batch).map(|row| labels[example(order, counter, batch, row) as usize]).collect();
        s.set_whole(self.target, target);
    }
}

/// Rows of a table for the batch.
impl Execute for LoadValues {
    fn execute(&self, s: &mut Store) {
        let [batch, n] = s.matrix(self.target);
        let (values, order, counter) =
            (s.real(self.values), s.whole(self.order), s.whole(self.counter));
        let row = |row: usize| &values[example(order, counter, batch, row) as usize * n..][..n];
        let target = (0..batch).flat_map(row).copied().collect();
        s.set_real(self.target, target);
    }
}

/// Images of the batch: moved, flipped, normalised, cut out.
impl Execute for LoadImages {
    fn execute(&self, s: &mut Store) {
        let image = s.image(self.x);
        let [batch, height, width, channels] = image;
        let (order, counter) = (s.whole(self.order), s.whole(self.counter));
        let (scale, shift) = (s.real(self.scale), s.real(self.shift));
        let stored = |at: usize| match s.buffer(self.pixels) {
            Buffer::Bytes(pixels) => f64::from(pixels[at]) / 255.0,
            _ => s.real(self.pixels)[at],
        };
        let images = s.len(self.pixels) / (height * width * channels);
        let x = indices(image)
            .map(|[row, y, x, c]| {
                let number = example(order, counter, batch, row);
                let change = Change::draw(self.augment, counter, number, height, width);
                if change.cuts(y, x) {
                    return 0.0;
                }
                let moved_column = if change.flip { width - 1 - x } else { x };
                let from_y = y as i64 + change.down;
                let from_x = moved_column as i64 + change.right;
                let inside =
                    (0..height as i64).contains(&from_y) && (0..width as i64).contains(&from_x);
                let value = if inside {
                    let from = [number as usize, from_y as usize, from_x as usize, c];
                    stored(at([images, height, width, channels], from))
                } else {
                    0.0
                };
                value * scale[c] + shift[c]
            })
            .collect();
        s.set_real(self.x, x);
    }
}

/// What happens to one image in one epoch.
struct Change {
    down: i64,
    right: i64,
    flip: bool,
    /// Rows and columns `start .. start + side` of the square that is cut out.
    cutout: [i64; 2],
    side: i64,
}

impl Change {
    fn draw(
        augment: Option<Augment>,
        counter: &[u32],
        number: u32,
        height: usize,
        width: usize,
    ) -> Self {
        let Some(augment) = augment else {
            return Self { down: 0, right: 0, flip: false, cutout: [0; 2], side: 0 };
        };
        let words = |step| {
            augment.stream.block(
                step_counter::seed(counter),
                counter[step_counter::EPOCH],
                step,
                number,
            )
        };
        let (crop, cut) = (words(0), words(1));
        let padding = augment.padding as i64;
        let offset = |word| i64::from(below(word, 2 * augment.padding as u32 + 1)) - padding;
        let side = augment.cutout as i64;
        let start = |word, extent: usize| i64::from(below(word, extent as u32)) - side / 2;
        Self {
            down: offset(crop[0]),
            right: offset(crop[1]),
            flip: augment.flip && crop[2] >> 31 == 1,
            cutout: [start(cut[0], height), start(cut[1], width)],
            side,
        }
    }

    fn cuts(&self, y: usize, x: usize) -> bool {
        let within =
            |position: usize, start: i64| (start..start + self.side).contains(&(position as i64));
        within(y, self.cutout[0]) && within(x, self.cutout[1])
    }
}

/// The next batch.
impl Execute for AdvanceStepCounter {
    fn execute(&self, s: &mut Store) {
        let mut counter = s.whole(self.counter).to_vec();
        counter[step_counter::STEP] += 1;
        counter[step_counter::TIME] += 1;
        s.set_whole(self.counter, counter);
    }
}
