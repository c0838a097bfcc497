//! One optimiser step per parameter, with the arithmetic of `torch.optim`.

use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};

operation! {
    /// The factor that brings the norm of all the gradients together below `max_norm`:
    /// `min(1, max_norm / (‖g‖₂ + 10⁻⁶))`.
    ClipFactor, check: check_clip
    reads {
        /// Gradients of any shapes.
        gradients: Vec<TensorId>,
    }
    writes {
        /// `[1]`.
        factor: TensorId,
    }
    updates {}
    with {
        /// The largest norm that passes unchanged.
        max_norm: f64,
    }
}

operation! {
    /// Stochastic gradient descent: `g ← factor · g + weight_decay · w`, `m ← momentum · m + g`,
    /// `w ← w − rate · m`, or with Nesterov momentum `w ← w − rate · (g + momentum · m)`. The rate is
    /// entry `step` of the table.
    SgdStep, check: check_sgd
    reads {
        /// The shape of the parameter.
        gradient: TensorId,
        /// Learning rates of the epoch's steps, `[n]`; the last one serves beyond the table.
        rates: TensorId,
        /// The step counter.
        counter: TensorId,
        /// `[1]`, see [`ClipFactor`].
        factor: Option<TensorId>,
    }
    writes {}
    updates {
        /// w.
        parameter: TensorId,
        /// m, the shape of the parameter; none where the momentum is 0.
        velocity: Option<TensorId>,
    }
    with {
        /// Momentum, in [0, 1).
        momentum: f64,
        /// Nesterov's form.
        nesterov: bool,
        /// Coupled (L2) weight decay.
        weight_decay: f64,
    }
}

operation! {
    /// Adam (Kingma and Ba 2015) or, decoupled, AdamW (Loshchilov and Hutter 2019). With t the
    /// step counter's time + 1: `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
    /// `w ← w − rate · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)`. Weight decay is added to the gradient,
    /// or, decoupled, `w ← w · (1 − rate · weight_decay)` comes first.
    AdamStep, check: check_adam
    reads {
        /// The shape of the parameter.
        gradient: TensorId,
        /// Learning rates of the epoch's steps, `[n]`; the last one serves beyond the table.
        rates: TensorId,
        /// The step counter.
        counter: TensorId,
        /// `[1]`, see [`ClipFactor`].
        factor: Option<TensorId>,
    }
    writes {}
    updates {
        /// w.
        parameter: TensorId,
        /// m, the shape of the parameter.
        first: TensorId,
        /// v, the shape of the parameter.
        second: TensorId,
    }
    with {
        /// β₁ and β₂.
        betas: [f64; 2],
        /// ε.
        epsilon: f64,
        /// Weight decay.
        weight_decay: f64,
        /// AdamW.
        decoupled: bool,
    }
}

fn check_clip(op: &ClipFactor, t: &Tensors) -> Result<(), String> {
    op.gradients.iter().try_for_each(|&id| t.expect_type(id, DType::Real))?;
    t.expect(op.factor, &[1])
}

fn check_sgd(op: &SgdStep, t: &Tensors) -> Result<(), String> {
    check(t, op.parameter, op.gradient, op.velocity.as_slice(), op.rates, op.counter, op.factor)
}

fn check_adam(op: &AdamStep, t: &Tensors) -> Result<(), String> {
    check(t, op.parameter, op.gradient, &[op.first, op.second], op.rates, op.counter, op.factor)
}

fn check(
    t: &Tensors,
    parameter: TensorId,
    gradient: TensorId,
    state: &[TensorId],
    rates: TensorId,
    counter: TensorId,
    factor: Option<TensorId>,
) -> Result<(), String> {
    t.expect_type(parameter, DType::Real)?;
    t.expect_like(gradient, parameter)?;
    state.iter().try_for_each(|&id| t.expect_like(id, parameter))?;
    t.expect_type(rates, DType::Real)?;
    if t[rates].is_empty() {
        return Err(format!("`{}` is empty", t[rates].name));
    }
    expect_counter(t, counter)?;
    factor.map_or(Ok(()), |factor| t.expect(factor, &[1]))
}
