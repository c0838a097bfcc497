//! Normal variates and inner products.

use lfnn_core::program::{Gaussian, Grain, InnerProduct};

use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::types::KernelFile;

const PERTURB: KernelFile = KernelFile("perturb");

impl Lower for Gaussian {
    fn lower(&self, to: &mut Lowering<'_>) {
        let n = to.len(self.y);
        let Grain { groups, run, repeat } = Grain::of(to.tensors(), self.y, self.factor);
        let y = to.write(self.y);
        let arguments = arguments![
            to.address(self.counter),
            to.optional(self.factor),
            y,
            n,
            groups,
            run.max(1),
            repeat,
            self.stream.word(),
        ];
        to.launch_1d(PERTURB, "gaussian", n.div_ceil(4), arguments);
    }
}

/// Elements of a part that a block has before another block is worth a second launch.
const CHUNK: usize = 1 << 14;
/// Blocks of a part, at most.
const BLOCKS: usize = 256;
/// Elements of a part up to which a warp is enough for it.
const SMALL: usize = 1 << 10;

impl Lower for InnerProduct {
    fn lower(&self, to: &mut Lowering<'_>) {
        let count = to.len(self.y);
        let Grain { groups, run, repeat } = Grain::of(to.tensors(), self.a, Some(self.y));
        let len = run * repeat;
        let blocks = len.div_ceil(CHUNK).clamp(1, BLOCKS);
        let parts = to.scratch(if blocks > 1 { blocks * count * size_of::<f64>() } else { 0 });
        let (a, b, y) = (to.read(self.a), to.read(self.b), to.address(self.y));
        let grid = [blocks as u32, count.clamp(1, 65_535) as u32, 1];
        let threads = if len > SMALL { THREADS } else { 32 };
        let scale = self.scale as f32;
        let arguments = arguments![a, b, y, parts, count, groups, run.max(1), repeat, scale];
        to.launch(PERTURB, "inner_product", grid, [threads, 1, 1], arguments);
        if blocks > 1 {
            let arguments = arguments![parts, y, blocks, count, scale];
            to.launch_1d(PERTURB, "reduce_products", count, arguments);
        }
    }
}
