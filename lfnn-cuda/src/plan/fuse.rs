//! What of a program is lowered together: the patterns for which there are kernels, and neighbours that share a launch.

use lfnn_core::program::fusion::{Capabilities, Fusion, Upstream, fuse, same_optimizer, sequences};
use lfnn_core::program::{Conv2d, Node, Op, Operation, Tensors, Window};

use super::optimize::MOST_TENSORS;
use super::scale::Scales;
use super::unit::{MOST_TASKS, is_small};

/// One or more operations that are lowered together.
pub(super) struct Group<'p> {
    /// Their positions among the operations.
    pub(super) ops: Vec<usize>,
    /// What they read and write.
    pub(super) node: Node,
    /// What they are to one another.
    pub(super) kind: Kind<'p>,
}

/// How operations are lowered.
pub(super) enum Kind<'p> {
    /// A pattern, or an operation alone.
    Fused(Fusion<'p>),
    /// Small operations between a unit's logits and their gradient, in order.
    Unit(Vec<&'p Op>),
    /// Steps of an optimiser that differ in their tensors alone.
    Optimizer(Vec<&'p Op>),
    /// All steps of optimisers on gradients of one scaled loss.
    Scaled(Vec<Vec<&'p Op>>),
}

impl Kind<'_> {
    /// The name of the steps in messages and profiles.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Fused(fusion) => fusion.name(),
            Kind::Unit(_) => "unit's losses",
            Kind::Optimizer(ops) => ops.first().map_or("", |op| op.name()),
            Kind::Scaled(_) => "scaled steps",
        }
    }
}

/// The patterns for which there are kernels.
struct Kernels<'p> {
    tensors: &'p Tensors,
}

impl Capabilities for Kernels<'_> {
    fn relu(&self, producer: &Op) -> bool {
        matches!(producer, Op::BatchNorm(_) | Op::BatchNormInference(_))
    }

    /// The blocks that have a tile of the result take the moments of its channels.
    fn moments(&self, _: &Conv2d) -> bool {
        true
    }

    fn pooling(&self, pooling: &Op) -> bool {
        matches!(pooling, Op::MaxPool(pool) if side_by_side(pool.window))
    }

    fn relu_grad(&self) -> bool {
        true
    }

    fn upstream(&self, gradient: Upstream<'_>) -> bool {
        match gradient {
            Upstream::MaxPool(op) => side_by_side(op.window),
            // Every pixel is in one bin, and all bins have as many.
            Upstream::AdaptiveAvgPool(op) => {
                let [pixels, bins] = [op.dx, op.dy].map(|id| &self.tensors[id].shape);
                (1..=2).all(|axis| pixels[axis].is_multiple_of(bins[axis].max(1)))
            }
            Upstream::FilterLogits(_) => false,
        }
    }
}

/// Whether no two windows overlap and none is padded: each pixel has one window at most.
fn side_by_side(window: Window) -> bool {
    window.kernel == window.stride && window.padding == [0, 0]
}

/// The groups of a program's operations, of which those on one scaled loss are adjacent.
pub(super) fn groups<'p>(tensors: &'p Tensors, ops: &'p [Op], scales: &Scales) -> Vec<Group<'p>> {
    let joins = |sequence: &[&Op], op: &Op| {
        let small = |op| is_small(op, tensors);
        let first = sequence[0];
        let unit = sequence.len() < MOST_TASKS && small(first) && small(op);
        let optimizer = sequence.len() < MOST_TENSORS
            && scales.of_step(first) == scales.of_step(op)
            && same_optimizer(sequence, op);
        unit || optimizer
    };
    let mut groups: Vec<Group<'p>> = Vec::new();
    let mut last_scale = None;
    for mut sequence in sequences(fuse(tensors, ops, &Kernels { tensors }), joins) {
        let positions: Vec<usize> = sequence.iter().flat_map(|of| of.ops.clone()).collect();
        let all: Vec<&Op> = positions.iter().map(|&at| &ops[at]).collect();
        let scale = all.first().and_then(|op| scales.of_step(op));
        let continues = scale.is_some() && scale == last_scale;
        last_scale = scale;
        if continues
            && let Some(Group { ops: others, node, kind: Kind::Scaled(steps) }) = groups.last_mut()
        {
            others.extend(positions);
            steps.push(all);
            *node = node_of(others, ops);
            continue;
        }
        let node = node_of(&positions, ops);
        let kind = match all[..] {
            _ if scale.is_some() => Kind::Scaled(vec![all]),
            [Op::SgdStep(_) | Op::AdamStep(_), ..] => Kind::Optimizer(all),
            [_, _, ..] if sequence.len() > 1 => Kind::Unit(all),
            _ => {
                let Some(fused) = sequence.pop() else { continue };
                groups.push(Group {
                    ops: positions,
                    node: fused.node,
                    kind: Kind::Fused(fused.fusion),
                });
                continue;
            }
        };
        groups.push(Group { ops: positions, node, kind });
    }
    groups
}

/// What operations at these positions read and write.
fn node_of(positions: &[usize], ops: &[Op]) -> Node {
    Node::of(positions.iter().map(|&at| &ops[at] as &dyn Operation))
}
