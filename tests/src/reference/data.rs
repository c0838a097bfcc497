//! Gathering a batch, with its random changes.

use super::Execute;
use super::store::{Store, at, indices};
use lfnn_core::program::{AdvanceClock, Augment, LoadImages, LoadLabels, LoadValues, clock};
use lfnn_core::random::below;

/// The example in row `row` of the batch; beyond the count, the last one.
fn example(order: &[u32], clock: &[u32], batch: usize, row: usize) -> u32 {
    let position = clock[clock::STEP] as usize * batch + row;
    order[position.min(clock[clock::COUNT] as usize - 1)]
}

/// Labels of the batch.
impl Execute for LoadLabels {
    fn execute(&self, s: &mut Store) {
        let batch = s.len(self.target);
        let (labels, order, clock) =
            (s.whole(self.labels), s.whole(self.order), s.whole(self.clock));
        let target =
            (0..batch).map(|row| labels[example(order, clock, batch, row) as usize]).collect();
        s.set_whole(self.target, target);
    }
}

/// Rows of a table for the batch.
impl Execute for LoadValues {
    fn execute(&self, s: &mut Store) {
        let [batch, n] = s.matrix(self.target);
        let (values, order, clock) =
            (s.real(self.values), s.whole(self.order), s.whole(self.clock));
        let row = |row: usize| &values[example(order, clock, batch, row) as usize * n..][..n];
        let target = (0..batch).flat_map(row).copied().collect();
        s.set_real(self.target, target);
    }
}

/// Images of the batch: moved, flipped, normalised, cut out.
impl Execute for LoadImages {
    fn execute(&self, s: &mut Store) {
        let image = s.image(self.x);
        let [batch, height, width, channels] = image;
        let (pixels, order, clock) =
            (s.bytes(self.pixels), s.whole(self.order), s.whole(self.clock));
        let (scale, shift) = (s.real(self.scale), s.real(self.shift));
        let images = pixels.len() / (height * width * channels);
        let x = indices(image)
            .map(|[row, y, x, c]| {
                let number = example(order, clock, batch, row);
                let change = Change::draw(self.augment, clock, number, height, width);
                if change.cuts(y, x) {
                    return 0.0;
                }
                let moved_column = if change.flip { width - 1 - x } else { x };
                let from_y = y as i64 + change.down;
                let from_x = moved_column as i64 + change.right;
                let inside =
                    (0..height as i64).contains(&from_y) && (0..width as i64).contains(&from_x);
                let pixel = if inside {
                    let from = [number as usize, from_y as usize, from_x as usize, c];
                    pixels[at([images, height, width, channels], from)]
                } else {
                    0
                };
                f64::from(pixel) / 255.0 * scale[c] + shift[c]
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
        clock: &[u32],
        number: u32,
        height: usize,
        width: usize,
    ) -> Self {
        let Some(augment) = augment else {
            return Self { down: 0, right: 0, flip: false, cutout: [0; 2], side: 0 };
        };
        let words =
            |step| augment.stream.block(clock::seed(clock), clock[clock::EPOCH], step, number);
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
impl Execute for AdvanceClock {
    fn execute(&self, s: &mut Store) {
        let mut clock = s.whole(self.clock).to_vec();
        clock[clock::STEP] += 1;
        clock[clock::TIME] += 1;
        s.set_whole(self.clock, clock);
    }
}
