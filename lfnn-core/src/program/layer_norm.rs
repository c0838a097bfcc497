//! Layer normalisation (Ba et al. 2016): each run of consecutive channels on its own.

use super::{DType, TensorId, Tensors};

operation! {
    /// Each run of `width` consecutive channels, centred and divided by its standard deviation:
    /// `y = (x − mean) · inv_std` with the run's mean and (biased) variance, `inv_std = 1 / √(variance + ε)`.
    LayerNorm, check: check_forward
    reads {
        /// `[…, runs · width]`.
        x: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
        /// A number for each run of `x`, one axis.
        inv_std: TensorId,
    }
    updates {}
    with {
        /// Channels of a run.
        width: usize,
        /// ε.
        epsilon: f64,
    }
    activations { x, y }
}

operation! {
    /// The Jacobian of [`LayerNorm`], which is symmetric: its backward rule and its forward-mode rule.
    /// `dx = (dy − mean(dy) − y mean(y dy)) · inv_std` in each run.
    LayerNormGrad, check: check_grad
    reads {
        /// `[…, runs · width]`, the result.
        y: TensorId,
        /// A number for each run of `y`.
        inv_std: TensorId,
        /// The shape of `y`.
        dy: TensorId,
    }
    writes {
        /// The shape of `y`.
        dx: TensorId,
    }
    updates {}
    with {
        /// Channels of a run.
        width: usize,
    }
    activations { y, dy, dx }
}

fn check_forward(op: &LayerNorm, t: &Tensors) -> Result<(), String> {
    check(t, op.x, &[op.y], op.inv_std, op.width)
}

fn check_grad(op: &LayerNormGrad, t: &Tensors) -> Result<(), String> {
    check(t, op.y, &[op.dy, op.dx], op.inv_std, op.width)
}

fn check(
    t: &Tensors,
    x: TensorId,
    likes: &[TensorId],
    inv_std: TensorId,
    width: usize,
) -> Result<(), String> {
    t.expect_type(x, DType::Real)?;
    if width == 0 || !t.channels(x).is_multiple_of(width) {
        return Err(format!("`{}` {:?} is not made of runs of {width}", t[x].name, t[x].shape));
    }
    t.expect(inv_std, &[t[x].len() / width])?;
    likes.iter().try_for_each(|&like| t.expect_like(like, x))
}
