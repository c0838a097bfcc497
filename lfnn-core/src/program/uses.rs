//! What fusion asks before it does several operations at once: which operations touch and change a tensor.

use std::ops::Range;

use super::{
    Activate, ActivateGrad, Activation, BatchNormGrad, Op, Operation, Step, TensorId, Tensors,
};

/// Which operations of a program touch and change each tensor. It is made once, so that no question costs
/// a walk over the program.
#[derive(Debug)]
pub(super) struct Uses<'p> {
    tensors: &'p Tensors,
    ops: &'p [Op],
    /// For each tensor, the positions of the operations that touch it, ascending.
    touched: Vec<Vec<usize>>,
    /// For each tensor, the positions of those that change it, ascending.
    changed: Vec<Vec<usize>>,
}

impl<'p> Uses<'p> {
    /// The uses of a program set's tensors in the operations of a program.
    pub(super) fn new(tensors: &'p Tensors, ops: &'p [Op]) -> Self {
        let (mut touched, mut changed) =
            (vec![Vec::new(); tensors.len()], vec![Vec::new(); tensors.len()]);
        let note = |lists: &mut Vec<Vec<usize>>, ids: Vec<TensorId>, at: usize| {
            for id in ids {
                let list: &mut Vec<usize> = &mut lists[id.index()];
                if list.last() != Some(&at) {
                    list.push(at);
                }
            }
        };
        for (at, op) in ops.iter().enumerate() {
            note(&mut touched, op.uses(), at);
            note(&mut changed, [op.writes(), op.updates()].concat(), at);
        }
        Self { tensors, ops, touched, changed }
    }

    /// The operations that touch a tensor, ascending, each with its position.
    pub(super) fn of(&self, id: TensorId) -> impl DoubleEndedIterator<Item = (usize, &'p Op)> {
        self.touched[id.index()].iter().map(|&at| (at, &self.ops[at]))
    }

    /// Whether any operation in a range touches any of these.
    pub(super) fn uses(&self, range: Range<usize>, ids: &[TensorId]) -> bool {
        ids.iter().any(|id| any_within(&self.touched[id.index()], &range))
    }

    /// Whether any operation in a range changes any of these.
    pub(super) fn changes(&self, range: Range<usize>, ids: &[TensorId]) -> bool {
        ids.iter().any(|id| any_within(&self.changed[id.index()], &range))
    }

    /// The one operation beside `i` that touches a temporary, if there is just one.
    pub(super) fn only_other(&self, i: usize, id: TensorId) -> Option<(usize, &'p Op)> {
        if self.tensors[id].is_persistent() {
            return None;
        }
        let mut others = self.of(id).filter(|(j, _)| *j != i);
        let other = others.next()?;
        others.next().is_none().then_some(other)
    }

    /// The ReLU that alone reads `y`, where it can be done at once with operation `i`.
    pub(super) fn fusable_relu(&self, i: usize, y: TensorId) -> Option<(usize, &'p Activate)> {
        let (j, reader) = self.only_other(i, y)?;
        let Op::Activate(relu) = reader else { return None };
        let free = j > i && !self.uses(i..j, &[relu.y]);
        (relu.function == Activation::Relu && free).then_some((j, relu))
    }

    /// β of the normalisation whose backward rule is operation `at`, if normalising again still gives what
    /// the ReLU received: nothing that it takes has changed since. None where the ReLU's output is the
    /// gradient too: it is read then all the same.
    pub(super) fn beta_of(
        &self,
        at: usize,
        norm: &BatchNormGrad,
        relu: &ActivateGrad,
    ) -> Option<TensorId> {
        let end = at + 1;
        let before = |id: TensorId| self.of(id).rev().filter(move |(i, _)| *i < end);
        let (i, forward) = before(norm.mean).find_map(|(i, op)| match op {
            Op::BatchNorm(op) if op.mean == norm.mean => Some((i, op)),
            _ => None,
        })?;
        let (j, y) = before(relu.y).find_map(|(j, op)| match op {
            Op::Activate(op) if op.y == relu.y && op.function == Activation::Relu => {
                Some((j, op.x))
            }
            _ => None,
        })?;
        let same = forward.x == norm.x
            && forward.gamma == norm.gamma
            && forward.inv_std == norm.inv_std
            && forward.y == y;
        let taken = [norm.x, norm.gamma, norm.mean, norm.inv_std, forward.beta];
        let kept = i < j
            && !self.changes(i + 1..j, &[y])
            && !self.changes(j + 1..end, &[relu.y])
            && !self.changes(i + 1..end, &taken);
        (same && kept && relu.y != relu.dy).then_some(forward.beta)
    }
}

fn any_within(positions: &[usize], range: &Range<usize>) -> bool {
    let at = positions.partition_point(|&position| position < range.start);
    positions.get(at).is_some_and(|&position| position < range.end)
}

/// Whether an operation reads a tensor in one place only.
pub(super) fn reads_once(op: &impl Operation, id: TensorId) -> bool {
    op.reads().into_iter().filter(|read| *read == id).count() == 1
}
