//! Rewrites of a program: operations that are done in one launch or one pass over memory.
//!
//! A tensor that only passes a result from one operation to the next is not stored then, and has no
//! place in memory.

use lfnn_core::program::rewrite::{changes, only_other, reads_once, relu_behind, touches_any};
use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdamStep, BatchNorm, BatchNormGrad, BatchNormInference,
    Conv2d, Op, Operation, SgdStep, Step, TensorId, Tensors,
};

use super::Element;
use super::roles::real_of;
use super::scale::Scales;
use super::schedule::Node;

/// One or more operations that are lowered together.
pub(super) enum Group<'p> {
    /// An operation alone.
    Single(&'p Op),
    /// Batch normalisation with its neighbours.
    Norm(Norm<'p>),
    /// The same in prediction.
    Inference(&'p BatchNormInference, &'p Activate),
    /// The backward rules of the two, the ReLU's first.
    NormGrad(&'p BatchNormGrad, &'p ActivateGrad),
    /// Steps of stochastic gradient descent with one clock, rate and factor, whatever their parameters.
    Sgd(Vec<&'p SgdStep>),
    /// The same of Adam.
    Adam(Vec<&'p AdamStep>),
    /// All steps of optimisers on gradients of one scaled loss.
    Scaled(Vec<Group<'p>>),
}

/// Batch normalisation with the operations around it that are done with it.
pub(super) struct Norm<'p> {
    /// The convolution that makes its input. The blocks that have a tile of that take the moments of its channels.
    pub(super) conv: Option<&'p Conv2d>,
    pub(super) norm: &'p BatchNorm,
    /// The ReLU behind it, which alone reads the result.
    pub(super) relu: Option<&'p Activate>,
}

impl<'p> Norm<'p> {
    /// The normalisation at `i`, if something can be done with it, and where that stands.
    fn around(
        tensors: &Tensors,
        ops: &'p [Op],
        i: usize,
        norm: &'p BatchNorm,
    ) -> Option<(Self, Vec<usize>)> {
        let conv = conv_before(ops, i, norm.x);
        let relu = relu_behind(tensors, ops, i, norm.y);
        let taken: Vec<usize> =
            [conv.map(|(k, _)| k), relu.map(|(j, _)| j)].into_iter().flatten().collect();
        let group = Self { conv: conv.map(|(_, op)| op), norm, relu: relu.map(|(_, op)| op) };
        (!taken.is_empty()).then_some((group, taken))
    }

    /// Its operations in order.
    fn operations(&self) -> Vec<&'p dyn Operation> {
        let mut all: Vec<&dyn Operation> = Vec::new();
        all.extend(self.conv.map(|op| op as &dyn Operation));
        all.push(self.norm);
        all.extend(self.relu.map(|op| op as &dyn Operation));
        all
    }

    fn ops(&self) -> Vec<Op> {
        let mut all: Vec<Op> = vec![self.norm.clone().into()];
        all.extend(self.conv.map(|op| op.clone().into()));
        all.extend(self.relu.map(|op| op.clone().into()));
        all
    }
}

/// The convolution that makes `x` for operation `i`, where it can wait for that.
fn conv_before(ops: &[Op], i: usize, x: TensorId) -> Option<(usize, &Conv2d)> {
    let k = ops[..i].iter().rposition(|op| touches_any(op, &[x]))?;
    let Op::Conv2d(conv) = &ops[k] else { return None };
    let given: Vec<TensorId> = [conv.x, conv.weight].into_iter().chain(conv.bias).collect();
    (conv.y == x && conv.x != x && !changes(&ops[k + 1..i], &given)).then_some((k, conv))
}

impl<'p> Group<'p> {
    /// The name of its steps in messages and profiles.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Group::Single(op) => op.name(),
            Group::Norm(Norm { conv: None, .. }) => "BatchNorm + Relu",
            Group::Norm(Norm { relu: None, .. }) => "Conv2d + BatchNorm",
            Group::Norm(_) => "Conv2d + BatchNorm + Relu",
            Group::Inference(..) => "BatchNormInference + Relu",
            Group::NormGrad(..) => "ReluGrad + BatchNormGrad",
            Group::Sgd(_) => "SgdStep",
            Group::Adam(_) => "AdamStep",
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
            Group::Norm(of) => any(of.ops()),
            Group::Inference(norm, relu) => {
                any(vec![(*norm).clone().into(), (*relu).clone().into()])
            }
            Group::NormGrad(norm, relu) => {
                any(vec![(*norm).clone().into(), (*relu).clone().into()])
            }
            Group::Sgd(_) | Group::Adam(_) | Group::Scaled(_) => Element::F32,
        }
    }

    /// What it reads and writes, for its schedule.
    pub(super) fn node(&self, tensors: &Tensors) -> Node {
        let passed = match self {
            Group::Norm(of) => of.relu.map(|_| of.norm.y),
            Group::Inference(norm, _) => Some(norm.y),
            Group::NormGrad(norm, _) => Some(norm.dy),
            _ => None,
        };
        let mut node = Node::of(&self.operations(), tensors);
        for ids in [&mut node.reads, &mut node.writes] {
            ids.retain(|id| Some(*id) != passed);
        }
        node
    }

    fn operations(&self) -> Vec<&'p dyn Operation> {
        match self {
            Group::Single(op) => vec![*op],
            Group::Norm(of) => of.operations(),
            Group::Inference(norm, relu) => vec![*norm, *relu],
            Group::NormGrad(norm, relu) => vec![*norm, *relu],
            Group::Sgd(ops) => ops.iter().map(|&op| op as _).collect(),
            Group::Adam(ops) => ops.iter().map(|&op| op as _).collect(),
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

/// Rewrites the operations of a program, of which those on one scaled loss stand together.
pub(super) fn fuse<'p>(tensors: &Tensors, ops: &'p [Op], scales: &Scales) -> Vec<Group<'p>> {
    let mut steps: Vec<Option<Group<'p>>> = ops.iter().map(|op| Some(Group::from_op(op))).collect();
    for (i, op) in ops.iter().enumerate() {
        match op {
            // What follows comes forward to the normalisation, and what makes its input waits for it.
            Op::BatchNorm(norm) => {
                if let Some((group, taken)) = Norm::around(tensors, ops, i, norm) {
                    taken.into_iter().for_each(|j| steps[j] = None);
                    steps[i] = Some(Group::Norm(group));
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
                    && reads_once(norm, relu.dx)
                    && !changes(&ops[i + 1..=j], &[relu.y, relu.dy])
                {
                    (steps[i], steps[j]) = (None, Some(Group::NormGrad(norm, relu)));
                }
            }
            _ => {}
        }
    }
    let scale = |group: &Group<'p>| group.schedule().and_then(|(id, ..)| scales.of(id));
    let mut groups: Vec<Group<'p>> = Vec::with_capacity(steps.len());
    for group in steps.into_iter().flatten() {
        let rest = match groups.last_mut() {
            Some(last) if scale(last) == scale(&group) => last.join(group),
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
