//! Linear maps of feature vectors, in independent groups.
//!
//! With `g` groups, `x` is `[batch, g·in]`, the weight `[g·out, in]`, `y` `[batch, g·out]`: group i
//! maps its own `in` features to its own `out` features. One group is the ordinary fully connected
//! layer; several are the readouts of a unit's workers, or the output neurons of independent
//! classifiers.

use super::{TensorId, Tensors};

operation! {
    /// `y = x Wᵀ + b`, per group.
    Linear, check: check_linear
    reads {
        /// `[batch, groups · in]`.
        x: TensorId,
        /// `[groups · out, in]`.
        weight: TensorId,
        /// `[groups · out]`.
        bias: Option<TensorId>,
    }
    writes {
        /// `[batch, groups · out]`.
        y: TensorId,
    }
    updates {}
    with {
        /// Number of independent groups.
        groups: usize,
    }
    activations { x, y }
    product { y by weight }
}

operation! {
    /// `dx = dy W`, per group.
    LinearInputGrad, check: check_input_grad
    reads {
        /// `[batch, groups · out]`.
        dy: TensorId,
        /// `[groups · out, in]`.
        weight: TensorId,
    }
    writes {
        /// `[batch, groups · in]`.
        dx: TensorId,
    }
    updates {}
    with {
        /// Number of independent groups.
        groups: usize,
    }
    activations { dy, dx }
    product { dy by weight }
}

operation! {
    /// `dW = dyᵀ x` per group, and `db = Σ_batch dy`.
    LinearWeightGrad, check: check_weight_grad
    reads {
        /// `[batch, groups · in]`.
        x: TensorId,
        /// `[batch, groups · out]`.
        dy: TensorId,
    }
    writes {
        /// `[groups · out, in]`.
        dweight: TensorId,
        /// `[groups · out]`.
        dbias: Option<TensorId>,
    }
    updates {}
    with {
        /// Number of independent groups.
        groups: usize,
    }
    activations { x, dy }
    product { dy by dweight }
}

fn check_linear(op: &Linear, t: &Tensors) -> Result<(), String> {
    check(t, op.x, op.weight, op.bias, op.y, op.groups)
}

fn check_input_grad(op: &LinearInputGrad, t: &Tensors) -> Result<(), String> {
    check(t, op.dx, op.weight, None, op.dy, op.groups)
}

fn check_weight_grad(op: &LinearWeightGrad, t: &Tensors) -> Result<(), String> {
    check(t, op.x, op.dweight, op.dbias, op.dy, op.groups)
}

fn check(
    t: &Tensors,
    x: TensorId,
    weight: TensorId,
    bias: Option<TensorId>,
    y: TensorId,
    groups: usize,
) -> Result<(), String> {
    let [batch, features] = t.matrix(x)?;
    let [out, input] = t.matrix(weight)?;
    if groups == 0 || !out.is_multiple_of(groups) || features != groups * input {
        return Err(format!(
            "`{}` {:?} does not fit `{}` {:?} in {groups} groups",
            t[x].name, t[x].shape, t[weight].name, t[weight].shape
        ));
    }
    if let Some(bias) = bias {
        t.expect(bias, &[out])?;
    }
    t.expect(y, &[batch, out])
}
