//! Rewrites of a program: operations that are done in one launch or one pass over memory.
//!
//! A tensor that only passes a result from one operation to the next is not stored then, and has no
//! place in memory.

use lfnn_core::program::rewrite::Uses;
use lfnn_core::program::{
    Activation, AdamStep, Node, Op, Operation, SgdStep, Step, TensorId, Tensors,
};

use super::Element;
use super::fuse_norm::{Inference, Norm, NormGrad};
use super::roles::real_of;
use super::scale::Scales;
use super::unit;

/// One or more operations that are lowered together.
pub(super) enum Group<'p> {
    /// An operation alone.
    Single(&'p Op),
    /// Batch normalisation with its neighbours.
    Norm(Norm<'p>),
    /// The same in prediction.
    Inference(Inference<'p>),
    /// The same backwards.
    NormGrad(NormGrad<'p>),
    /// Steps of stochastic gradient descent with one clock, rate and factor, whatever their parameters.
    Sgd(Vec<&'p SgdStep>),
    /// The same of Adam.
    Adam(Vec<&'p AdamStep>),
    /// Small operations between a unit's logits and their gradient, in order.
    Unit(Vec<&'p Op>),
    /// All steps of optimisers on gradients of one scaled loss.
    Scaled(Vec<Group<'p>>),
}

impl<'p> Group<'p> {
    /// The name of its steps in messages and profiles.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Group::Single(op) => op.name(),
            Group::Norm(of) => of.name(),
            Group::Inference(of) => of.name(),
            Group::NormGrad(of) => of.name(),
            Group::Sgd(_) => "SgdStep",
            Group::Adam(_) => "AdamStep",
            Group::Unit(_) => "unit's losses",
            Group::Scaled(_) => "scaled steps",
        }
    }

    /// What stands for `real` in its kernels: half precision if any of its operations works in it.
    pub(super) fn real(&self, elements: &[Element]) -> Element {
        let any = |ops: Vec<Op>| {
            let mut reals = ops.iter().map(|op| real_of(op, elements));
            reals.find(|&real| real != Element::F32).unwrap_or(Element::F32)
        };
        match self {
            Group::Single(op) => real_of(op, elements),
            Group::Norm(of) => any(of.operations()),
            Group::Inference(of) => any(of.operations()),
            Group::NormGrad(of) => any(of.operations()),
            Group::Unit(ops) => any(ops.iter().map(|&op| op.clone()).collect()),
            Group::Sgd(_) | Group::Adam(_) | Group::Scaled(_) => Element::F32,
        }
    }

    /// What it reads and writes, for its schedule.
    pub(super) fn node(&self) -> Node {
        let passed = match self {
            Group::Norm(of) => of.passed(),
            Group::Inference(of) => of.passed(),
            Group::NormGrad(of) => of.passed(),
            _ => Vec::new(),
        };
        let operations = self.operations();
        let mut node = Node::of(operations.iter().map(|op| op as &dyn Operation));
        for ids in [&mut node.reads, &mut node.writes] {
            ids.retain(|id| !passed.contains(id));
        }
        if let Group::NormGrad(NormGrad { beta: Some(beta), .. }) = self {
            node.reads.push(*beta);
        }
        node
    }

    /// Its operations in order.
    pub(super) fn operations(&self) -> Vec<Op> {
        match self {
            Group::Single(op) => vec![(*op).clone()],
            Group::Norm(of) => of.operations(),
            Group::Inference(of) => of.operations(),
            Group::NormGrad(of) => of.operations(),
            Group::Unit(ops) => ops.iter().map(|&op| op.clone()).collect(),
            Group::Sgd(ops) => ops.iter().map(|&op| op.clone().into()).collect(),
            Group::Adam(ops) => ops.iter().map(|&op| op.clone().into()).collect(),
            Group::Scaled(groups) => groups.iter().flat_map(Group::operations).collect(),
        }
    }

    /// The first parameter that it changes, the clock and the learning rates, if it is an optimiser's.
    pub(super) fn schedule(&self) -> Option<(TensorId, TensorId, TensorId)> {
        match self {
            Group::Sgd(ops) => ops.first().map(|op| (op.parameter, op.clock, op.rates)),
            Group::Adam(ops) => ops.first().map(|op| (op.parameter, op.clock, op.rates)),
            _ => None,
        }
    }

    fn from_op(op: &'p Op) -> Self {
        match op {
            Op::SgdStep(op) => Group::Sgd(vec![op]),
            Op::AdamStep(op) => Group::Adam(vec![op]),
            _ => Group::Single(op),
        }
    }

    /// Takes another group's small operations or steps of an optimiser into this one, or gives the group back.
    fn join(&mut self, other: Group<'p>, tensors: &Tensors) -> Option<Group<'p>> {
        if let Group::Single(op) = other {
            let small = |op| unit::is_small(op, tensors);
            match self {
                Group::Single(first) if small(first) && small(op) => {
                    *self = Group::Unit(vec![*first, op]);
                    return None;
                }
                Group::Unit(ops) if ops.len() < unit::MOST_TASKS && small(op) => {
                    ops.push(op);
                    return None;
                }
                _ => return Some(other),
            }
        }
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

/// Rewrites the operations of a program, of which those on one scaled loss stand together.
pub(super) fn fuse<'p>(tensors: &'p Tensors, ops: &'p [Op], scales: &Scales) -> Vec<Group<'p>> {
    let uses = &Uses::new(tensors, ops);
    let mut steps: Vec<Option<Group<'p>>> = ops.iter().map(|op| Some(Group::from_op(op))).collect();
    for (i, op) in ops.iter().enumerate() {
        match op {
            // What follows comes forward to the normalisation, and what makes its input waits for it.
            Op::BatchNorm(norm) => {
                if let Some((group, taken)) = Norm::at(uses, i, norm) {
                    taken.into_iter().for_each(|j| steps[j] = None);
                    steps[i] = Some(Group::Norm(group));
                }
            }
            Op::BatchNormInference(norm) => {
                if let Some((group, taken)) = Inference::at(uses, i, norm) {
                    taken.into_iter().for_each(|j| steps[j] = None);
                    steps[i] = Some(Group::Inference(group));
                }
            }
            // What comes before waits for the normalisation's backward rule.
            Op::ActivateGrad(relu) if relu.function == Activation::Relu => {
                if let Some((j, group, taken)) = NormGrad::behind(uses, i, relu) {
                    taken.into_iter().for_each(|k| steps[k] = None);
                    steps[j] = Some(Group::NormGrad(group));
                }
            }
            _ => {}
        }
    }
    // How many steps touch each tensor.
    let mut touching = vec![0usize; tensors.len()];
    for node in steps.iter().flatten().map(Group::node) {
        let mut ids = node.uses();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| touching[id.index()] += 1);
    }
    for step in &mut steps {
        let behind = match step {
            Some(Group::Norm(Norm { behind: Some(behind), .. })) => behind,
            Some(Group::Inference(Inference { behind, .. })) => behind,
            _ => continue,
        };
        // It touches its own, as it is still stored.
        behind.store_if(tensors, |y| touching[y.index()] > 1);
    }
    let scale = |group: &Group<'p>| group.schedule().and_then(|(id, ..)| scales.of(id));
    let mut groups: Vec<Group<'p>> = Vec::with_capacity(steps.len());
    for group in steps.into_iter().flatten() {
        let rest = match groups.last_mut() {
            Some(last) if scale(last) == scale(&group) => last.join(group, tensors),
            _ => Some(group),
        };
        groups.extend(rest);
    }
    let mut all: Vec<Group<'p>> = Vec::with_capacity(groups.len());
    let mut last = None;
    for group in groups {
        let number = scale(&group);
        match (number, all.last_mut()) {
            (Some(_), Some(Group::Scaled(steps))) if number == last => steps.push(group),
            (Some(_), _) => all.push(Group::Scaled(vec![group])),
            (None, _) => all.push(group),
        }
        last = number;
    }
    all
}

/// Whether an operation touches nothing that earlier ones change, and changes nothing that they touch.
fn independent<O: Operation>(op: &O, earlier: &[&O]) -> bool {
    let changed = |op: &O| [op.writes(), op.updates()].concat();
    let (mine, touched) = (changed(op), op.uses());
    !earlier.iter().any(|other| {
        changed(other).iter().any(|id| touched.contains(id))
            || other.uses().iter().any(|id| mine.contains(id))
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
