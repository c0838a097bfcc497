//! Rewrites of a program: operations that are done in one pass over memory.
//!
//! A tensor that only passes a result from one operation to the next is not stored then, and has no
//! place in memory. A rewrite is one function here and a kernel; nothing outside the backend sees it.

use lfnn_core::program::rewrite::{Uses, reads_once};
use lfnn_core::program::{
    Activate, ActivateGrad, Activation, AdaptiveAvgPool, BatchNorm, BatchNormGrad,
    BatchNormInference, Conv2d, Linear, MaxPool, Node, Op, Operation, Step, TensorId, Tensors,
};

/// One or more operations that become one kernel.
pub(crate) enum Fused<'p> {
    /// An operation alone.
    Single(&'p Op),
    /// A convolution and the ReLU of its result.
    Conv2d(&'p Conv2d, &'p Activate),
    /// A linear map and the ReLU of its result.
    Linear(&'p Linear, &'p Activate),
    /// Batch normalisation with what follows it.
    Norm(&'p BatchNorm, Epilogue<'p>),
    /// The same in prediction.
    Inference(&'p BatchNormInference, Epilogue<'p>),
    /// The backward rule of batch normalisation with those before it: of ReLU, and of what spreads
    /// a gradient over an image.
    NormGrad(NormGrad<'p>),
}

/// The backward rules that are done with batch normalisation's.
pub(crate) struct NormGrad<'p> {
    pub(crate) norm: &'p BatchNormGrad,
    pub(crate) relu: &'p ActivateGrad,
    /// What spreads a gradient over an image, before the ReLU's rule.
    pub(crate) spread: Option<&'p Op>,
    /// The normalisation's β, where the sign of the ReLU's output is found by normalising again: the
    /// output need not be read, and often need not be kept.
    pub(crate) beta: Option<TensorId>,
}

/// A ReLU behind a batch normalisation, and poolings of its output, which are done on each image
/// while it is in the cache.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'p> {
    /// The output of the ReLU.
    pub(crate) y: TensorId,
    /// Whether it is stored: not where the poolings alone look at it.
    pub(crate) stored: bool,
    /// Maximum pooling of it.
    pub(crate) max: Option<&'p MaxPool>,
    /// Adaptive pooling of it.
    pub(crate) adaptive: Option<&'p AdaptiveAvgPool>,
}

impl Epilogue<'_> {
    fn writes(&self) -> Vec<TensorId> {
        let mut ids = if self.stored { vec![self.y] } else { Vec::new() };
        ids.extend(self.max.into_iter().flat_map(Operation::writes));
        ids.extend(self.adaptive.into_iter().flat_map(Operation::writes));
        ids
    }
}

impl Fused<'_> {
    /// The name of the step in messages and profiles.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Fused::Single(op) => op.name(),
            Fused::Conv2d(..) => "Conv2d + Relu",
            Fused::Linear(..) => "Linear + Relu",
            Fused::Norm(_, Epilogue { max: None, adaptive: None, .. }) => "BatchNorm + Relu",
            Fused::Norm(..) => "BatchNorm + Relu + pooling",
            Fused::Inference(_, Epilogue { max: None, adaptive: None, .. }) => {
                "BatchNormInference + Relu"
            }
            Fused::Inference(..) => "BatchNormInference + Relu + pooling",
            Fused::NormGrad(NormGrad { spread: None, .. }) => "ReluGrad + BatchNormGrad",
            Fused::NormGrad(NormGrad { spread: Some(Op::FilterLogitsGrad(_)), .. }) => {
                "FilterLogitsGrad + ReluGrad + BatchNormGrad"
            }
            Fused::NormGrad(..) => "pooling grad + ReluGrad + BatchNormGrad",
        }
    }
}

impl Step for Fused<'_> {
    fn uses(&self) -> Vec<TensorId> {
        let replace = |ids: Vec<TensorId>, old: TensorId, new: Vec<TensorId>| {
            ids.into_iter().filter(|id| *id != old).chain(new).collect()
        };
        match self {
            Fused::Single(op) => op.uses(),
            Fused::Conv2d(op, relu) => replace(op.uses(), relu.x, vec![relu.y]),
            Fused::Linear(op, relu) => replace(op.uses(), relu.x, vec![relu.y]),
            Fused::Norm(op, behind) => replace(op.uses(), op.y, behind.writes()),
            Fused::Inference(op, behind) => replace(op.uses(), op.y, behind.writes()),
            Fused::NormGrad(NormGrad { norm, relu, spread, beta }) => {
                let mut ids = vec![beta.unwrap_or(relu.y)];
                ids.extend(spread.map_or_else(|| vec![relu.dy], Operation::reads));
                replace(norm.uses(), norm.dy, ids)
            }
        }
    }
}

/// A step of a rewritten program, and the positions of the operations that it does.
pub(crate) struct FusedOp<'p> {
    pub(crate) step: Fused<'p>,
    pub(crate) ops: Vec<usize>,
}

impl FusedOp<'_> {
    /// What it reads and writes; `ops` are the program's.
    pub(crate) fn node(&self, ops: &[Op]) -> Node {
        let touched = self.uses();
        let mut node = Node::of(self.ops.iter().map(|&op| &ops[op] as &dyn Operation));
        // Without what only passes from one operation to the next, and with what a fused rule reads in its place.
        for ids in [&mut node.reads, &mut node.writes] {
            ids.retain(|id| touched.contains(id));
        }
        for id in touched {
            if !node.reads.contains(&id) && !node.writes.contains(&id) {
                node.reads.push(id);
            }
        }
        node
    }
}

impl Step for FusedOp<'_> {
    fn uses(&self) -> Vec<TensorId> {
        self.step.uses()
    }
}

/// Rewrites the operations of a program.
pub(crate) fn fuse<'p>(tensors: &'p Tensors, ops: &'p [Op]) -> Vec<FusedOp<'p>> {
    let uses = &Uses::new(tensors, ops);
    let mut steps: Vec<Option<Fused<'p>>> = ops.iter().map(|op| Some(Fused::Single(op))).collect();
    // Which step does each operation.
    let mut doer: Vec<usize> = (0..ops.len()).collect();
    for (i, op) in ops.iter().enumerate() {
        match op {
            Op::Conv2d(conv) => {
                if let Some((j, relu)) = uses.fusable_relu(i, conv.y) {
                    (steps[j], doer[j]) = (None, i);
                    steps[i] = Some(Fused::Conv2d(conv, relu));
                }
            }
            Op::Linear(linear) => {
                if let Some((j, relu)) = uses.fusable_relu(i, linear.y) {
                    (steps[j], doer[j]) = (None, i);
                    steps[i] = Some(Fused::Linear(linear, relu));
                }
            }
            // What follows comes forward to the normalisation.
            Op::BatchNorm(norm) => {
                if let Some((behind, taken)) = behind(uses, i, norm.x, norm.y) {
                    for j in taken {
                        (steps[j], doer[j]) = (None, i);
                    }
                    steps[i] = Some(Fused::Norm(norm, behind));
                }
            }
            Op::BatchNormInference(norm) => {
                if let Some((behind, taken)) = behind(uses, i, norm.x, norm.y) {
                    for j in taken {
                        (steps[j], doer[j]) = (None, i);
                    }
                    steps[i] = Some(Fused::Inference(norm, behind));
                }
            }
            // What comes before waits for the normalisation's backward rule.
            Op::ActivateGrad(relu) if relu.function == Activation::Relu => {
                if let Some((j, Op::BatchNormGrad(norm))) = uses.only_other(i, relu.dx)
                    && norm.dy == relu.dx
                    && reads_once(norm, relu.dx)
                    && j > i
                    && !uses.changes(i + 1..j + 1, &[relu.y, relu.dy])
                {
                    let spread = spread(uses, i, j, relu);
                    if let Some((k, _)) = spread {
                        (steps[k], doer[k]) = (None, j);
                    }
                    (steps[i], doer[i]) = (None, j);
                    steps[j] = Some(Fused::NormGrad(NormGrad {
                        norm,
                        relu,
                        spread: spread.map(|(_, op)| op),
                        beta: uses.beta_of(j, norm, relu),
                    }));
                }
            }
            _ => {}
        }
    }
    let mut done: Vec<Vec<usize>> = vec![Vec::new(); ops.len()];
    doer.into_iter().enumerate().for_each(|(op, doer)| done[doer].push(op));
    let mut steps: Vec<FusedOp<'p>> = (steps.into_iter().zip(done))
        .filter_map(|(step, ops)| Some(FusedOp { step: step?, ops }))
        .collect();
    // How many steps touch each tensor.
    let mut touching = vec![0usize; tensors.len()];
    for step in &steps {
        let mut ids = step.uses();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| touching[id.index()] += 1);
    }
    for step in &mut steps {
        let (Fused::Norm(_, behind) | Fused::Inference(_, behind)) = &mut step.step else {
            continue;
        };
        let pooled = behind.max.is_some() || behind.adaptive.is_some();
        // It touches its own, as it is still stored.
        let seen = touching[behind.y.index()] > 1;
        behind.stored = !pooled || seen || tensors[behind.y].is_persistent();
    }
    steps
}

/// What can be done at once with the normalisation at `i` of `x` to `y`, and where it stood.
fn behind<'p>(
    uses: &Uses<'p>,
    i: usize,
    x: TensorId,
    y: TensorId,
) -> Option<(Epilogue<'p>, Vec<usize>)> {
    let (j, relu) = uses.fusable_relu(i, y)?;
    let mut behind = Epilogue { y: relu.y, stored: true, max: None, adaptive: None };
    let mut taken = vec![j];
    // A piece of work is an image: it has to fit the cache.
    let x = &uses.tensors()[x];
    let image = x.bytes() / x.shape[0].max(1);
    if image > IMAGE_BYTES {
        return Some((behind, taken));
    }
    for (k, op) in uses.of(relu.y).filter(|(k, _)| *k > j) {
        // Its results have to be free from the normalisation on.
        let free = || {
            let writes = op.writes();
            !uses.uses(i..k, &writes) && !behind.writes().iter().any(|id| writes.contains(id))
        };
        match op {
            Op::MaxPool(pool) if pool.x == relu.y && behind.max.is_none() && free() => {
                behind.max = Some(pool);
                taken.push(k);
            }
            Op::AdaptiveAvgPool(pool)
                if pool.x == relu.y && behind.adaptive.is_none() && free() =>
            {
                behind.adaptive = Some(pool);
                taken.push(k);
            }
            _ => {}
        }
        if uses.changes(k..k + 1, &[relu.y]) {
            break;
        }
    }
    Some((behind, taken))
}

/// Images up to this size are gone through twice while they are in the cache.
const IMAGE_BYTES: usize = 1 << 19;

/// The operation that spreads the gradient of the ReLU at `i` over an image, where that can wait for
/// operation `j`.
fn spread<'p>(uses: &Uses<'p>, i: usize, j: usize, relu: &ActivateGrad) -> Option<(usize, &'p Op)> {
    let (k, op) = uses.only_other(i, relu.dy)?;
    let (from, dx) = match op {
        Op::MaxPoolGrad(op) => (vec![op.dy, op.position], op.dx),
        Op::AdaptiveAvgPoolGrad(op) => (vec![op.dy], op.dx),
        Op::FilterLogitsGrad(op) => (vec![op.dz], op.dx),
        _ => return None,
    };
    let spread = &uses.tensors()[dx];
    let image = spread.bytes() / spread.shape[0].max(1);
    let passed_on = dx == relu.dy && reads_once(relu, dx);
    let waits = k < i && passed_on && !uses.changes(k + 1..j + 1, &from);
    (waits && image <= IMAGE_BYTES).then_some((k, op))
}

#[cfg(test)]
mod tests {
    use lfnn_core::program::{AdaptiveAvgPoolGrad, DType, ProgramSet};

    use super::*;

    fn set(read_twice: bool) -> ProgramSet {
        let mut set = ProgramSet::new();
        let vector = |set: &mut ProgramSet, name: &str| set.persistent(name, DType::Real, &[4]);
        let [gamma, beta, mean, inv_std, running_mean, running_var] =
            ["gamma", "beta", "mean", "inv_std", "running_mean", "running_var"]
                .map(|name| vector(&mut set, name));
        let x = set.persistent("x", DType::Real, &[8, 4]);
        let out = set.persistent("out", DType::Real, &[8, 4]);
        let mut p = set.build("test");
        let [y, a, b] = ["y", "a", "b"].map(|name| p.real(name, &[8, 4]));
        p.push(BatchNorm {
            x,
            gamma,
            beta,
            y,
            mean,
            inv_std,
            running_mean,
            running_var,
            momentum: 0.1,
            epsilon: 1e-5,
        });
        p.push(Activate { x: y, y: a, function: Activation::Relu });
        p.push(Activate { x: if read_twice { y } else { a }, y: b, function: Activation::Tanh });
        p.push(Activate { x: b, y: out, function: Activation::Relu });
        p.finish().unwrap();
        set
    }

    #[test]
    fn a_relu_behind_a_normalisation_is_done_with_it_unless_somebody_else_looks() {
        let m = set(false);
        let names: Vec<_> =
            fuse(m.tensors(), m.programs()[0].ops()).iter().map(|s| s.step.name()).collect();
        assert_eq!(names, ["BatchNorm + Relu", "Activate", "Activate"]);
        let m = set(true);
        assert_eq!(fuse(m.tensors(), m.programs()[0].ops()).len(), 4);
    }

    #[test]
    fn the_relu_of_a_product_is_done_with_it_unless_somebody_else_looks() {
        for read_twice in [false, true] {
            let mut set = ProgramSet::new();
            let x = set.persistent("x", DType::Real, &[8, 4]);
            let weight = set.persistent("weight", DType::Real, &[4, 4]);
            let out = set.persistent("out", DType::Real, &[8, 4]);
            let mut p = set.build("test");
            let [z, y] = ["z", "y"].map(|name| p.real(name, &[8, 4]));
            p.push(Linear { x, weight, bias: None, y: z, groups: 1 });
            p.push(Activate { x: z, y, function: Activation::Relu });
            let other = if read_twice { z } else { y };
            p.push(Activate { x: other, y: out, function: Activation::Tanh });
            p.finish().unwrap();
            let steps = fuse(set.tensors(), set.programs()[0].ops());
            let names: Vec<_> = steps.iter().map(|step| step.step.name()).collect();
            if read_twice {
                assert_eq!(names, ["Linear", "Activate", "Activate"]);
            } else {
                assert_eq!(names, ["Linear + Relu", "Activate"]);
                assert!(!steps[0].uses().contains(&z), "it is not stored");
            }
        }
    }

    /// A unit with pooled readouts, as a layer-wise network has it.
    fn unit(update_first: bool) -> ProgramSet {
        let mut set = ProgramSet::new();
        let vectors: [TensorId; 6] =
            std::array::from_fn(|i| set.persistent(format!("v{i}"), DType::Real, &[4]));
        let [gamma, beta, mean, inv_std, running_mean, running_var] = vectors;
        let x = set.persistent("x", DType::Real, &[2, 4, 4, 4]);
        let dx = set.persistent("dx", DType::Real, &[2, 4, 4, 4]);
        let dgrid = set.persistent("dgrid", DType::Real, &[2, 2, 2, 4]);
        let mut p = set.build("test");
        let [y, a, da, dy] = ["y", "a", "da", "dy"].map(|name| p.real(name, &[2, 4, 4, 4]));
        let [small, grid] = ["small", "grid"].map(|name| p.real(name, &[2, 2, 2, 4]));
        let function = Activation::Relu;
        p.push(BatchNorm {
            x,
            gamma,
            beta,
            y,
            mean,
            inv_std,
            running_mean,
            running_var,
            momentum: 0.1,
            epsilon: 1e-5,
        });
        p.push(Activate { x: y, y: a, function });
        p.push(AdaptiveAvgPool { x: a, y: grid });
        if update_first {
            p.push(Activate { x: gamma, y: beta, function });
        }
        p.push(AdaptiveAvgPoolGrad { dy: dgrid, dx: da });
        p.push(ActivateGrad { y: a, dy: da, dx: dy, function });
        p.push(BatchNormGrad {
            x,
            mean,
            inv_std,
            gamma,
            dy,
            dx: Some(dx),
            dgamma: None,
            dbeta: None,
        });
        let window = lfnn_core::program::Window::square(2, 2, 0);
        p.push(MaxPool { x: a, y: small, position: None, window });
        p.finish().unwrap();
        set
    }

    #[test]
    fn the_activation_of_a_pooled_unit_is_not_stored_unless_beta_changes() {
        let m = unit(false);
        let steps = fuse(m.tensors(), m.programs()[0].ops());
        let kinds: Vec<_> = steps.iter().map(|s| &s.step).collect();
        let [Fused::Norm(_, behind), Fused::NormGrad(grad)] = &kinds[..] else {
            panic!("{:?}", kinds.iter().map(|step| step.name()).collect::<Vec<_>>())
        };
        assert_eq!((&steps[0].ops[..], &steps[1].ops[..]), (&[0, 1, 2, 6][..], &[3, 4, 5][..]));
        assert!(!behind.stored && behind.max.is_some() && behind.adaptive.is_some());
        assert!(grad.beta.is_some() && grad.spread.is_some());

        let m = unit(true);
        let steps = fuse(m.tensors(), m.programs()[0].ops());
        let kinds: Vec<_> = steps.iter().map(|s| &s.step).collect();
        let [Fused::Norm(_, behind), _, Fused::NormGrad(grad)] = &kinds[..] else {
            panic!("{:?}", kinds.iter().map(|step| step.name()).collect::<Vec<_>>())
        };
        assert!(behind.stored && grad.beta.is_none());
    }
}
