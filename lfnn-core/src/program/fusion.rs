//! Which operations of a program a backend does at once.
//!
//! A tensor that only passes a result from one operation to the next is not stored then, and takes no memory. [`fuse`]
//! finds every such pattern, for all backends. A backend says with [`Capabilities`] for which patterns it has kernels,
//! and turns each [`FusedOp`] into a kernel or a few:
//!
//! | [`Fusion`] | operations, in order; those in brackets may be missing |
//! |---|---|
//! | `Conv2d`, `Linear` | the product and the ReLU of its result |
//! | `BatchNorm` | (`Conv2d`), the normalisation, (an [`Epilogue`]: ReLU, (poolings)) |
//! | `BatchNormInference` | the normalisation, an [`Epilogue`] |
//! | `BatchNormGrad` | (an [`Upstream`] gradient), the ReLU's backward rule, the normalisation's |
//! | `Single` | an operation alone |
//!
//! Operations that are not fused in this way may still share a launch with their neighbours: see [`sequences`].
//!
//! A fused operation has the position of its product or normalisation: the operations behind it come forward, those
//! before it wait. The analysis makes sure that nothing between reads or changes what they need.

use super::uses::{Uses, reads_once};
use super::{
    Activate, ActivateGrad, Activation, AdamStep, AdaptiveAvgPool, AdaptiveAvgPoolGrad, BatchNorm,
    BatchNormGrad, BatchNormInference, Conv2d, FilterLogitsGrad, Linear, MaxPool, MaxPoolGrad,
    Node, Op, Operation, SgdStep, Step, TensorId, Tensors,
};

/// What a backend has kernels for. Nothing is fused but what it says.
pub trait Capabilities {
    /// Whether the kernel of this convolution, linear map or normalisation applies the ReLU of its result.
    fn relu(&self, _producer: &Op) -> bool {
        false
    }

    /// Whether the kernel of this convolution also takes the moments of its result for the [`BatchNorm`] that follows.
    fn moments(&self, _conv: &Conv2d) -> bool {
        false
    }

    /// Whether the kernel of a normalisation and its ReLU does this [`MaxPool`] or [`AdaptiveAvgPool`] of their result.
    fn pooling(&self, _pooling: &Op) -> bool {
        false
    }

    /// Whether the kernel of [`BatchNormGrad`] applies the ReLU's backward rule to the gradient that it receives.
    fn relu_grad(&self) -> bool {
        false
    }

    /// Whether it also computes the gradient that this rule would write.
    fn upstream(&self, _gradient: Upstream<'_>) -> bool {
        false
    }
}

/// One or more operations that a backend does at once.
#[derive(Clone, Debug)]
pub struct FusedOp<'p> {
    /// Positions of its operations in the program, ascending.
    pub ops: Vec<usize>,
    /// What they are to one another.
    pub fusion: Fusion<'p>,
    /// What it reads and writes, without what only passes between its operations.
    pub node: Node,
}

/// A pattern of operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Fusion<'p> {
    /// An operation alone.
    Single(&'p Op),
    /// A convolution and the ReLU of its result.
    Conv2d(&'p Conv2d, &'p Activate),
    /// A linear map and the ReLU of its result.
    Linear(&'p Linear, &'p Activate),
    /// Batch normalisation in training: with the convolution that computes its input, an epilogue, or both.
    BatchNorm {
        /// The normalisation.
        norm: &'p BatchNorm,
        /// The convolution, whose result is stored all the same.
        conv: Option<&'p Conv2d>,
        /// What follows the normalisation.
        epilogue: Option<Epilogue<'p>>,
    },
    /// Batch normalisation in prediction.
    BatchNormInference(&'p BatchNormInference, Epilogue<'p>),
    /// The backward rule of batch normalisation with that of the ReLU behind it.
    BatchNormGrad(FusedNormGrad<'p>),
}

/// The ReLU that alone reads the result of a normalisation, and poolings of its output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue<'p> {
    /// The ReLU.
    pub relu: &'p Activate,
    /// Maximum pooling of its output.
    pub max_pool: Option<&'p MaxPool>,
    /// Adaptive average pooling of its output.
    pub adaptive_pool: Option<&'p AdaptiveAvgPool>,
    /// Whether the ReLU's output is stored: not where these poolings alone read it.
    pub stored: bool,
}

impl Epilogue<'_> {
    /// Whether the ReLU's output is pooled.
    pub fn pools(&self) -> bool {
        self.max_pool.is_some() || self.adaptive_pool.is_some()
    }
}

/// The backward rules that are done with batch normalisation's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusedNormGrad<'p> {
    /// The normalisation's rule.
    pub norm: &'p BatchNormGrad,
    /// The rule of the ReLU behind the normalisation.
    pub relu: &'p ActivateGrad,
    /// What computes the gradient of the ReLU's output, which is not stored then.
    pub upstream: Option<Upstream<'p>>,
    /// The normalisation's β, where the sign of the ReLU's output is found by normalising again: the
    /// output need not be read, and often need not be kept.
    pub beta: Option<TensorId>,
}

/// A backward rule that spreads a small gradient over an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Upstream<'p> {
    /// Of maximum pooling.
    MaxPool(&'p MaxPoolGrad),
    /// Of adaptive average pooling.
    AdaptiveAvgPool(&'p AdaptiveAvgPoolGrad),
    /// Of the logits of filter workers.
    FilterLogits(&'p FilterLogitsGrad),
}

impl Upstream<'_> {
    /// The gradient of the image.
    pub fn dx(self) -> TensorId {
        match self {
            Self::MaxPool(op) => op.dx,
            Self::AdaptiveAvgPool(op) => op.dx,
            Self::FilterLogits(op) => op.dx,
        }
    }
}

impl<'p> Fusion<'p> {
    /// The name in messages and profiles.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Single(op) => op.name(),
            Self::Conv2d(..) => "Conv2d + Relu",
            Self::Linear(..) => "Linear + Relu",
            Self::BatchNorm { conv, epilogue, .. } => match (conv, epilogue) {
                (None, Some(epilogue)) if epilogue.pools() => "BatchNorm + Relu + pooling",
                (None, _) => "BatchNorm + Relu",
                (Some(_), None) => "Conv2d + BatchNorm",
                (Some(_), Some(epilogue)) if epilogue.pools() => {
                    "Conv2d + BatchNorm + Relu + pooling"
                }
                (Some(_), Some(_)) => "Conv2d + BatchNorm + Relu",
            },
            Self::BatchNormInference(_, epilogue) if epilogue.pools() => {
                "BatchNormInference + Relu + pooling"
            }
            Self::BatchNormInference(..) => "BatchNormInference + Relu",
            Self::BatchNormGrad(grad) => match grad.upstream {
                None => "ReluGrad + BatchNormGrad",
                Some(Upstream::MaxPool(_)) => "MaxPoolGrad + ReluGrad + BatchNormGrad",
                Some(Upstream::AdaptiveAvgPool(_)) => {
                    "AdaptiveAvgPoolGrad + ReluGrad + BatchNormGrad"
                }
                Some(Upstream::FilterLogits(_)) => "FilterLogitsGrad + ReluGrad + BatchNormGrad",
            },
        }
    }

    /// What follows a normalisation.
    fn epilogue(&mut self) -> Option<&mut Epilogue<'p>> {
        match self {
            Self::BatchNorm { epilogue, .. } => epilogue.as_mut(),
            Self::BatchNormInference(_, epilogue) => Some(epilogue),
            _ => None,
        }
    }

    /// Tensors that only pass between its operations, or that it computes again.
    fn unstored(&mut self) -> Vec<TensorId> {
        if let Some(epilogue) = self.epilogue() {
            return vec![epilogue.relu.x];
        }
        match self {
            Self::Conv2d(_, relu) | Self::Linear(_, relu) => vec![relu.x],
            Self::BatchNormGrad(FusedNormGrad { relu, upstream, beta, .. }) => {
                let (gradient, sign) = (upstream.map(|_| relu.dy), beta.map(|_| relu.y));
                [relu.dx].into_iter().chain(gradient).chain(sign).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl<'p> FusedOp<'p> {
    fn new(mut fusion: Fusion<'p>, mut positions: Vec<usize>, ops: &[Op]) -> Self {
        positions.sort_unstable();
        let mut node = Node::of(positions.iter().map(|&at| &ops[at] as &dyn Operation));
        let unstored = fusion.unstored();
        for ids in [&mut node.reads, &mut node.writes] {
            ids.retain(|id| !unstored.contains(id));
        }
        if let Fusion::BatchNormGrad(grad) = &fusion {
            node.reads.extend(grad.beta);
        }
        Self { ops: positions, fusion, node }
    }
}

impl Step for FusedOp<'_> {
    fn uses(&self) -> Vec<TensorId> {
        self.node.uses()
    }
}

/// The operations of a program as a backend with these capabilities does them, in an order that it can run.
pub fn fuse<'p>(
    tensors: &'p Tensors,
    ops: &'p [Op],
    backend: &impl Capabilities,
) -> Vec<FusedOp<'p>> {
    let analysis = Analysis { uses: Uses::new(tensors, ops), backend };
    // What is done at each position of the program.
    let mut steps: Vec<Option<(Fusion<'p>, Vec<usize>)>> =
        ops.iter().enumerate().map(|(at, op)| Some((Fusion::Single(op), vec![at]))).collect();
    for (position, op) in ops.iter().enumerate() {
        if let Some((at, fusion, others)) = analysis.pattern(position, op) {
            others.iter().for_each(|&other| steps[other] = None);
            steps[at] = Some((fusion, [&others[..], &[at]].concat()));
        }
    }
    let steps = steps.into_iter().flatten();
    let mut fused: Vec<FusedOp<'p>> =
        steps.map(|(fusion, positions)| FusedOp::new(fusion, positions, ops)).collect();
    drop_unread_outputs(tensors, &mut fused);
    fused
}

/// Does without the output of a ReLU that is pooled at once, where nothing else reads it.
fn drop_unread_outputs(tensors: &Tensors, fused: &mut [FusedOp<'_>]) {
    let mut users = vec![0usize; tensors.len()];
    for step in &*fused {
        let mut ids = step.uses();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| users[id.index()] += 1);
    }
    for FusedOp { fusion, node, .. } in fused {
        let Some(epilogue) = fusion.epilogue() else { continue };
        let y = epilogue.relu.y;
        let unread = users[y.index()] == 1 && !tensors[y].is_persistent();
        if epilogue.pools() && unread {
            epilogue.stored = false;
            node.reads.retain(|id| *id != y);
            node.writes.retain(|id| *id != y);
        }
    }
}

/// Groups of adjacent operations that share a launch: single operations of which `joins` says that the last one can be
/// done with those before it. What is fused otherwise, or joins nothing, is a group of one. A backend that scales losses
/// joins all optimiser steps of one scale in this way.
pub fn sequences<'p>(
    fused: Vec<FusedOp<'p>>,
    joins: impl Fn(&[&'p Op], &'p Op) -> bool,
) -> Vec<Vec<FusedOp<'p>>> {
    let mut groups: Vec<Vec<FusedOp<'p>>> = Vec::with_capacity(fused.len());
    let mut sequence: Vec<&'p Op> = Vec::new();
    for step in fused {
        match (&step.fusion, groups.last_mut()) {
            (&Fusion::Single(op), Some(group)) if !sequence.is_empty() && joins(&sequence, op) => {
                sequence.push(op);
                group.push(step);
            }
            (fusion, _) => {
                sequence.clear();
                sequence.extend(if let Fusion::Single(op) = fusion { Some(*op) } else { None });
                groups.push(vec![step]);
            }
        }
    }
    groups
}

/// For [`sequences`]: whether an optimiser step differs from those of a sequence in its tensors alone, and none of them
/// touches what another changes: one launch can then do them all.
pub fn same_optimizer(sequence: &[&Op], next: &Op) -> bool {
    let same = |op: &Op| match (op, next) {
        (Op::SgdStep(a), Op::SgdStep(b)) => {
            let SgdStep { parameter, velocity, gradient, .. } = *a;
            *a == SgdStep { parameter, velocity, gradient, ..b.clone() }
        }
        (Op::AdamStep(a), Op::AdamStep(b)) => {
            let AdamStep { parameter, first, second, gradient, .. } = *a;
            *a == AdamStep { parameter, first, second, gradient, ..b.clone() }
        }
        _ => false,
    };
    let touches = |a: &Op, b: &Op| b.updates().iter().any(|id| a.uses().contains(id));
    sequence.iter().all(|op| same(op) && !touches(op, next) && !touches(next, op))
}

/// The search for patterns in one program.
struct Analysis<'p, 'b, B> {
    uses: Uses<'p>,
    backend: &'b B,
}

impl<'p, B: Capabilities> Analysis<'p, '_, B> {
    /// The pattern that the operation at `position` makes: its position, what it is, and which other positions it
    /// takes.
    fn pattern(&self, position: usize, op: &'p Op) -> Option<(usize, Fusion<'p>, Vec<usize>)> {
        let relu = |y| self.backend.relu(op).then(|| self.uses.fusable_relu(position, y)).flatten();
        match op {
            Op::Conv2d(conv) => {
                let (at, relu) = relu(conv.y)?;
                Some((position, Fusion::Conv2d(conv, relu), vec![at]))
            }
            Op::Linear(linear) => {
                let (at, relu) = relu(linear.y)?;
                Some((position, Fusion::Linear(linear, relu), vec![at]))
            }
            Op::BatchNorm(norm) => {
                let conv = self.conv_before(position, norm.x);
                let epilogue = relu(norm.y).map(|relu| self.epilogue(position, relu));
                let mut others: Vec<usize> = conv.iter().map(|(at, _)| *at).collect();
                others.extend(epilogue.iter().flat_map(|(_, others)| others));
                let (conv, epilogue) = (conv.map(|(_, op)| op), epilogue.map(|(of, _)| of));
                let fusion = Fusion::BatchNorm { norm, conv, epilogue };
                (!others.is_empty()).then_some((position, fusion, others))
            }
            Op::BatchNormInference(norm) => {
                let (epilogue, others) = self.epilogue(position, relu(norm.y)?);
                Some((position, Fusion::BatchNormInference(norm, epilogue), others))
            }
            Op::ActivateGrad(relu) if relu.function == Activation::Relu => {
                self.norm_grad(position, relu)
            }
            _ => None,
        }
    }

    /// The convolution that computes `x` for the normalisation at `position`, where it can wait for that.
    fn conv_before(&self, position: usize, x: TensorId) -> Option<(usize, &'p Conv2d)> {
        let (at, op) = self.uses.of(x).rev().find(|(at, _)| *at < position)?;
        let Op::Conv2d(conv) = op else { return None };
        let waits = conv.y == x && !self.uses.changes(at + 1..position, &conv.reads());
        (waits && self.backend.moments(conv)).then_some((at, conv))
    }

    /// The epilogue of the normalisation at `position` with this ReLU, and the positions that it takes.
    fn epilogue(
        &self,
        position: usize,
        (at, relu): (usize, &'p Activate),
    ) -> (Epilogue<'p>, Vec<usize>) {
        let mut epilogue = Epilogue { relu, max_pool: None, adaptive_pool: None, stored: true };
        let mut others = vec![at];
        for (k, op) in self.uses.of(relu.y).filter(|(k, _)| *k > at) {
            if self.uses.changes(k..k + 1, &[relu.y]) {
                break;
            }
            // Its results have to be free from the normalisation on.
            let fits = || self.backend.pooling(op) && !self.uses.uses(position..k, &op.writes());
            match op {
                Op::MaxPool(pool) if epilogue.max_pool.is_none() && fits() => {
                    epilogue.max_pool = Some(pool);
                    others.push(k);
                }
                Op::AdaptiveAvgPool(pool) if epilogue.adaptive_pool.is_none() && fits() => {
                    epilogue.adaptive_pool = Some(pool);
                    others.push(k);
                }
                _ => {}
            }
        }
        (epilogue, others)
    }

    /// The backward rule of a normalisation that alone reads what that of the ReLU at `position` writes.
    fn norm_grad(
        &self,
        position: usize,
        relu: &'p ActivateGrad,
    ) -> Option<(usize, Fusion<'p>, Vec<usize>)> {
        let (at, Op::BatchNormGrad(norm)) = self.uses.only_other(position, relu.dx)? else {
            return None;
        };
        let waits = at > position && !self.uses.changes(position + 1..at + 1, &[relu.y, relu.dy]);
        let alone = norm.dy == relu.dx && reads_once(norm, relu.dx);
        if !waits || !alone || !self.backend.relu_grad() {
            return None;
        }
        let upstream = self.upstream(position, at, relu);
        let others = [position].into_iter().chain(upstream.map(|(k, _)| k)).collect();
        let upstream = upstream.map(|(_, upstream)| upstream);
        let beta = self.uses.beta_of(at, norm, relu);
        let grad = FusedNormGrad { norm, relu, upstream, beta };
        Some((at, Fusion::BatchNormGrad(grad), others))
    }

    /// The operation that computes the gradient for the ReLU's rule at `position`, where it can wait for the
    /// normalisation's at `at`.
    fn upstream(
        &self,
        position: usize,
        at: usize,
        relu: &ActivateGrad,
    ) -> Option<(usize, Upstream<'p>)> {
        let (k, op) = self.uses.only_other(position, relu.dy)?;
        let upstream = match op {
            Op::MaxPoolGrad(op) => Upstream::MaxPool(op),
            Op::AdaptiveAvgPoolGrad(op) => Upstream::AdaptiveAvgPool(op),
            Op::FilterLogitsGrad(op) => Upstream::FilterLogits(op),
            _ => return None,
        };
        let passed_on = upstream.dx() == relu.dy && reads_once(relu, relu.dy);
        let waits = k < position && !self.uses.changes(k + 1..at + 1, &op.reads());
        (passed_on && waits && self.backend.upstream(upstream)).then_some((k, upstream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{DType, ProgramSet, Window};

    struct Everything;

    impl Capabilities for Everything {
        fn relu(&self, _: &Op) -> bool {
            true
        }

        fn moments(&self, _: &Conv2d) -> bool {
            true
        }

        fn pooling(&self, _: &Op) -> bool {
            true
        }

        fn relu_grad(&self) -> bool {
            true
        }

        fn upstream(&self, _: Upstream<'_>) -> bool {
            true
        }
    }

    struct Nothing;

    impl Capabilities for Nothing {}

    fn fused(set: &ProgramSet) -> Vec<FusedOp<'_>> {
        fuse(set.tensors(), set.programs()[0].ops(), &Everything)
    }

    fn names(fused: &[FusedOp<'_>]) -> Vec<&'static str> {
        fused.iter().map(|fused| fused.fusion.name()).collect()
    }

    fn norm(set: &mut ProgramSet, x: TensorId, y: TensorId) -> BatchNorm {
        let [gamma, beta, mean, inv_std, running_mean, running_var] =
            ["gamma", "beta", "mean", "inv_std", "running_mean", "running_var"]
                .map(|name| set.persistent(name, DType::Real, &[4]));
        let (momentum, epsilon) = (0.1, 1e-5);
        BatchNorm { x, gamma, beta, y, mean, inv_std, running_mean, running_var, momentum, epsilon }
    }

    #[test]
    fn a_relu_is_done_with_what_computes_its_input_unless_another_operation_reads_that() {
        for (normalized, read_twice) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let mut set = ProgramSet::new();
            let [x, out, weight] = [("x", [8, 4]), ("out", [8, 4]), ("weight", [4, 4])]
                .map(|(name, shape)| set.persistent(name, DType::Real, &shape));
            let [z, y] = ["z", "y"].map(|name| set.build("").real(name, &[8, 4]));
            let producer: Op = if normalized {
                norm(&mut set, x, z).into()
            } else {
                Linear { x, weight, bias: None, y: z, groups: 1 }.into()
            };
            let mut p = set.build("test");
            p.push(producer);
            p.push(Activate { x: z, y, function: Activation::Relu });
            let x = if read_twice { z } else { y };
            p.push(Activate { x, y: out, function: Activation::Tanh });
            p.finish().unwrap();
            let steps = fused(&set);
            if read_twice {
                assert_eq!(steps.len(), 3);
                continue;
            }
            let first = if normalized { "BatchNorm + Relu" } else { "Linear + Relu" };
            assert_eq!(names(&steps), [first, "Activate"]);
            assert!(!steps[0].uses().contains(&z), "it is not stored");
            assert_eq!(fuse(set.tensors(), set.programs()[0].ops(), &Nothing).len(), 3);
        }
    }

    /// A unit with pooled heads, as a layer-wise network has it.
    fn unit(update_first: bool) -> ProgramSet {
        let mut set = ProgramSet::new();
        let [x, dx] = ["x", "dx"].map(|name| set.persistent(name, DType::Real, &[2, 4, 4, 4]));
        let dgrid = set.persistent("dgrid", DType::Real, &[2, 2, 2, 4]);
        let mut real = |name, size| set.build("").real(name, &[2, size, size, 4]);
        let [y, a, da, dy] = ["y", "a", "da", "dy"].map(|name| real(name, 4));
        let [small, grid] = ["small", "grid"].map(|name| real(name, 2));
        let norm = norm(&mut set, x, y);
        let BatchNorm { gamma, beta, mean, inv_std, .. } = norm;
        let function = Activation::Relu;
        let mut p = set.build("test");
        p.push(norm);
        p.push(Activate { x: y, y: a, function });
        p.push(AdaptiveAvgPool { x: a, y: grid });
        if update_first {
            p.push(Activate { x: gamma, y: beta, function });
        }
        p.push(AdaptiveAvgPoolGrad { dy: dgrid, dx: da });
        p.push(ActivateGrad { y: a, dy: da, dx: dy, function });
        let (dgamma, dbeta) = (None, None);
        p.push(BatchNormGrad { x, mean, inv_std, gamma, dy, dx: Some(dx), dgamma, dbeta });
        p.push(MaxPool { x: a, y: small, position: None, window: Window::square(2, 2, 0) });
        p.finish().unwrap();
        set
    }

    #[test]
    fn the_activation_of_a_pooled_unit_is_not_stored_unless_beta_changes() {
        let set = unit(false);
        let steps = fused(&set);
        let [Fusion::BatchNorm { epilogue: Some(epilogue), .. }, Fusion::BatchNormGrad(grad)] =
            [&steps[0].fusion, &steps[1].fusion]
        else {
            panic!("{:?}", names(&steps))
        };
        assert_eq!((&steps[0].ops[..], &steps[1].ops[..]), (&[0, 1, 2, 6][..], &[3, 4, 5][..]));
        assert!(
            !epilogue.stored && epilogue.max_pool.is_some() && epilogue.adaptive_pool.is_some()
        );
        assert!(grad.beta.is_some() && grad.upstream.is_some());
        assert!(steps[1].uses().contains(&grad.beta.unwrap()));
        assert!(!steps.iter().any(|step| step.uses().contains(&epilogue.relu.y)));

        let set = unit(true);
        let steps = fused(&set);
        let [Fusion::BatchNorm { epilogue: Some(epilogue), .. }, Fusion::BatchNormGrad(grad)] =
            [&steps[0].fusion, &steps[2].fusion]
        else {
            panic!("{:?}", names(&steps))
        };
        assert!(epilogue.stored && grad.beta.is_none());
    }

    #[test]
    fn a_convolution_waits_for_the_normalisation_unless_its_operands_change() {
        for changes in [false, true] {
            let mut set = ProgramSet::new();
            let weight = set.persistent("weight", DType::Real, &[4, 1, 1, 4]);
            let [x, y] = ["x", "y"].map(|name| set.persistent(name, DType::Real, &[2, 4, 4, 4]));
            let z = set.build("test").real("z", &[2, 4, 4, 4]);
            let norm = norm(&mut set, z, y);
            let copy = set.persistent("copy", DType::Real, &[2, 4, 4, 4]);
            let (function, window) = (Activation::Relu, Window::square(1, 1, 0));
            let [from, to] = if changes { [copy, x] } else { [x, copy] };
            let mut p = set.build("test");
            p.push(Conv2d { x, weight, bias: None, y: z, window, groups: 1 });
            p.push(Activate { x: from, y: to, function });
            p.push(norm);
            p.finish().unwrap();
            let steps = fused(&set);
            if changes {
                assert_eq!(steps.len(), 3);
            } else {
                assert_eq!(names(&steps), ["Activate", "Conv2d + BatchNorm"]);
                assert!(steps[1].uses().contains(&z), "the backward rule reads it");
            }
        }
    }

    #[test]
    fn optimiser_steps_join_if_they_differ_in_their_tensors_alone() {
        let mut set = ProgramSet::new();
        let counter =
            set.persistent("step_counter", DType::U32, &[crate::program::step_counter::LEN]);
        let rates = set.persistent("rates", DType::Real, &[1]);
        let gradient = set.persistent("gradient", DType::Real, &[4]);
        let parameters: Vec<TensorId> =
            (0..5).map(|i| set.persistent(format!("w{i}"), DType::Real, &[4])).collect();
        let (velocity, factor, momentum, nesterov) = (None, None, 0.0, false);
        let step = |parameter, weight_decay| SgdStep {
            gradient,
            factor,
            rates,
            counter,
            parameter,
            velocity,
            momentum,
            nesterov,
            weight_decay,
        };
        let mut p = set.build("test");
        for i in [0, 1, 2, 2, 3] {
            p.push(step(parameters[i], 0.0));
        }
        p.push(step(parameters[4], 0.1));
        p.finish().unwrap();
        let groups = sequences(fused(&set), |ops, next| ops.len() < 2 && same_optimizer(ops, next));
        let positions = |group: &Vec<FusedOp<'_>>| group.iter().map(|step| step.ops[0]).collect();
        let groups: Vec<Vec<usize>> = groups.iter().map(positions).collect();
        // At most two, no parameter twice, no other decay.
        assert_eq!(groups, [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
    }
}
