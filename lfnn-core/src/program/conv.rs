//! Two-dimensional convolutions (cross-correlations, as in every framework), channels last.

use super::{TensorId, Tensors};

/// How a window slides over an image. Pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Extent of the window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Rows and columns added on each side: zeros for convolution and average, nothing for maximum.
    pub padding: [usize; 2],
}

impl Window {
    /// A square window.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
    }

    /// Extents of the result on an image of this (height, width): `(n + 2p − k) / s + 1`, or why
    /// there is none.
    ///
    /// # Errors
    /// A window larger than the padded image, an extent of 0, or more than 64 bits can count.
    pub fn output(&self, image: [usize; 2]) -> Result<[usize; 2], String> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
            let padded = image[axis].saturating_add(self.padding[axis].saturating_mul(2));
            if kernel == 0 || stride == 0 || padded < kernel || padded == usize::MAX {
                return Err(format!(
                    "a window of {}×{} with stride {}×{} and padding {}×{} does not fit a {}×{} image",
                    self.kernel[0],
                    self.kernel[1],
                    self.stride[0],
                    self.stride[1],
                    self.padding[0],
                    self.padding[1],
                    image[0],
                    image[1]
                ));
            }
            out[axis] = (padded - kernel) / stride + 1;
        }
        Ok(out)
    }
}

operation! {
    /// `y = conv(x, W) + b`.
    Conv2d, check: check_forward
    reads {
        /// `[batch, height, width, in]`.
        x: TensorId,
        /// `[out, kernel height, kernel width, in / groups]`.
        weight: TensorId,
        /// `[out]`.
        bias: Option<TensorId>,
    }
    writes {
        /// `[batch, out height, out width, out]`.
        y: TensorId,
    }
    updates {}
    with {
        /// Geometry; its kernel is the weight's.
        window: Window,
        /// Groups of channels that do not see one another.
        groups: usize,
    }
    activations { x, y }
    product { y by weight }
}

operation! {
    /// Gradient of a convolution with respect to its input.
    Conv2dInputGrad, check: check_input_grad
    reads {
        /// `[batch, out height, out width, out]`.
        dy: TensorId,
        /// `[out, kernel height, kernel width, in / groups]`.
        weight: TensorId,
    }
    writes {
        /// `[batch, height, width, in]`.
        dx: TensorId,
    }
    updates {}
    with {
        /// Geometry; its kernel is the weight's.
        window: Window,
        /// Groups of channels that do not see one another.
        groups: usize,
    }
    activations { dy, dx }
    product { dy by weight }
}

operation! {
    /// Gradients of a convolution with respect to its weight and bias.
    Conv2dWeightGrad, check: check_weight_grad
    reads {
        /// `[batch, height, width, in]`.
        x: TensorId,
        /// `[batch, out height, out width, out]`.
        dy: TensorId,
    }
    writes {
        /// `[out, kernel height, kernel width, in / groups]`.
        dweight: TensorId,
        /// `[out]`.
        dbias: Option<TensorId>,
    }
    updates {}
    with {
        /// Geometry; its kernel is the weight's.
        window: Window,
        /// Groups of channels that do not see one another.
        groups: usize,
    }
    activations { x, dy }
    product { dy by dweight }
}

fn check_forward(op: &Conv2d, t: &Tensors) -> Result<(), String> {
    check(t, op.x, op.weight, op.bias, op.y, op.window, op.groups)
}

fn check_input_grad(op: &Conv2dInputGrad, t: &Tensors) -> Result<(), String> {
    check(t, op.dx, op.weight, None, op.dy, op.window, op.groups)
}

fn check_weight_grad(op: &Conv2dWeightGrad, t: &Tensors) -> Result<(), String> {
    check(t, op.x, op.dweight, op.dbias, op.dy, op.window, op.groups)
}

fn check(
    t: &Tensors,
    x: TensorId,
    weight: TensorId,
    bias: Option<TensorId>,
    y: TensorId,
    window: Window,
    groups: usize,
) -> Result<(), String> {
    let [batch, height, width, channels] = t.image(x)?;
    let [out, kernel_height, kernel_width, input] = t.image(weight)?;
    let fits = groups > 0 && channels == groups * input && out.is_multiple_of(groups);
    if !fits || window.kernel != [kernel_height, kernel_width] {
        return Err(format!(
            "`{}` {:?} does not fit `{}` {:?} with {window:?} in {groups} groups",
            t[x].name, t[x].shape, t[weight].name, t[weight].shape
        ));
    }
    if let Some(bias) = bias {
        t.expect(bias, &[out])?;
    }
    let [out_height, out_width] = window.output([height, width])?;
    t.expect(y, &[batch, out_height, out_width, out])
}
