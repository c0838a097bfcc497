//! A bias for every channel, and the gradients of a bias and of a factor.

use lfnn_core::program::{AddBias, BiasGrad, ScaleGrad, TensorId};

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
        sum_rows(self.dy, None, self.dbias, to);
    }
}

impl Lower for ScaleGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        sum_rows(self.dy, Some(self.x), self.dscale, to);
    }
}

/// Sums over the rows of x, or of its products with a tensor of its shape.
fn sum_rows(x: TensorId, factor: Option<TensorId>, sum: TensorId, to: &mut Lowering<'_>) {
    let channels = to.tensors().channels(x);
    let grid = ChannelLaunch::of(x, to);
    let factor = factor.map(|id| to.read(id));
    let (x, sum) = (to.read(x), to.address(sum));
    if grid.chunks() == 1 {
        return grid.launch(BIAS, "sum_rows", arguments![x, factor, sum], to);
    }
    let sums = to.scratch(grid.chunks() * channels * size_of::<f32>());
    grid.launch(BIAS, "sum_rows", arguments![x, factor, sums], to);
    grid.of_chunks().launch(BIAS, "sum_chunks", arguments![sums, sum], to);
}
