//! Operations that move elements.

use super::store::{Store, at, indices};
use lfnn_core::program::{Concat, Flatten, Split, Unflatten};

/// Where element `[b, y, x, c]` of an image lies in the flattened, channels-first vector.
fn flattened([_, height, width, channels]: [usize; 4], [b, y, x, c]: [usize; 4]) -> usize {
    b * channels * height * width + (c * height + y) * width + x
}

/// `y[b, (c·height + y)·width + x] = x[b, y, x, c]`.
pub(super) fn flatten(op: &Flatten, s: &mut Store) {
    let image = s.image(op.x);
    let mut y = vec![0.0; s.len(op.y)];
    for index in indices(image) {
        y[flattened(image, index)] = s.real(op.x)[at(image, index)];
    }
    s.set_real(op.y, y);
}

/// `y[b, y, x, c] = x[b, (c·height + y)·width + x]`.
pub(super) fn unflatten(op: &Unflatten, s: &mut Store) {
    let image = s.image(op.y);
    let y = indices(image).map(|index| s.real(op.x)[flattened(image, index)]).collect();
    s.set_real(op.y, y);
}

/// Rows of the parts, one after another.
pub(super) fn concat(op: &Concat, s: &mut Store) {
    let mut y = Vec::with_capacity(s.len(op.y));
    for row in 0..s.tensors().rows(op.y) {
        for &input in &op.inputs {
            let channels = s.channels(input);
            y.extend_from_slice(&s.real(input)[row * channels..(row + 1) * channels]);
        }
    }
    s.set_real(op.y, y);
}

/// Rows of the whole, cut into parts.
pub(super) fn split(op: &Split, s: &mut Store) {
    let whole = s.channels(op.x);
    let mut start = 0;
    for &output in &op.outputs {
        let channels = s.channels(output);
        let part = s
            .real(op.x)
            .chunks(whole)
            .flat_map(|row| row[start..start + channels].to_vec())
            .collect();
        s.set_real(output, part);
        start += channels;
    }
}
