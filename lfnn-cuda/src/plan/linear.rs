//! Fully connected layers: large ones to the vendor's library, small and grouped ones to our own kernels.
//!
//! The library is good at products that fill the GPU. A readout of ten outputs, or dozens of them in groups, is
//! a few tiles with a long inner axis: our kernels do all groups in one launch and cut the inner axis where that
//! is what there is to share out.

use lfnn_core::backend::Precision;
use lfnn_core::program::{BiasGrad, Linear, LinearInputGrad, LinearWeightGrad, TensorId, Window};

use super::conv::Convolution;
use super::lower::Lowering;
use super::{Element, Matrix, Place, Product, columns};

/// The least extent of a product that goes to the library.
const LARGE: usize = 64;

/// The extents of a layer.
struct Layer {
    batch: usize,
    input: usize,
    out: usize,
    groups: usize,
}

impl Layer {
    fn of(x: TensorId, y: TensorId, groups: usize, to: &Lowering<'_>) -> Self {
        let ([batch, input, ..], [_, out, ..]) = (to.image(x), to.image(y));
        Self { batch, input, out, groups }
    }

    /// Whether the library does it.
    fn is_large(&self) -> bool {
        self.groups == 1 && self.batch.min(self.input).min(self.out) >= LARGE
    }

    /// As a convolution of images of one pixel.
    fn convolution(&self) -> Convolution {
        Convolution {
            image: [self.batch, 1, 1, self.input],
            result: [self.batch, 1, 1, self.out],
            window: Window::square(1, 1, 0),
            groups: self.groups,
        }
    }
}

fn matrix(place: Place, element: Element, row_stride: usize, transposed: bool) -> Matrix {
    Matrix { place, element, row_stride, stack_stride: 0, transposed }
}

/// `d = a b + bias`, of these rows, columns and inner axis.
fn product(
    [rows, columns, inner]: [usize; 3],
    [a, b, d]: [Matrix; 3],
    bias: Option<Place>,
    to: &mut Lowering<'_>,
) {
    let tf32 = to.precision() != Precision::F32;
    to.product(Product { rows, columns, inner, stack: 1, a, b, d, bias, tf32 });
}

pub(super) fn forward(op: &Linear, to: &mut Lowering<'_>) {
    let layer = Layer::of(op.x, op.y, op.groups, to);
    if !layer.is_large() {
        return layer.convolution().forward([op.x, op.weight], op.bias, op.y, to);
    }
    let Layer { batch, input, out, .. } = layer;
    let real = to.real();
    let x = matrix(to.read(op.x), real, input, false);
    let weight = matrix(to.read(op.weight), real, input, true);
    let y = matrix(to.write(op.y), real, out, false);
    let bias = op.bias.map(|bias| to.place(bias));
    product([batch, out, input], [x, weight, y], bias, to);
}

pub(super) fn input_grad(op: &LinearInputGrad, to: &mut Lowering<'_>) {
    let layer = Layer::of(op.dx, op.dy, op.groups, to);
    if !layer.is_large() {
        return layer.convolution().input_grad([op.dy, op.weight], op.dx, to);
    }
    let Layer { batch, input, out, .. } = layer;
    let real = to.real();
    let dy = matrix(to.read(op.dy), real, out, false);
    let weight = matrix(to.read(op.weight), real, input, false);
    let dx = matrix(to.write(op.dx), real, input, false);
    product([batch, input, out], [dy, weight, dx], None, to);
}

pub(super) fn weight_grad(op: &LinearWeightGrad, to: &mut Lowering<'_>) {
    let layer = Layer::of(op.x, op.dy, op.groups, to);
    if !layer.is_large() {
        return layer.convolution().weight_grad([op.x, op.dy], op.dweight, op.dbias, to);
    }
    let Layer { batch, input, out, .. } = layer;
    let real = to.real();
    let dy = matrix(to.read(op.dy), real, out, true);
    let x = matrix(to.read(op.x), real, input, false);
    let dweight = matrix(to.place(op.dweight), Element::F32, input, false);
    product([out, input, batch], [dy, x, dweight], None, to);
    if let Some(dbias) = op.dbias {
        columns::bias_grad(&BiasGrad { dy: op.dy, dbias }, to);
    }
}
