//! Operations that move elements.

use super::Execute;
use super::store::{Store, at, indices};
use lfnn_core::program::{Concat, Flatten, Split, Unflatten};

/// Where element `[b, y, x, c]` of an image lies in the flattened, channels-first vector.
fn flattened([_, height, width, channels]: [usize; 4], [b, y, x, c]: [usize; 4]) -> usize {
    b * channels * height * width + (c * height + y) * width + x
}

/// `y[b, (c·height + y)·width + x] = x[b, y, x, c]`.
impl Execute for Flatten {
    fn execute(&self, s: &mut Store) {
        let image = s.image(self.x);
        let mut y = vec![0.0; s.len(self.y)];
        for index in indices(image) {
            y[flattened(image, index)] = s.real(self.x)[at(image, index)];
        }
        s.set_real(self.y, y);
    }
}

/// `y[b, y, x, c] = x[b, (c·height + y)·width + x]`.
impl Execute for Unflatten {
    fn execute(&self, s: &mut Store) {
        let image = s.image(self.y);
        let y = indices(image).map(|index| s.real(self.x)[flattened(image, index)]).collect();
        s.set_real(self.y, y);
    }
}

/// Rows of the parts, one after another.
impl Execute for Concat {
    fn execute(&self, s: &mut Store) {
        let mut y = Vec::with_capacity(s.len(self.y));
        for row in 0..s.tensors().rows(self.y) {
            for &input in &self.inputs {
                let channels = s.channels(input);
                y.extend_from_slice(&s.real(input)[row * channels..(row + 1) * channels]);
            }
        }
        s.set_real(self.y, y);
    }
}

/// Rows of the whole, cut into parts.
impl Execute for Split {
    fn execute(&self, s: &mut Store) {
        let whole = s.channels(self.x);
        let mut start = 0;
        for &output in &self.outputs {
            let channels = s.channels(output);
            let part = s
                .real(self.x)
                .chunks(whole)
                .flat_map(|row| row[start..start + channels].to_vec())
                .collect();
            s.set_real(output, part);
            start += channels;
        }
    }
}
