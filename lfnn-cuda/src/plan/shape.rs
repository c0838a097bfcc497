//! Operations that move elements.

use lfnn_core::program::{Concat, Split, SwapAxes, TensorId};

use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::{Address, KernelFile};

const SHAPE: KernelFile = KernelFile("shape");

shared_with_kernels! {
    constants {
        /// Side of the tiles of a transposition.
        const TILE: usize = 32;
    }
}

impl Lower for SwapAxes {
    fn lower(&self, to: &mut Lowering<'_>) {
        let Self { rows, columns, run, .. } = *self;
        let (x, y) = (to.read(self.x), to.write(self.y));
        if run > 1 {
            let n = to.len(self.x);
            let arguments = arguments![x, y, n, rows, columns, run];
            return to.launch_1d(SHAPE, "swap_axes", n, arguments);
        }
        let stack = to.len(self.x).checked_div(rows * columns).unwrap_or(0);
        let tiles = |extent: usize| extent.div_ceil(TILE).max(1) as u32;
        let grid = [tiles(columns), tiles(rows), stack.clamp(1, 65_535) as u32];
        let arguments = arguments![x, y, rows, columns, stack];
        to.launch(SHAPE, "transpose", grid, [TILE as u32, 8, 1], arguments);
    }
}

impl Lower for Concat {
    fn lower(&self, to: &mut Lowering<'_>) {
        let whole = to.tensors().channels(self.y);
        let y = to.write(self.y);
        let mut first = 0;
        for &input in &self.inputs {
            let channels = to.tensors().channels(input);
            let x = to.read(input);
            copy(to, input, (x, 0, channels), (y, first, whole));
            first += channels;
        }
    }
}

impl Lower for Split {
    fn lower(&self, to: &mut Lowering<'_>) {
        let whole = to.tensors().channels(self.x);
        let x = to.read(self.x);
        let mut first = 0;
        for &output in &self.outputs {
            let channels = to.tensors().channels(output);
            let y = to.write(output);
            copy(to, output, (x, first, whole), (y, 0, channels));
            first += channels;
        }
    }
}

/// Copies the columns of a part, from and to a first column among all.
fn copy(
    to: &mut Lowering<'_>,
    part: TensorId,
    (x, x_first, x_channels): (Address, usize, usize),
    (y, y_first, y_channels): (Address, usize, usize),
) {
    let (rows, columns) = (to.tensors().rows(part), to.tensors().channels(part));
    let arguments = arguments![x, y, rows, columns, x_first, x_channels, y_first, y_channels];
    to.launch_1d(SHAPE, "copy_columns", rows * columns, arguments);
}
