//! Layer normalisation.

use lfnn_core::program::{LayerNorm, LayerNormGrad};

use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::rows::by_row;
use super::types::KernelFile;

const LAYER_NORM: KernelFile = KernelFile("layer_norm");

impl Lower for LayerNorm {
    fn lower(&self, to: &mut Lowering<'_>) {
        let runs = [to.len(self.inv_std), self.width];
        let (x, y) = (to.read(self.x), to.write(self.y));
        let arguments = arguments![x, y, to.address(self.inv_std), self.epsilon as f32];
        by_row(LAYER_NORM, "layer_norm", runs, arguments, to);
    }
}

impl Lower for LayerNormGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let runs = [to.len(self.inv_std), self.width];
        let (y, dy, dx) = (to.read(self.y), to.read(self.dy), to.write(self.dx));
        let arguments = arguments![y, to.address(self.inv_std), dy, dx];
        by_row(LAYER_NORM, "layer_norm_grad", runs, arguments, to);
    }
}
