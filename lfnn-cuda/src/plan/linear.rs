//! Fully connected layers: large ones to the vendor's library, small and grouped ones to our own kernels.
//!
//! The library is good at products that fill the GPU. A readout of ten outputs, or dozens of them in groups, is
//! a few tiles with a long inner axis: our kernels do all groups in one launch and cut the inner axis where that
//! is what there is to share out.

use lfnn_core::backend::Precision;
use lfnn_core::program::{BiasGrad, Linear, LinearInputGrad, LinearWeightGrad, TensorId, Window};

use super::conv::Convolution;
use super::lowering::{Lower, Lowering};
use super::types::{Address, Element, Matrix, Product};

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

fn matrix(address: Address, element: Element, row_stride: usize, transposed: bool) -> Matrix {
    Matrix { address, element, row_stride, stack_stride: 0, transposed }
}

/// `d = a b + bias`, of these rows, columns and inner axis.
fn product(
    [rows, columns, inner]: [usize; 3],
    [a, b, d]: [Matrix; 3],
    bias: Option<Address>,
    to: &mut Lowering<'_>,
) {
    let tf32 = to.precision() != Precision::F32;
    to.product(Product { rows, columns, inner, stack: 1, a, b, d, bias, tf32 });
}

impl Lower for Linear {
    fn lower(&self, to: &mut Lowering<'_>) {
        let layer = Layer::of(self.x, self.y, self.groups, to);
        if !layer.is_large() {
            return layer.convolution().forward([self.x, self.weight], self.bias, self.y, to);
        }
        let Layer { batch, input, out, .. } = layer;
        let act = to.act();
        let x = matrix(to.read(self.x), act, input, false);
        let weight = matrix(to.read(self.weight), act, input, true);
        let y = matrix(to.write(self.y), act, out, false);
        let bias = self.bias.map(|bias| to.address(bias));
        product([batch, out, input], [x, weight, y], bias, to);
    }
}

impl Lower for LinearInputGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let layer = Layer::of(self.dx, self.dy, self.groups, to);
        if !layer.is_large() {
            return layer.convolution().input_grad([self.dy, self.weight], self.dx, to);
        }
        let Layer { batch, input, out, .. } = layer;
        let act = to.act();
        let dy = matrix(to.read(self.dy), act, out, false);
        let weight = matrix(to.read(self.weight), act, input, false);
        let dx = matrix(to.write(self.dx), act, input, false);
        product([batch, input, out], [dy, weight, dx], None, to);
    }
}

impl Lower for LinearWeightGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let layer = Layer::of(self.x, self.dy, self.groups, to);
        if !layer.is_large() {
            return layer.convolution().weight_grad(
                [self.x, self.dy],
                self.dweight,
                self.dbias,
                to,
            );
        }
        let Layer { batch, input, out, .. } = layer;
        let act = to.act();
        let dy = matrix(to.read(self.dy), act, out, true);
        let x = matrix(to.read(self.x), act, input, false);
        let dweight = matrix(to.address(self.dweight), Element::F32, input, false);
        product([out, input, batch], [dy, x, dweight], None, to);
        if let Some(dbias) = self.dbias {
            BiasGrad { dy: self.dy, dbias }.lower(to);
        }
    }
}
