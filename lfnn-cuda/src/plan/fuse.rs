//! Rewrites of a program: operations that are done in one launch or one pass over memory.
//!
//! A tensor that only passes a result from one operation to the next is not stored then, and has no
//! place in memory.

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdamStep, BatchNorm, BatchNormGrad, BatchNormInference,
    Kind, Op, Operation, SgdStep, Step, TensorId, Tensors,
};

use super::Element;
use super::roles::real_of;
use super::schedule::Node;

/// One or more operations that are lowered together.
pub(super) enum Group<'p> {
    /// An operation alone.
    Single(&'p Op),
    /// Batch normalisation and the ReLU behind it, which alone reads the result.
    Norm(&'p BatchNorm, &'p Activate),
    /// The same in prediction.
    Inference(&'p BatchNormInference, &'p Activate),
    /// The backward rules of the two, the ReLU's first.
    NormGrad(&'p BatchNormGrad, &'p ActivateGrad),
    /// Steps of stochastic gradient descent with one clock, rate and factor, whatever their parameters.
    Sgd(Vec<&'p SgdStep>),
    /// The same of Adam.
    Adam(Vec<&'p AdamStep>),
}

impl<'p> Group<'p> {
    /// The name of its steps in messages and profiles.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Group::Single(op) => op.name(),
            Group::Norm(..) => "BatchNorm + Relu",
            Group::Inference(..) => "BatchNormInference + Relu",
            Group::NormGrad(..) => "ReluGrad + BatchNormGrad",
            Group::Sgd(_) => "SgdStep",
            Group::Adam(_) => "AdamStep",
        }
    }

    /// What stands for `real` in its kernels: half precision if any of its operations works in it.
    pub(super) fn real(&self, elements: &[Element]) -> Element {
        let both = |a: Op, b: Op| match real_of(&a, elements) {
            Element::F32 => real_of(&b, elements),
            half => half,
        };
        match self {
            Group::Single(op) => real_of(op, elements),
            Group::Norm(norm, relu) => both((*norm).clone().into(), (*relu).clone().into()),
            Group::Inference(norm, relu) => both((*norm).clone().into(), (*relu).clone().into()),
            Group::NormGrad(norm, relu) => both((*norm).clone().into(), (*relu).clone().into()),
            Group::Sgd(_) | Group::Adam(_) => Element::F32,
        }
    }

    /// What it reads and writes, for its schedule.
    pub(super) fn node(&self, tensors: &Tensors) -> Node {
        let (operations, passed): (Vec<&dyn Operation>, _) = match self {
            Group::Single(op) => (vec![*op], None),
            Group::Norm(norm, relu) => (vec![*norm, *relu], Some(norm.y)),
            Group::Inference(norm, relu) => (vec![*norm, *relu], Some(norm.y)),
            Group::NormGrad(norm, relu) => (vec![*norm, *relu], Some(norm.dy)),
            Group::Sgd(ops) => (ops.iter().map(|&op| op as _).collect(), None),
            Group::Adam(ops) => (ops.iter().map(|&op| op as _).collect(), None),
        };
        let mut node = Node::of(&operations, tensors);
        for ids in [&mut node.reads, &mut node.writes] {
            ids.retain(|id| Some(*id) != passed);
        }
        node
    }

    fn from_op(op: &'p Op) -> Self {
        match op {
            Op::SgdStep(op) => Group::Sgd(vec![op]),
            Op::AdamStep(op) => Group::Adam(vec![op]),
            _ => Group::Single(op),
        }
    }

    /// Takes another group's steps of an optimiser into this one, or gives the group back.
    fn join(&mut self, other: Group<'p>) -> Option<Group<'p>> {
        match (self, &other) {
            (Group::Sgd(ops), Group::Sgd(more)) => {
                let same = |op| same_sgd(op, ops[0]) && independent(op, ops);
                if ops.len() < MOST_TENSORS && more.iter().all(|op| same(op)) {
                    ops.extend(more);
                    return None;
                }
            }
            (Group::Adam(ops), Group::Adam(more)) => {
                let same = |op| same_adam(op, ops[0]) && independent(op, ops);
                if ops.len() < MOST_TENSORS && more.iter().all(|op| same(op)) {
                    ops.extend(more);
                    return None;
                }
            }
            _ => {}
        }
        Some(other)
    }
}

/// Most tensors of one launch of an optimiser: the table of their places is passed by value.
pub(super) const MOST_TENSORS: usize = 32;

/// Rewrites the operations of a program.
pub(super) fn fuse<'p>(tensors: &Tensors, ops: &'p [Op]) -> Vec<Group<'p>> {
    let mut steps: Vec<Option<Group<'p>>> = ops.iter().map(|op| Some(Group::from_op(op))).collect();
    for (i, op) in ops.iter().enumerate() {
        match op {
            // What follows comes forward to the normalisation.
            Op::BatchNorm(norm) => {
                if let Some((j, relu)) = relu_behind(tensors, ops, i, norm.y) {
                    (steps[i], steps[j]) = (Some(Group::Norm(norm, relu)), None);
                }
            }
            Op::BatchNormInference(norm) => {
                if let Some((j, relu)) = relu_behind(tensors, ops, i, norm.y) {
                    (steps[i], steps[j]) = (Some(Group::Inference(norm, relu)), None);
                }
            }
            // What comes before waits for the normalisation's backward rule.
            Op::ActivateGrad(relu) if relu.function == Activation::Relu => {
                if let Some((j, Op::BatchNormGrad(norm))) = only_other(tensors, ops, i, relu.dx)
                    && j > i
                    && norm.dy == relu.dx
                    && norm.reads().iter().filter(|&&id| id == relu.dx).count() == 1
                    && !changes(&ops[i + 1..=j], &[relu.y, relu.dy])
                {
                    (steps[i], steps[j]) = (None, Some(Group::NormGrad(norm, relu)));
                }
            }
            _ => {}
        }
    }
    let mut groups: Vec<Group<'p>> = Vec::with_capacity(steps.len());
    for group in steps.into_iter().flatten() {
        let rest = match groups.last_mut() {
            Some(last) => last.join(group),
            None => Some(group),
        };
        groups.extend(rest);
    }
    groups
}

/// The ReLU that alone reads `y`, where it can be done at once with operation `i`.
fn relu_behind<'p>(
    tensors: &Tensors,
    ops: &'p [Op],
    i: usize,
    y: TensorId,
) -> Option<(usize, &'p Activate)> {
    let (j, reader) = only_other(tensors, ops, i, y)?;
    let Op::Activate(relu) = reader else { return None };
    let free = j > i && !ops[i..j].iter().any(|op| op.touches().contains(&relu.y));
    (relu.function == Activation::Relu && free).then_some((j, relu))
}

/// The one operation beside `i` that touches a temporary, if there is just one.
fn only_other<'p>(
    tensors: &Tensors,
    ops: &'p [Op],
    i: usize,
    id: TensorId,
) -> Option<(usize, &'p Op)> {
    if tensors[id].kind != Kind::Temporary {
        return None;
    }
    let mut others = ops.iter().enumerate().filter(|(j, op)| *j != i && op.touches().contains(&id));
    let other = others.next()?;
    others.next().is_none().then_some(other)
}

/// Whether any of the operations changes any of these.
fn changes(ops: &[Op], ids: &[TensorId]) -> bool {
    ops.iter().any(|op| op.writes().iter().chain(&op.updates()).any(|id| ids.contains(id)))
}

/// Whether an operation touches nothing that earlier ones change, and changes nothing that they touch.
fn independent<O: Operation>(op: &O, earlier: &[&O]) -> bool {
    let changed = |op: &O| [op.writes(), op.updates()].concat();
    let (mine, touched) = (changed(op), op.touches());
    !earlier.iter().any(|other| {
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
