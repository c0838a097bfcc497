//! Similarity matching (Nøkland and Eidnes 2019): the similarities of the features of a batch's examples are to be those
//! of their targets.
//!
//! An example's features become a unit vector n: the standard deviation of each channel over the positions
//! ([`Deviation`]), centred and divided by its norm ([`NormalizeRows`]). The similarities are `R = n nᵀ`, which is
//! [`Linear`](super::Linear) with n as input and as weight, and [`SimilarityLoss`] compares them with those of the
//! targets. From there [`LinearInputGrad`](super::LinearInputGrad) leads back to n.
//!
//! What is compared is small beside the features: it stays in single precision, in which no gradient overflows.

use super::{DType, TensorId, Tensors};

/// What [`NormalizeRows`] adds to a norm.
pub const ROW_EPSILON: f64 = 1e-8;

operation! {
    /// Standard deviation of each channel of an image over its positions, `torch.std`:
    /// `y[b,c] = √(Σ_p (x[b,p,c] − mean[b,c])² / (positions − 1))`. It is 0 where all positions are equal.
    Deviation, check: check_deviation
    reads {
        /// `[batch, height, width, channels]` with more than one position.
        x: TensorId,
    }
    writes {
        /// Means over the positions, `[batch, channels]`.
        mean: TensorId,
        /// `[batch, channels]`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x }
}

operation! {
    /// Backward rule of [`Deviation`]: `dx[b,p,c] = dy[b,c] (x[b,p,c] − mean[b,c]) / ((positions − 1) y[b,c])`, and 0
    /// where y is 0.
    DeviationGrad, check: check_deviation_grad
    reads {
        /// `[batch, height, width, channels]`, the input.
        x: TensorId,
        /// `[batch, channels]`.
        mean: TensorId,
        /// `[batch, channels]`, the result.
        y: TensorId,
        /// `[batch, channels]`.
        dy: TensorId,
    }
    writes {
        /// The shape of `x`.
        dx: TensorId,
    }
    updates {}
    with {}
    activations { x, dx }
}

operation! {
    /// Forward-mode rule of [`Deviation`]:
    /// `ẏ[b,c] = Σ_p ẋ[b,p,c] (x[b,p,c] − mean[b,c]) / ((positions − 1) y[b,c])`, and 0 where y is 0.
    DeviationTangent, check: check_deviation_tangent
    reads {
        /// `[batch, height, width, channels]`, the input.
        x: TensorId,
        /// `[batch, channels]`.
        mean: TensorId,
        /// `[batch, channels]`, the result.
        y: TensorId,
        /// ẋ, the shape of `x`.
        dx: TensorId,
    }
    writes {
        /// ẏ, `[batch, channels]`.
        dy: TensorId,
    }
    updates {}
    with {}
    activations { x, dx }
}

operation! {
    /// Each row centred and divided by its norm: `y = c / (‖c‖ + ε)` with `c = x − mean(x)` and ε = [`ROW_EPSILON`].
    /// A row of equal numbers becomes 0.
    NormalizeRows, check: check_normalize
    reads {
        /// `[batch, features]`.
        x: TensorId,
    }
    writes {
        /// `‖c‖`, `[batch]`.
        norm: TensorId,
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x }
}

operation! {
    /// The Jacobian of [`NormalizeRows`], which is symmetric: its backward rule and its forward-mode rule. With
    /// `c' = dy − mean(dy)` it is `dx = (c' − y (y · dy) (‖c‖ + ε) / ‖c‖) / (‖c‖ + ε)`, and 0 where `‖c‖` is 0.
    NormalizeRowsGrad, check: check_normalize_grad
    reads {
        /// `[batch, features]`, the result.
        y: TensorId,
        /// `‖c‖`, `[batch]`.
        norm: TensorId,
        /// The shape of `y`.
        dy: TensorId,
    }
    writes {
        /// The shape of `y`.
        dx: TensorId,
    }
    updates {}
    with {}
}

operation! {
    /// The loss of similarity matching, `L = mean_bj (R[b,j] − T[b,j])²`, and its gradient. R = n nᵀ are the similarities
    /// of normalised features n. T are those of the targets: of one-hot labels of K classes, centred and normalised,
    /// 1 where two labels are equal and −1 / (K − 1) where they are not.
    SimilarityLoss, check: check_similarity
    reads {
        /// R, `[batch, batch]`.
        similarity: TensorId,
        /// Labels, `U32 [batch]`, or T itself, `[batch, batch]`.
        target: TensorId,
    }
    writes {
        /// `D = 4 · weight · (R − T) / batch²`, `[batch, batch]`: the gradient of `weight · L` with respect to n is `D n`.
        gradient: TensorId,
        /// The share of each example in L times the batch, `[batch, 1]`: `mean_j (R[b,j] − T[b,j])²`.
        losses: TensorId,
    }
    updates {}
    with {
        /// K, of labels.
        classes: usize,
        /// Weight of the loss in the gradient.
        weight: f64,
    }
}

impl SimilarityLoss {
    /// T of two different labels.
    pub fn different(&self) -> f64 {
        -1.0 / (self.classes as f64 - 1.0)
    }
}

fn check_deviation(op: &Deviation, t: &Tensors) -> Result<(), String> {
    check_moments(t, op.x, &[op.mean, op.y])
}

fn check_deviation_grad(op: &DeviationGrad, t: &Tensors) -> Result<(), String> {
    t.expect_like(op.dx, op.x)?;
    check_moments(t, op.x, &[op.mean, op.y, op.dy])
}

fn check_deviation_tangent(op: &DeviationTangent, t: &Tensors) -> Result<(), String> {
    t.expect_like(op.dx, op.x)?;
    check_moments(t, op.x, &[op.mean, op.y, op.dy])
}

/// Checks an image and numbers of its channels.
fn check_moments(t: &Tensors, x: TensorId, moments: &[TensorId]) -> Result<(), String> {
    let [batch, height, width, channels] = t.image(x)?;
    if height * width < 2 {
        return Err(format!("`{}` {:?} has one position, expected more", t[x].name, t[x].shape));
    }
    moments.iter().try_for_each(|&id| t.expect(id, &[batch, channels]))
}

fn check_normalize(op: &NormalizeRows, t: &Tensors) -> Result<(), String> {
    check_rows(t, op.x, op.norm, &[op.y])
}

fn check_normalize_grad(op: &NormalizeRowsGrad, t: &Tensors) -> Result<(), String> {
    check_rows(t, op.y, op.norm, &[op.dy, op.dx])
}

/// Checks rows, their norms and tensors of their shape.
fn check_rows(t: &Tensors, x: TensorId, norm: TensorId, likes: &[TensorId]) -> Result<(), String> {
    let [batch, _] = t.matrix(x)?;
    t.expect(norm, &[batch])?;
    likes.iter().try_for_each(|&like| t.expect_like(like, x))
}

fn check_similarity(op: &SimilarityLoss, t: &Tensors) -> Result<(), String> {
    let [batch, _] = t.matrix(op.similarity)?;
    t.expect(op.similarity, &[batch, batch])?;
    t.expect_like(op.gradient, op.similarity)?;
    t.expect(op.losses, &[batch, 1])?;
    if t[op.target].dtype == DType::Real {
        return t.expect_like(op.target, op.similarity);
    }
    if op.classes < 2 {
        return Err(format!("similarities of labels of {} class", op.classes));
    }
    t.expect_type(op.target, DType::U32)?;
    t.expect_shape(op.target, &[batch])
}
