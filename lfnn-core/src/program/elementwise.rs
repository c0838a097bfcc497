//! Operations that treat every element, or every channel, alike.

use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};
use crate::random::Stream;

/// A nonlinearity whose derivative is a function of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`; the derivative at 0 is 0. NaN stays NaN, so that the watch for errors that are
    /// not finite sees it.
    Relu,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

operation! {
    /// `y = f(x)`.
    Activate, check: check_activate
    reads {
        /// Any shape.
        x: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {
        /// f.
        function: Activation,
    }
    activations { x, y }
}

operation! {
    /// `dx = f′(x) dy`, from the output `y`. The Jacobian is diagonal, so this is the forward-mode
    /// rule too.
    ActivateGrad, check: check_activate_grad
    reads {
        /// The output.
        y: TensorId,
        /// Gradient of the output, or tangent of the input.
        dy: TensorId,
    }
    writes {
        /// Gradient of the input, or tangent of the output.
        dx: TensorId,
    }
    updates {}
    with {
        /// f.
        function: Activation,
    }
    activations { y, dy, dx }
}

operation! {
    /// `y = x · keep / (1 − rate)`, where element i is kept if word i of the stream at (seed, epoch,
    /// step) is at least `rate · 2³²` (rounded down). Linear, with a symmetric Jacobian: applied to
    /// a gradient it is the backward rule, applied to a tangent the forward-mode rule.
    Dropout, check: check_dropout
    reads {
        /// Any shape; fewer than 2³² elements.
        x: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {
        /// Share of elements set to zero, in [0, 1).
        rate: f64,
        /// Where the random words come from.
        stream: Stream,
    }
    activations { x, y }
}

operation! {
    /// The sum of two or more tensors.
    Add, check: check_add
    reads {
        /// The summands, of one shape.
        inputs: Vec<TensorId>,
    }
    writes {
        /// Their sum.
        y: TensorId,
    }
    updates {}
    with {}
    activations { inputs, y }
}

operation! {
    /// `y[…, c] = x[…, c] + bias[c]`.
    AddBias, check: check_add_bias
    reads {
        /// Any shape.
        x: TensorId,
        /// `[channels]`: the last axis of `x`.
        bias: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x, y }
}

operation! {
    /// `dbias[c]` is the sum of `dy[…, c]`.
    BiasGrad, check: check_bias_grad
    reads {
        /// Any shape.
        dy: TensorId,
    }
    writes {
        /// `[channels]`: the last axis of `dy`.
        dbias: TensorId,
    }
    updates {}
    with {}
    activations { dy }
}

operation! {
    /// The gradient of a factor for each channel, `y[…, c] = scale[c] x[…, c]`: `dscale[c]` is the sum of
    /// `dy[…, c] x[…, c]`.
    ScaleGrad, check: check_scale_grad
    reads {
        /// Any shape.
        x: TensorId,
        /// The shape of `x`.
        dy: TensorId,
    }
    writes {
        /// `[channels]`: the last axis of `x`.
        dscale: TensorId,
    }
    updates {}
    with {}
    activations { x, dy }
}

fn check_activate(op: &Activate, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.x, DType::Real)?;
    t.expect_like(op.y, op.x)
}

fn check_activate_grad(op: &ActivateGrad, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.y, DType::Real)?;
    t.expect_like(op.dy, op.y)?;
    t.expect_like(op.dx, op.y)
}

fn check_dropout(op: &Dropout, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    t.expect_type(op.x, DType::Real)?;
    if !(0.0..1.0).contains(&op.rate) {
        return Err(format!("a rate of {} is not in [0, 1)", op.rate));
    }
    if u32::try_from(t[op.x].len()).is_err() {
        return Err(format!("`{}` has 2³² elements or more", t[op.x].name));
    }
    t.expect_like(op.y, op.x)
}

fn check_add(op: &Add, t: &Tensors) -> Result<(), String> {
    if op.inputs.len() < 2 {
        return Err(format!("{} summands, expected two or more", op.inputs.len()));
    }
    t.expect_type(op.y, DType::Real)?;
    op.inputs.iter().try_for_each(|&input| t.expect_like(input, op.y))
}

fn check_add_bias(op: &AddBias, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.x, DType::Real)?;
    t.expect(op.bias, &[t.channels(op.x)])?;
    t.expect_like(op.y, op.x)
}

fn check_bias_grad(op: &BiasGrad, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.dy, DType::Real)?;
    t.expect(op.dbias, &[t.channels(op.dy)])
}

fn check_scale_grad(op: &ScaleGrad, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.x, DType::Real)?;
    t.expect_like(op.dy, op.x)?;
    t.expect(op.dscale, &[t.channels(op.x)])
}
