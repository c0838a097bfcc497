//! Random directions and derivatives along them: what forward gradients are made of.
//!
//! A forward gradient (Baydin et al. 2022) is `(∇L·v) v` with v ~ N(0, I). The product needs no
//! gradient: it is the directional derivative of the loss, an [`InnerProduct`] of the loss's
//! gradient at the logits with the logits' tangent. v is drawn by [`Gaussian`] when the tangent needs
//! it, and drawn again, scaled by the product, where the gradient is due: it need not be kept.

use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};
use crate::random::Stream;

operation! {
    /// `y[i] = factor · n_i`, the n independent and N(0, 1), with the `factor` of row i (1 if there
    /// is none).
    ///
    /// Element i is counted in the order of memory. Elements 4j to 4j + 3 come from the four words w
    /// of [block](Stream::block) j of the stream at (seed, epoch, step), by the Box–Muller transform
    /// of [`normal_pair`](crate::random::normal_pair): `n_4j, n_4j+1` from w₀, w₁ and
    /// `n_4j+2, n_4j+3` from w₂, w₃. The pair of (a, b) is `(r cos t, r sin t)` with
    /// `r = √(−2 ln(1 − u(a)))`, `t = 2π u(b)` and `u(w) = ⌊w / 2⁸⌋ / 2²⁴`; `1 − u` is exact in
    /// single precision, and is in (0, 1]. The words are the same on every backend, the n up to
    /// rounding (the largest is below 5.8).
    Gaussian, check: check_gaussian
    reads {
        /// The step counter.
        counter: TensorId,
        /// `[1]`, or one factor for each index of the first axis of `y`.
        factor: Option<TensorId>,
    }
    writes {
        /// Any shape; fewer than 2³² elements.
        y: TensorId,
    }
    updates {}
    with {
        /// Where the random words come from.
        stream: Stream,
    }
    activations { y }
}

operation! {
    /// The inner product of two tensors: of the whole, or row by row.
    InnerProduct, check: check_inner_product
    reads {
        /// Any shape with at least one axis.
        a: TensorId,
        /// The shape of `a`.
        b: TensorId,
    }
    writes {
        /// `[1]`: `Σ a b` over all elements; or one number for each index of the first axis of `a`:
        /// `Σ a b` over the other axes.
        y: TensorId,
    }
    updates {}
    with {}
    activations { a, b }
}

fn check_gaussian(op: &Gaussian, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    t.expect_type(op.y, DType::Real)?;
    if u32::try_from(t[op.y].len()).is_err() {
        return Err(format!("`{}` has 2³² elements or more", t[op.y].name));
    }
    op.factor.map_or(Ok(()), |factor| expect_rows(t, factor, op.y))
}

fn check_inner_product(op: &InnerProduct, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.a, DType::Real)?;
    t.expect_like(op.b, op.a)?;
    expect_rows(t, op.y, op.a)
}

/// Checks that a tensor holds one number, or one for each row of another.
fn expect_rows(t: &Tensors, id: TensorId, of: TensorId) -> Result<(), String> {
    t.expect_type(id, DType::Real)?;
    let (shape, whole) = (&t[id].shape, &t[of].shape);
    if let [rows] = shape[..]
        && !whole.is_empty()
        && (rows == 1 || rows == whole[0])
    {
        return Ok(());
    }
    Err(format!(
        "`{}` has shape {shape:?}, expected [1] or the first axis of `{}` {whole:?}",
        t[id].name, t[of].name
    ))
}
