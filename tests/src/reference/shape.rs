//! Operations that move elements.

use super::Execute;
use super::store::{Store, at, indices};
use lfnn_core::program::{Concat, Split, SwapAxes};

/// `y[stack, c, r, k] = x[stack, r, c, k]`.
impl Execute for SwapAxes {
    fn execute(&self, s: &mut Store) {
        let Self { rows, columns, run, .. } = *self;
        let stack = s.len(self.x) / (rows * columns * run);
        let y = indices([stack, columns, rows, run])
            .map(|[i, c, r, k]| s.real(self.x)[at([stack, rows, columns, run], [i, r, c, k])])
            .collect();
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
