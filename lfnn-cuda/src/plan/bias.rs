//! A bias for every channel, and its gradient.

use lfnn_core::program::{AddBias, BiasGrad};

use super::channels::ChannelLaunch;
use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::types::KernelFile;

const BIAS: KernelFile = KernelFile("bias");

impl Lower for AddBias {
    fn lower(&self, to: &mut Lowering<'_>) {
        let grid = ChannelLaunch::of(self.x, to);
        let arguments = arguments![to.read(self.x), to.address(self.bias), to.write(self.y)];
        grid.launch(BIAS, "add_bias", arguments, to);
    }
}

impl Lower for BiasGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let channels = to.tensors().channels(self.dy);
        let grid = ChannelLaunch::of(self.dy, to);
        let (dy, dbias) = (to.read(self.dy), to.address(self.dbias));
        if grid.chunks() == 1 {
            return grid.launch(BIAS, "sum_rows", arguments![dy, dbias], to);
        }
        let sums = to.scratch(grid.chunks() * channels * size_of::<f32>());
        grid.launch(BIAS, "sum_rows", arguments![dy, sums], to);
        grid.of_chunks().launch(BIAS, "sum_chunks", arguments![sums, dbias], to);
    }
}
