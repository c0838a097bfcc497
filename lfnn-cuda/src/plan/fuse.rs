//! Rewrites of a program: operations that are done in one launch or one pass over memory.

use lfnn_core::program::{AdamStep, Op, Operation, SgdStep, Step, Tensors};

use super::Element;
use super::roles::real_of;
use super::schedule::Node;

/// One or more operations that are lowered together.
pub(super) enum Group<'p> {
    /// An operation alone.
    Single(&'p Op),
    /// Steps of stochastic gradient descent with one clock, rate and factor, whatever their parameters.
    Sgd(Vec<&'p SgdStep>),
    /// The same of Adam.
    Adam(Vec<&'p AdamStep>),
}

impl Group<'_> {
    /// The name of its steps in messages and profiles.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Group::Single(op) => op.name(),
            Group::Sgd(_) => "SgdStep",
            Group::Adam(_) => "AdamStep",
        }
    }

    /// What stands for `real` in its kernels.
    pub(super) fn real(&self, elements: &[Element], tensors: &Tensors) -> Element {
        match self {
            Group::Single(op) => real_of(op, elements, tensors),
            Group::Sgd(_) | Group::Adam(_) => Element::F32,
        }
    }

    /// What it reads and writes, for its schedule.
    pub(super) fn node(&self, tensors: &Tensors) -> Node {
        match self {
            Group::Single(op) => Node::of(&[*op], tensors),
            Group::Sgd(ops) => Node::of(&dynamic(ops), tensors),
            Group::Adam(ops) => Node::of(&dynamic(ops), tensors),
        }
    }
}

fn dynamic<'p, O: Operation>(ops: &[&'p O]) -> Vec<&'p dyn Operation> {
    ops.iter().map(|&op| op as &dyn Operation).collect()
}

/// Most tensors of one launch of an optimiser: the table of their places is passed by value.
pub(super) const MOST_TENSORS: usize = 32;

/// Rewrites the operations of a program.
pub(super) fn fuse<'p>(_tensors: &Tensors, ops: &'p [Op]) -> Vec<Group<'p>> {
    let mut groups: Vec<Group<'p>> = Vec::with_capacity(ops.len());
    for op in ops {
        match (op, groups.last_mut()) {
            (Op::SgdStep(op), Some(Group::Sgd(ops)))
                if ops.len() < MOST_TENSORS
                    && same_sgd(op, ops[0])
                    && independent(op, ops.iter().copied()) =>
            {
                ops.push(op);
            }
            (Op::AdamStep(op), Some(Group::Adam(ops)))
                if ops.len() < MOST_TENSORS
                    && same_adam(op, ops[0])
                    && independent(op, ops.iter().copied()) =>
            {
                ops.push(op);
            }
            (Op::SgdStep(op), _) => groups.push(Group::Sgd(vec![op])),
            (Op::AdamStep(op), _) => groups.push(Group::Adam(vec![op])),
            _ => groups.push(Group::Single(op)),
        }
    }
    groups
}

/// Whether an operation touches nothing that earlier ones change, and changes nothing that they touch.
fn independent<'p, O: Operation + 'p>(op: &O, mut earlier: impl Iterator<Item = &'p O>) -> bool {
    let changed = |op: &O| [op.writes(), op.updates()].concat();
    let (mine, touched) = (changed(op), op.touches());
    !earlier.any(|other| {
        changed(other).iter().any(|id| touched.contains(id))
            || other.touches().iter().any(|id| mine.contains(id))
    })
}

/// Whether two steps differ in their tensors alone.
fn same_sgd(a: &SgdStep, b: &SgdStep) -> bool {
    a.rates == b.rates
        && a.clock == b.clock
        && a.factor == b.factor
        && a.momentum == b.momentum
        && a.nesterov == b.nesterov
        && a.weight_decay == b.weight_decay
}

/// As [`same_sgd`].
fn same_adam(a: &AdamStep, b: &AdamStep) -> bool {
    a.rates == b.rates
        && a.clock == b.clock
        && a.factor == b.factor
        && a.betas == b.betas
        && a.epsilon == b.epsilon
        && a.weight_decay == b.weight_decay
        && a.decoupled == b.decoupled
}
