//! Loss scaling: gradients of losses that half precision would round to zero are kept by a factor.
//!
//! In IEEE half precision the smallest number is 6 · 10⁻⁸. A gradient is linear in the loss with which it begins, so
//! the loss is multiplied by a power of two, and the optimiser divides by it. Where that was too much, a gradient is
//! not finite: the optimiser leaves out the step, and the scale is halved. After many steps without that it is doubled.
//! All of this happens on the device.
//!
//! Losses whose gradients meet share a scale, and all steps on their gradients are done together, after the last
//! gradient, or not at all. In a local method units have scales of their own, so no unit waits for another and none
//! leaves out a step on account of another; in any other method there is one scale.
//!
//! Forward gradients begin with a scale of 1: their derivatives along random directions are large as they are.
//!
//! The scale is no part of a saved state, which is the same on every backend. It is found again in every epoch: an
//! epoch's first step has the first scale. So a training that is resumed between two epochs has the same
//! bytes; within an epoch, if the scale has not moved in it.

use std::collections::{BTreeMap, BTreeSet};

use lfnn_core::program::{
    LocalLossGradient, LossGradient, Op, Operation, Role, SimilarityLoss, Step, TensorId, Tensors,
};

use super::shared::{Field, Named, Output, shared_with_kernels};
use super::types::Address;

/// The first scale of a loss whose gradient is propagated backwards.
const FIRST: f32 = 65_536.0;
/// That of a loss whose derivative along a random direction takes the gradient's place, as forward gradients do: of a
/// whole batch it is larger by the direction's length, which is that of all layers together, and would overflow. Of an
/// example's position it is small, and so is the gradient in front of a readout, which must not be lost either.
const FIRST_ALONG_DIRECTIONS: f32 = 128.0;

shared_with_kernels! {
    structures {
        /// The scale of a loss. All zeros are the state in which it begins.
        struct LossScale {
            /// A power of two; 0 stands for the first one, see [`Scaling`].
            scale: f32,
            /// Steps since it last changed.
            good: u32,
            /// Whether a gradient of this step is not finite.
            overflow: u32,
            unused: u32,
        }
        /// A loss with its scale, or none.
        pub(super) struct Scaling {
            state: Output<LossScale>,
            /// The scale with which an epoch begins.
            first: f32,
        }
    }
}

impl Named for LossScale {
    const NAME: &'static str = "LossScale";
}

/// Bytes of a scale and of what moves it.
pub(crate) const LOSS_SCALE_BYTES: usize = LossScale::LAYOUT.0;

impl Scaling {
    pub(super) fn new(state: Address, first: f32) -> Self {
        Self { state: state.into(), first }
    }

    pub(super) fn none() -> Self {
        Self { first: 1.0, ..Self::default() }
    }
}

/// The scales of a program.
#[derive(Debug, Default)]
pub(super) struct Scales {
    /// The scale of where gradients begin, of factors of clipping and of parameters.
    of: BTreeMap<TensorId, usize>,
    /// The number of the program's first scale.
    begin: usize,
    /// For each scale, the one with which an epoch begins.
    first: Vec<f32>,
}

/// Losses whose gradients have met, as a forest: each names another, or itself.
struct Meetings(Vec<usize>);

impl Meetings {
    fn root(&self, mut loss: usize) -> usize {
        while self.0[loss] != loss {
            loss = self.0[loss];
        }
        loss
    }

    /// Joins some losses; none of none.
    fn join(&mut self, losses: impl IntoIterator<Item = usize>) -> Option<usize> {
        losses.into_iter().reduce(|a, b| {
            let (a, b) = (self.root(a), self.root(b));
            self.0[a.max(b)] = a.min(b);
            a.min(b)
        })
    }
}

impl Scales {
    /// Finds the losses of a program and the steps of optimisers that they lead to; the first scale has the number
    /// `begin`.
    pub(super) fn new(tensors: &Tensors, ops: &[Op], begin: usize) -> Self {
        let mut meetings = Meetings(Vec::new());
        // The loss with whose gradient a tensor is linear.
        let mut loss_of: Vec<Option<usize>> = vec![None; tensors.len()];
        // Where gradients begin, factors and parameters, each with its loss.
        let mut uses: Vec<(TensorId, usize)> = Vec::new();
        // Losses that must stay as they are, and those that lead to an optimiser.
        let (mut kept, mut moving) = (BTreeSet::new(), BTreeSet::new());
        // Losses whose gradient is replaced by their derivative along a direction.
        let mut directed = BTreeSet::new();
        for (index, op) in ops.iter().enumerate() {
            let given = |ids: &[TensorId]| -> Vec<usize> {
                ids.iter().filter_map(|id| loss_of[id.index()]).collect()
            };
            let read = given(&[op.reads(), op.updates()].concat());
            match op {
                Op::LossGradient(LossGradient { dz, .. })
                | Op::LocalLossGradient(LocalLossGradient { dz, .. })
                | Op::SimilarityLoss(SimilarityLoss { gradient: dz, .. }) => {
                    kept.extend(read);
                    meetings.0.push(meetings.0.len());
                    uses.push((*dz, meetings.0.len() - 1));
                    loss_of[dz.index()] = Some(meetings.0.len() - 1);
                    continue;
                }
                Op::ClipFactor(clip) => {
                    let all = read.len() == clip.gradients.len();
                    if let Some(loss) = meetings.join(read) {
                        uses.push((clip.factor, loss));
                        if !all {
                            kept.insert(loss);
                        }
                    }
                    continue;
                }
                Op::SgdStep(_) | Op::AdamStep(_) => {
                    let (Some(&loss), Some(&parameter)) = (read.first(), op.updates().first())
                    else {
                        continue;
                    };
                    uses.push((parameter, loss));
                    moving.insert(loss);
                    // It will wait for the last gradient.
                    if !can_wait(op, &ops[index + 1..]) {
                        kept.insert(loss);
                    }
                    continue;
                }
                Op::InnerProduct(_) => directed.extend(read.iter().copied()),
                _ => {}
            }
            let changed = [op.writes(), op.updates()].concat();
            let met = meetings.join(read.iter().copied());
            if let Some(loss) = met {
                let seen = changed.iter().any(|id| tensors[*id].is_persistent());
                if seen || !is_linear(op, &read, tensors) {
                    kept.insert(loss);
                }
            }
            for id in changed {
                loss_of[id.index()] = met;
            }
        }
        let roots = |losses: BTreeSet<usize>| -> BTreeSet<usize> {
            losses.into_iter().map(|loss| meetings.root(loss)).collect()
        };
        let (kept, moving, directed) = (roots(kept), roots(moving), roots(directed));
        let scaled: Vec<usize> = moving.difference(&kept).copied().collect();
        let number = |loss| scaled.iter().position(|&other| other == meetings.root(loss));
        let of = uses.into_iter().filter_map(|(id, loss)| Some((id, begin + number(loss)?)));
        let first = scaled
            .iter()
            .map(|loss| if directed.contains(loss) { FIRST_ALONG_DIRECTIONS } else { FIRST });
        Self { of: of.collect(), begin, first: first.collect() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    /// The number of a tensor's scale.
    pub(super) fn of(&self, id: TensorId) -> Option<usize> {
        self.of.get(&id).copied()
    }

    /// The scale of this number with which an epoch begins.
    pub(super) fn first(&self, number: usize) -> f32 {
        self.first[number - self.begin]
    }

    /// The scale that an optimiser's step divides by.
    pub(super) fn of_step(&self, op: &Op) -> Option<usize> {
        match op {
            Op::SgdStep(step) => self.of(step.parameter),
            Op::AdamStep(step) => self.of(step.parameter),
            _ => None,
        }
    }

    /// The order of a program's operations with all optimisers' steps of a scale where the last of them was.
    pub(super) fn order(&self, ops: &[Op]) -> Vec<usize> {
        let scales: Vec<Option<usize>> = ops.iter().map(|op| self.of_step(op)).collect();
        let mut order = Vec::with_capacity(ops.len());
        for (at, &scale) in scales.iter().enumerate() {
            if scale.is_none() {
                order.push(at);
            } else if !scales[at + 1..].contains(&scale) {
                order.extend((0..=at).filter(|&step| scales[step] == scale));
            }
        }
        order
    }
}

/// Whether an optimiser's step can be done after these operations as well: they are optimisers' steps too, or
/// have nothing to do with what it touches, but for rates and the step counter.
fn can_wait(step: &Op, later: &[Op]) -> bool {
    let (changed, needed) = (step.updates(), step.reads());
    let any_of = |ids: &[TensorId], of: Vec<TensorId>| of.iter().any(|id| ids.contains(id));
    let meets = |op: &Op| {
        any_of(&changed, op.uses()) || any_of(&needed, op.writes()) || any_of(&needed, op.updates())
    };
    let mut between = later
        .iter()
        .take_while(|op| !matches!(op, Op::AdvanceStepCounter(_)))
        .filter(|op| !matches!(op, Op::SgdStep(_) | Op::AdamStep(_)));
    !between.any(meets)
}

/// Whether what an operation writes is linear in its operands that belong to a loss, of which there are as many as in
/// `read`.
fn is_linear(op: &Op, read: &[usize], tensors: &Tensors) -> bool {
    let is_zero = |id: TensorId| tensors[id].role == Role::Zeros;
    match op {
        Op::BatchNormInference(norm) => {
            read.len() == 1 && is_zero(norm.beta) && is_zero(norm.running_mean)
        }
        Op::Linear(linear) => read.len() == 1 && linear.bias.is_none(),
        Op::Add(add) => read.len() == add.inputs.len(),
        Op::Concat(concat) => read.len() == concat.inputs.len(),
        Op::LinearInputGrad(_)
        | Op::LinearWeightGrad(_)
        | Op::Conv2dInputGrad(_)
        | Op::Conv2dWeightGrad(_)
        | Op::BiasGrad(_)
        | Op::ActivateGrad(_)
        | Op::Dropout(_)
        | Op::SoftmaxGrad(_)
        | Op::MaxPoolGrad(_)
        | Op::AvgPoolGrad(_)
        | Op::AdaptiveAvgPoolGrad(_)
        | Op::BatchNormGrad(_)
        | Op::LayerNormGrad(_)
        | Op::ScaleGrad(_)
        | Op::SwapAxes(_)
        | Op::Split(_)
        | Op::FilterLogitsGrad(_)
        | Op::MaskFollowers(_)
        | Op::NormalizeRowsGrad(_)
        | Op::DeviationGrad(_)
        | Op::Gaussian(_)
        | Op::InnerProduct(_) => read.len() == 1,
        _ => false,
    }
}
