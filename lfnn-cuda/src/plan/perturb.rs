//! Normal variates and inner products.

use lfnn_core::program::{Gaussian, InnerProduct};

use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::types::KernelFile;

const PERTURB: KernelFile = KernelFile("perturb");

impl Lower for Gaussian {
    fn lower(&self, to: &mut Lowering<'_>) {
        let n = to.len(self.y);
        let rows = self.factor.map_or(1, |factor| to.len(factor));
        let y = to.write(self.y);
        let row_size = n.checked_div(rows).unwrap_or(0).max(1);
        let arguments = arguments![
            to.address(self.counter),
            to.optional(self.factor),
            y,
            n,
            row_size,
            self.stream.word(),
        ];
        to.launch_1d(PERTURB, "gaussian", n.div_ceil(4), arguments);
    }
}

/// Elements of a row that a block has before another block is worth a second launch.
const CHUNK: usize = 1 << 14;
/// Blocks of a row, at most.
const BLOCKS: usize = 256;

impl Lower for InnerProduct {
    fn lower(&self, to: &mut Lowering<'_>) {
        let rows = to.len(self.y);
        let row_size = to.len(self.a).checked_div(rows).unwrap_or(0);
        let blocks = row_size.div_ceil(CHUNK).clamp(1, BLOCKS);
        let parts = to.scratch(if blocks > 1 { blocks * rows * size_of::<f64>() } else { 0 });
        let (a, b, y) = (to.read(self.a), to.read(self.b), to.address(self.y));
        let grid = [blocks as u32, rows.clamp(1, 65_535) as u32, 1];
        let arguments = arguments![a, b, y, parts, rows, row_size];
        to.launch(PERTURB, "inner_product", grid, [THREADS, 1, 1], arguments);
        if blocks > 1 {
            let arguments = arguments![parts, y, blocks, rows];
            to.launch_1d(PERTURB, "reduce_products", rows, arguments);
        }
    }
}
