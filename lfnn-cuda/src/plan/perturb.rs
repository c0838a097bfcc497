//! Normal variates and inner products.

use lfnn_core::program::{Gaussian, InnerProduct};

use super::launch::{THREADS, arguments};
use super::lower::{Lowering, optional};
use crate::kernels::PERTURB;

pub(super) fn gaussian(op: &Gaussian, to: &mut Lowering<'_>) {
    let n = to.len(op.y);
    let rows = op.factor.map_or(1, |factor| to.len(factor));
    let y = to.write(op.y);
    let row_size = n.checked_div(rows).unwrap_or(0).max(1);
    let arguments =
        arguments![to.place(op.clock), optional(op.factor), y, n, row_size, op.stream.word(),];
    to.launch(PERTURB.over("gaussian", to.real(), n.div_ceil(4), arguments));
}

/// Elements of a row that a block has before another block is worth a second launch.
const CHUNK: usize = 1 << 14;
/// Blocks of a row, at most.
const BLOCKS: usize = 256;

pub(super) fn inner_product(op: &InnerProduct, to: &mut Lowering<'_>) {
    let rows = to.len(op.y);
    let row_size = to.len(op.a).checked_div(rows).unwrap_or(0);
    let blocks = row_size.div_ceil(CHUNK).clamp(1, BLOCKS);
    let parts = to.scratch(if blocks > 1 { blocks * rows * size_of::<f64>() } else { 0 });
    let (a, b, y) = (to.read(op.a), to.read(op.b), to.place(op.y));
    let grid = [blocks as u32, rows.clamp(1, 65_535) as u32, 1];
    let arguments = arguments![a, b, y, parts, rows, row_size];
    to.launch(PERTURB.launch("inner_product", to.real(), grid, [THREADS, 1, 1], arguments));
    if blocks > 1 {
        let arguments = arguments![parts, y, blocks, rows];
        to.launch(PERTURB.over("join_products", to.real(), rows, arguments));
    }
}
