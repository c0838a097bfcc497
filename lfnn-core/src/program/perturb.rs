//! Random directions and derivatives along them: what forward gradients are made of.
//!
//! A forward gradient (Baydin et al. 2022) is `(∇L·v) v` with v ~ N(0, I). The product needs no
//! gradient: it is the directional derivative of the loss, an [`InnerProduct`] of the loss's
//! gradient at the logits with the logits' tangent. v is drawn by [`Gaussian`] when the tangent needs
//! it, and drawn again, scaled by the product, where the gradient is due: it need not be kept.

use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};
use crate::random::Stream;

/// How a tensor falls into parts that have a number each: examples, positions and groups of consecutive channels.
///
/// A tensor `[examples, …, channels]` is a matrix with a row for each position of each example, and a row consists of
/// `groups` runs of `run` numbers. Run q belongs to part `q / (repeat · groups) · groups + q mod groups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grain {
    /// Groups of a row.
    pub groups: usize,
    /// Consecutive numbers of one part.
    pub run: usize,
    /// Rows whose groups are the same parts.
    pub repeat: usize,
}

impl Grain {
    /// The division of a tensor of shape `whole` into `[examples, positions, groups]` parts; none where there is no such
    /// division. Examples and positions are all apart, or all together (1); positions are together where examples are.
    pub fn new(whole: &[usize], parts: &[usize]) -> Option<Self> {
        let (&[examples, positions, groups], [first, middle @ ..]) = (parts, whole) else {
            return None;
        };
        let (&channels, middle) = middle.split_last().unwrap_or((&1, &[]));
        let of_example: usize = middle.iter().product();
        let apart = |parts: usize, of: usize| parts == 1 || parts == of;
        let divides = groups > 0 && channels.is_multiple_of(groups);
        if !(apart(examples, *first) && apart(positions, of_example) && divides)
            || (examples < *first && positions > 1)
        {
            return None;
        }
        let repeat = if examples < *first {
            first * of_example
        } else if positions < of_example {
            of_example
        } else {
            1
        };
        // Runs that follow one another and belong to one part are one.
        if groups == 1 {
            return Some(Self { groups, run: repeat * channels, repeat: 1 });
        }
        Some(Self { groups, run: channels / groups, repeat })
    }

    /// The division of a tensor into the parts that another has a number for; without one, the whole is one part.
    ///
    /// The shapes are those of an operation that was checked.
    pub fn of(tensors: &Tensors, whole: TensorId, parts: Option<TensorId>) -> Self {
        let parts = parts.map_or(&[1, 1, 1][..], |parts| &tensors[parts].shape);
        Self::new(&tensors[whole].shape, parts).unwrap_or(Self { groups: 1, run: 1, repeat: 1 })
    }

    /// The part of a run.
    pub fn part(self, run: usize) -> usize {
        run / (self.repeat * self.groups) * self.groups + run % self.groups
    }
}

operation! {
    /// `y[i] = factor · n_i`, the n independent and N(0, 1), with the `factor` of the part of i (1 if there
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
        /// One factor for each part of `y`, `[examples, positions, groups]`: see [`Grain`].
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
    /// The inner product of two tensors, of the whole or of each part.
    InnerProduct, check: check_inner_product
    reads {
        /// Any shape with at least one axis.
        a: TensorId,
        /// The shape of `a`.
        b: TensorId,
    }
    writes {
        /// `scale · Σ a b` over each part of `a`, `[examples, positions, groups]`: see [`Grain`].
        y: TensorId,
    }
    updates {}
    with {
        /// Factor on the products.
        scale: f64,
    }
    activations { a, b }
}

fn check_gaussian(op: &Gaussian, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    t.expect_type(op.y, DType::Real)?;
    if u32::try_from(t[op.y].len()).is_err() {
        return Err(format!("`{}` has 2³² elements or more", t[op.y].name));
    }
    op.factor.map_or(Ok(()), |factor| expect_parts(t, factor, op.y))
}

fn check_inner_product(op: &InnerProduct, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.a, DType::Real)?;
    t.expect_like(op.b, op.a)?;
    expect_parts(t, op.y, op.a)
}

/// Checks that a tensor holds one number for each part of another.
fn expect_parts(t: &Tensors, id: TensorId, of: TensorId) -> Result<(), String> {
    t.expect_type(id, DType::Real)?;
    let (shape, whole) = (&t[id].shape, &t[of].shape);
    if Grain::new(whole, shape).is_some() {
        return Ok(());
    }
    Err(format!(
        "`{}` has shape {shape:?}, expected [examples, positions, groups] of `{}` {whole:?}",
        t[id].name, t[of].name
    ))
}
