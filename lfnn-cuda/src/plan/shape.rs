//! Operations that move elements.

use lfnn_core::program::{Concat, Flatten, Split, TensorId, Unflatten};

use super::Place;
use super::launch::arguments;
use super::lower::Lowering;
use crate::kernels::SHAPE;

/// Side of the kernel's tiles.
const TILE: usize = 32;

/// From pixels by channels to channels by pixels.
pub(super) fn flatten(op: &Flatten, to: &mut Lowering<'_>) {
    let [batch, height, width, channels] = to.image(op.x);
    transpose(op.x, op.y, [batch, height * width, channels], to);
}

/// And back.
pub(super) fn unflatten(op: &Unflatten, to: &mut Lowering<'_>) {
    let [batch, height, width, channels] = to.image(op.y);
    transpose(op.x, op.y, [batch, channels, height * width], to);
}

fn transpose(x: TensorId, y: TensorId, [stack, rows, columns]: [usize; 3], to: &mut Lowering<'_>) {
    let tiles = |extent: usize| extent.div_ceil(TILE).max(1) as u32;
    let grid = [tiles(columns), tiles(rows), stack.clamp(1, 65_535) as u32];
    let arguments = arguments![to.read(x), to.write(y), rows, columns, stack];
    to.launch(SHAPE.launch("transpose", to.real(), grid, [TILE as u32, 8, 1], arguments));
}

pub(super) fn concat(op: &Concat, to: &mut Lowering<'_>) {
    let whole = to.tensors().channels(op.y);
    let y = to.write(op.y);
    let mut first = 0;
    for &input in &op.inputs {
        let channels = to.tensors().channels(input);
        let x = to.read(input);
        copy(to, input, (x, 0, channels), (y, first, whole));
        first += channels;
    }
}

pub(super) fn split(op: &Split, to: &mut Lowering<'_>) {
    let whole = to.tensors().channels(op.x);
    let x = to.read(op.x);
    let mut first = 0;
    for &output in &op.outputs {
        let channels = to.tensors().channels(output);
        let y = to.write(output);
        copy(to, output, (x, first, whole), (y, 0, channels));
        first += channels;
    }
}

/// Copies the columns of a part, from and to a first column among all.
fn copy(
    to: &mut Lowering<'_>,
    part: TensorId,
    (x, x_first, x_channels): (Place, usize, usize),
    (y, y_first, y_channels): (Place, usize, usize),
) {
    let (rows, columns) = (to.tensors().rows(part), to.tensors().channels(part));
    let arguments = arguments![x, y, rows, columns, x_first, x_channels, y_first, y_channels];
    to.launch(SHAPE.over("copy_columns", to.real(), rows * columns, arguments));
}
