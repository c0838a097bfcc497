//! Pooling over space, channels last.

use super::conv::Window;
use super::{DType, TensorId, Tensors};

operation! {
    /// Maximum over each window; what is outside the image does not count. Of equal values the
    /// first in the window (row by row) is taken. With a NaN in the window the result is not
    /// defined.
    MaxPool, check: check_max
    reads {
        /// `[batch, height, width, channels]`.
        x: TensorId,
    }
    writes {
        /// `[batch, out height, out width, channels]`.
        y: TensorId,
        /// `U8`, the shape of `y`: position of the maximum, `row · kernel width + column`.
        position: Option<TensorId>,
    }
    updates {}
    with {
        /// Geometry; fewer than 256 positions in a window, each window overlapping the image.
        window: Window,
    }
    activations { x, y }
}

operation! {
    /// Each `dy` goes to the position of its maximum; overlapping windows add up.
    MaxPoolGrad, check: check_max_grad
    reads {
        /// `[batch, out height, out width, channels]`.
        dy: TensorId,
        /// `U8`, the shape of `dy`.
        position: TensorId,
    }
    writes {
        /// `[batch, height, width, channels]`.
        dx: TensorId,
    }
    updates {}
    with {
        /// Geometry.
        window: Window,
    }
    activations { dy, dx }
}

operation! {
    /// Forward mode: the tangent at the position of each maximum.
    MaxPoolTangent, check: check_max_tangent
    reads {
        /// `[batch, height, width, channels]`.
        dx: TensorId,
        /// `U8`, the shape of `dy`.
        position: TensorId,
    }
    writes {
        /// `[batch, out height, out width, channels]`.
        dy: TensorId,
    }
    updates {}
    with {
        /// Geometry.
        window: Window,
    }
    activations { dx, dy }
}

operation! {
    /// Mean over each window, padding counted as zeros. Linear, so it is its own forward-mode rule.
    AvgPool, check: check_avg
    reads {
        /// `[batch, height, width, channels]`.
        x: TensorId,
    }
    writes {
        /// `[batch, out height, out width, channels]`.
        y: TensorId,
    }
    updates {}
    with {
        /// Geometry.
        window: Window,
    }
    activations { x, y }
}

operation! {
    /// The transpose of [`AvgPool`].
    AvgPoolGrad, check: check_avg_grad
    reads {
        /// `[batch, out height, out width, channels]`.
        dy: TensorId,
    }
    writes {
        /// `[batch, height, width, channels]`.
        dx: TensorId,
    }
    updates {}
    with {
        /// Geometry.
        window: Window,
    }
    activations { dy, dx }
}

operation! {
    /// Mean over the bins of a grid, see [`adaptive_bin`]; a 1×1 grid is global average pooling.
    /// Linear, so it is its own forward-mode rule.
    AdaptiveAvgPool, check: check_adaptive
    reads {
        /// `[batch, height, width, channels]`.
        x: TensorId,
    }
    writes {
        /// `[batch, grid height, grid width, channels]`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x, y }
}

operation! {
    /// The transpose of [`AdaptiveAvgPool`].
    AdaptiveAvgPoolGrad, check: check_adaptive_grad
    reads {
        /// `[batch, grid height, grid width, channels]`.
        dy: TensorId,
    }
    writes {
        /// `[batch, height, width, channels]`.
        dx: TensorId,
    }
    updates {}
    with {}
    activations { dy, dx }
}

/// The positions `⌊i·n/grid⌋ .. ⌈(i+1)·n/grid⌉` that bin `i` of `grid` covers on an axis of extent
/// `n`, as in PyTorch's `adaptive_avg_pool2d`. Bins overlap where `grid` does not divide `n`.
#[inline]
pub fn adaptive_bin(i: usize, grid: usize, n: usize) -> std::ops::Range<usize> {
    i * n / grid..((i + 1) * n).div_ceil(grid)
}

fn check_max(op: &MaxPool, t: &Tensors) -> Result<(), String> {
    check_window(t, op.x, op.y, op.window)?;
    op.position.map_or(Ok(()), |position| check_position(t, position, op.y, op.window))
}

fn check_max_grad(op: &MaxPoolGrad, t: &Tensors) -> Result<(), String> {
    check_window(t, op.dx, op.dy, op.window)?;
    check_position(t, op.position, op.dy, op.window)
}

fn check_max_tangent(op: &MaxPoolTangent, t: &Tensors) -> Result<(), String> {
    check_window(t, op.dx, op.dy, op.window)?;
    check_position(t, op.position, op.dy, op.window)
}

fn check_avg(op: &AvgPool, t: &Tensors) -> Result<(), String> {
    check_window(t, op.x, op.y, op.window)
}

fn check_avg_grad(op: &AvgPoolGrad, t: &Tensors) -> Result<(), String> {
    check_window(t, op.dx, op.dy, op.window)
}

fn check_adaptive(op: &AdaptiveAvgPool, t: &Tensors) -> Result<(), String> {
    check_grid(t, op.x, op.y)
}

fn check_adaptive_grad(op: &AdaptiveAvgPoolGrad, t: &Tensors) -> Result<(), String> {
    check_grid(t, op.dx, op.dy)
}

fn check_window(
    t: &Tensors,
    image: TensorId,
    pooled: TensorId,
    window: Window,
) -> Result<(), String> {
    let [batch, height, width, channels] = t.image(image)?;
    let [out_height, out_width] = window.output([height, width])?;
    if (0..2).any(|axis| window.padding[axis] > window.kernel[axis] / 2) {
        return Err(format!("padding of more than half a window: {window:?}"));
    }
    t.expect(pooled, &[batch, out_height, out_width, channels])
}

fn check_position(
    t: &Tensors,
    position: TensorId,
    pooled: TensorId,
    window: Window,
) -> Result<(), String> {
    if window.kernel[0].saturating_mul(window.kernel[1]) > 255 {
        return Err(format!("a window of more than 255 positions: {window:?}"));
    }
    t.expect_type(position, DType::U8)?;
    t.expect_shape(position, &t[pooled].shape)
}

fn check_grid(t: &Tensors, image: TensorId, pooled: TensorId) -> Result<(), String> {
    let [batch, height, width, channels] = t.image(image)?;
    let [pooled_batch, grid_height, grid_width, pooled_channels] = t.image(pooled)?;
    let fits = (1..=height).contains(&grid_height) && (1..=width).contains(&grid_width);
    if !fits || (pooled_batch, pooled_channels) != (batch, channels) {
        return Err(format!(
            "`{}` {:?} does not fit `{}` {:?}",
            t[pooled].name, t[pooled].shape, t[image].name, t[image].shape
        ));
    }
    Ok(())
}
