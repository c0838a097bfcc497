//! Batch normalisation over every axis but the last (Ioffe and Szegedy 2015).

use super::{DType, TensorId, Tensors};

operation! {
    /// Training: `y = γ (x − mean) · inv_std + β` with the batch's mean and (biased) variance,
    /// `inv_std = 1 / √(variance + ε)`. The running statistics move by `momentum` towards the
    /// batch's, the variance towards its unbiased estimate, as in PyTorch.
    BatchNorm, check: check_train
    reads {
        /// `[…, channels]` with more than one row.
        x: TensorId,
        /// γ, `[channels]`.
        gamma: TensorId,
        /// β, `[channels]`.
        beta: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
        /// `[channels]`.
        mean: TensorId,
        /// `[channels]`.
        inv_std: TensorId,
    }
    updates {
        /// `[channels]`.
        running_mean: TensorId,
        /// `[channels]`.
        running_var: TensorId,
    }
    with {
        /// Share of the batch's statistics in the new running ones.
        momentum: f64,
        /// ε.
        epsilon: f64,
    }
    activations { x, y }
}

operation! {
    /// Prediction: the running statistics in place of the batch's.
    BatchNormInference, check: check_inference
    reads {
        /// `[…, channels]`.
        x: TensorId,
        /// γ, `[channels]`.
        gamma: TensorId,
        /// β, `[channels]`.
        beta: TensorId,
        /// `[channels]`.
        running_mean: TensorId,
        /// `[channels]`.
        running_var: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {
        /// ε.
        epsilon: f64,
    }
    activations { x, y }
}

operation! {
    /// Backward rule of [`BatchNorm`]. With `x̂ = (x − mean) · inv_std`:
    /// `dβ = Σ dy`, `dγ = Σ dy x̂`, `dx = γ · inv_std · (dy − dβ / rows − x̂ dγ / rows)`.
    BatchNormGrad, check: check_grad
    reads {
        /// `[…, channels]`, the input.
        x: TensorId,
        /// `[channels]`.
        mean: TensorId,
        /// `[channels]`.
        inv_std: TensorId,
        /// γ, `[channels]`.
        gamma: TensorId,
        /// The shape of `x`.
        dy: TensorId,
    }
    writes {
        /// The shape of `x`; none where no earlier layer needs it.
        dx: Option<TensorId>,
        /// `[channels]`; given together with `dbeta`, or neither where only `dx` is wanted.
        dgamma: Option<TensorId>,
        /// `[channels]`.
        dbeta: Option<TensorId>,
    }
    updates {}
    with {}
    activations { x, dy, dx }
}

operation! {
    /// Forward-mode rule of [`BatchNorm`]:
    /// `ẏ = γ · inv_std · (ẋ − mean(ẋ) − x̂ mean(x̂ ẋ)) + γ̇ x̂ + β̇`. A tangent that is not given is 0.
    BatchNormTangent, check: check_tangent
    reads {
        /// `[…, channels]`, the input.
        x: TensorId,
        /// `[channels]`.
        mean: TensorId,
        /// `[channels]`.
        inv_std: TensorId,
        /// γ, `[channels]`.
        gamma: TensorId,
        /// ẋ, the shape of `x`.
        dx: Option<TensorId>,
        /// γ̇, `[channels]`.
        dgamma: Option<TensorId>,
        /// β̇, `[channels]`.
        dbeta: Option<TensorId>,
    }
    writes {
        /// ẏ, the shape of `x`.
        dy: TensorId,
    }
    updates {}
    with {}
    activations { x, dy, dx }
}

fn check_train(op: &BatchNorm, t: &Tensors) -> Result<(), String> {
    if t.rows(op.x) < 2 {
        return Err(format!(
            "`{}` {:?} has one value per channel, expected more",
            t[op.x].name, t[op.x].shape
        ));
    }
    let vectors = [op.gamma, op.beta, op.mean, op.inv_std, op.running_mean, op.running_var];
    check(t, op.x, &[op.y], &vectors)
}

fn check_inference(op: &BatchNormInference, t: &Tensors) -> Result<(), String> {
    check(t, op.x, &[op.y], &[op.gamma, op.beta, op.running_mean, op.running_var])
}

fn check_grad(op: &BatchNormGrad, t: &Tensors) -> Result<(), String> {
    if op.dgamma.is_some() != op.dbeta.is_some() {
        return Err("`dgamma` and `dbeta` are written together or not at all".into());
    }
    let vectors: Vec<_> =
        [op.mean, op.inv_std, op.gamma].into_iter().chain(op.dgamma).chain(op.dbeta).collect();
    let likes: Vec<_> = [op.dy].into_iter().chain(op.dx).collect();
    check(t, op.x, &likes, &vectors)
}

fn check_tangent(op: &BatchNormTangent, t: &Tensors) -> Result<(), String> {
    let vectors: Vec<_> =
        [op.mean, op.inv_std, op.gamma].into_iter().chain(op.dgamma).chain(op.dbeta).collect();
    let likes: Vec<_> = [op.dy].into_iter().chain(op.dx).collect();
    check(t, op.x, &likes, &vectors)
}

fn check(t: &Tensors, x: TensorId, likes: &[TensorId], vectors: &[TensorId]) -> Result<(), String> {
    t.expect_type(x, DType::Real)?;
    likes.iter().try_for_each(|&like| t.expect_like(like, x))?;
    vectors.iter().try_for_each(|&vector| t.expect(vector, &[t.channels(x)]))
}
