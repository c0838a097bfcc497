//! Questions that a backend asks before it does several operations at once.

use super::{
    Activate, ActivateGrad, Activation, BatchNormGrad, Kind, Op, Operation, Step, TensorId, Tensors,
};

/// The ReLU that alone reads `y`, where it can be done at once with operation `i`.
pub fn relu_behind<'p>(
    tensors: &Tensors,
    ops: &'p [Op],
    i: usize,
    y: TensorId,
) -> Option<(usize, &'p Activate)> {
    let (j, reader) = only_other(tensors, ops, i, y)?;
    let Op::Activate(relu) = reader else { return None };
    let free = j > i && !ops[i..j].iter().any(|op| touches_any(op, &[relu.y]));
    (relu.function == Activation::Relu && free).then_some((j, relu))
}

/// The one operation beside `i` that touches a temporary, if there is just one.
pub fn only_other<'p>(
    tensors: &Tensors,
    ops: &'p [Op],
    i: usize,
    id: TensorId,
) -> Option<(usize, &'p Op)> {
    if tensors[id].kind != Kind::Temporary {
        return None;
    }
    let mut others = ops.iter().enumerate().filter(|(j, op)| *j != i && touches_any(op, &[id]));
    let other = others.next()?;
    others.next().is_none().then_some(other)
}

/// Whether an operation reads a tensor in one place only.
pub fn reads_once(op: &impl Operation, id: TensorId) -> bool {
    op.reads().into_iter().filter(|read| *read == id).count() == 1
}

/// Whether an operation touches any of these.
pub fn touches_any(op: &Op, ids: &[TensorId]) -> bool {
    op.touches().iter().any(|id| ids.contains(id))
}

/// Whether any of the operations changes any of these.
pub fn changes(ops: &[Op], ids: &[TensorId]) -> bool {
    ops.iter().any(|op| op.writes().iter().chain(&op.updates()).any(|id| ids.contains(id)))
}

/// β of the normalisation whose backward rule is the last of `ops`, if normalising again still gives
/// what the ReLU received: nothing that it takes has changed since. None where the ReLU's output is the gradient too: it
/// is read then all the same.
pub fn beta_of(ops: &[Op], norm: &BatchNormGrad, relu: &ActivateGrad) -> Option<TensorId> {
    let (i, forward) = ops.iter().enumerate().rev().find_map(|(i, op)| match op {
        Op::BatchNorm(op) if op.mean == norm.mean => Some((i, op)),
        _ => None,
    })?;
    let (j, y) = ops.iter().enumerate().rev().find_map(|(j, op)| match op {
        Op::Activate(op) if op.y == relu.y && op.function == Activation::Relu => Some((j, op.x)),
        _ => None,
    })?;
    let same = forward.x == norm.x
        && forward.gamma == norm.gamma
        && forward.inv_std == norm.inv_std
        && forward.y == y;
    let taken = [norm.x, norm.gamma, norm.mean, norm.inv_std, forward.beta];
    let kept = i < j
        && !changes(&ops[i + 1..j], &[y])
        && !changes(&ops[j + 1..], &[relu.y])
        && !changes(&ops[i + 1..], &taken);
    (same && kept && relu.y != relu.dy).then_some(forward.beta)
}
