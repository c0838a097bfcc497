//! From a program set to a plan.

use lfnn_core::backend::Precision;
use lfnn_core::program::fusion::Fusion;
use lfnn_core::program::{
    ALIGNMENT, DType, Node, Op, Program, ProgramSet, TensorId, Tensors, plan_memory_in,
};
use lfnn_core::with_operation;
use thiserror::Error;

use super::fuse::{Kind, groups};
use super::lowering::{Lower, Lowering, act_of, activation, elements};
use super::scale::{LOSS_SCALE_BYTES, Scales};
use super::schedule::Schedule;
use super::types::{Element, Plan, ProgramPlan};
use super::{norm, optimize, unit};

/// Kernels count elements in 32 bits, with room for a stride over the grid.
const MOST_ELEMENTS: usize = 1 << 31;

/// Streams of a plan: a unit's update runs concurrently with the next unit's forward pass.
pub const STREAMS: usize = 2;

/// The most streams of a plan: each is a stream with scratch memory of its own, and no network has work for more.
pub const MAX_STREAMS: usize = 64;

/// A program set that has no plan.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A tensor that kernels cannot address.
    #[error("tensor `{name}` has {elements} elements; the CUDA backend takes fewer than 2^31")]
    TooLarge {
        /// The tensor.
        name: String,
        /// Its elements.
        elements: usize,
    },
}

impl Plan {
    /// Lowers every program of a program set, for [`STREAMS`] streams.
    ///
    /// # Errors
    /// A tensor that is too large for the kernels.
    pub fn new(set: &ProgramSet, precision: Precision) -> Result<Self, PlanError> {
        Self::with_streams(set, precision, STREAMS)
    }

    /// Lowers every program of a program set, for this many streams: one at least, and no more than [`MAX_STREAMS`].
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_streams(
        set: &ProgramSet,
        precision: Precision,
        streams: usize,
    ) -> Result<Self, PlanError> {
        Self::lower(set, precision, streams.clamp(1, MAX_STREAMS), false)
    }

    /// As [`Plan::new`], but every operation works in the type of activations, even where all of its
    /// operands are f32, which are then converted: for tests of single operations.
    ///
    /// # Errors
    /// As [`Plan::new`].
    #[cfg(feature = "emulator")]
    pub fn all_narrow(set: &ProgramSet, precision: Precision) -> Result<Self, PlanError> {
        Self::lower(set, precision, STREAMS, true)
    }

    fn lower(
        set: &ProgramSet,
        precision: Precision,
        streams: usize,
        all_narrow: bool,
    ) -> Result<Self, PlanError> {
        let tensors = set.tensors();
        for (_, tensor) in tensors.iter() {
            // Bytes are only ever gathered: their kernels count in 64 bits.
            if tensor.dtype != DType::U8 && tensor.len() >= MOST_ELEMENTS {
                let (name, elements) = (tensor.name.clone(), tensor.len());
                return Err(PlanError::TooLarge { name, elements });
            }
        }
        let elements = elements(set, precision);
        let mut persistent_bytes = 0;
        let persistent = tensors
            .iter()
            .map(|(id, tensor)| {
                let bytes = tensor.len() * elements[id.index()].bytes();
                tensor.is_persistent().then(|| {
                    let offset = persistent_bytes;
                    persistent_bytes += bytes.next_multiple_of(ALIGNMENT);
                    offset
                })
            })
            .collect();
        let loss_scales = persistent_bytes;
        let mut programs = Vec::with_capacity(set.programs().len());
        for program in set.programs() {
            let first = (persistent_bytes - loss_scales) / LOSS_SCALE_BYTES;
            let scales = match precision {
                Precision::F16 => Scales::new(tensors, program.ops(), first),
                _ => Scales::default(),
            };
            persistent_bytes += scales.len() * LOSS_SCALE_BYTES;
            let arithmetic = (precision, all_narrow);
            programs.push(lower(program, tensors, &elements, arithmetic, streams, &scales));
        }
        Ok(Self { precision, elements, persistent, persistent_bytes, loss_scales, programs })
    }
}

fn lower(
    program: &Program,
    tensors: &Tensors,
    elements: &[Element],
    (precision, all_narrow): (Precision, bool),
    streams: usize,
    scales: &Scales,
) -> ProgramPlan {
    let order = scales.order(program.ops());
    let ops: Vec<Op> = order.iter().map(|&at| program.ops()[at].clone()).collect();
    let groups = groups(tensors, &ops, scales);
    let nodes: Vec<Node> = groups.iter().map(|group| group.node.clone()).collect();
    let schedule = Schedule::new(&nodes, tensors, streams);
    let bytes = |id: TensorId| tensors[id].len() * elements[id.index()].bytes();
    let memory = plan_memory_in(tensors, &nodes, &schedule, bytes);
    let mut to = Lowering::new(tensors, elements, precision, scales);
    let mut first = Vec::with_capacity(groups.len());
    for group in &groups {
        first.push(to.steps.len());
        let act = match all_narrow {
            true => activation(precision),
            false => act_of(group.ops.iter().map(|&at| &ops[at]), elements),
        };
        to.begin(group.kind.name(), group.ops.iter().map(|&at| order[at]).collect(), act);
        match &group.kind {
            Kind::Fused(fusion) => to.add(|to| fused(fusion, to)),
            Kind::Optimizer(ops) => to.add(|to| optimize::steps(ops, to)),
            Kind::Scaled(groups) => to.add(|to| optimize::scaled(groups, to)),
            Kind::Unit(ops) => {
                let begin = to.steps.len();
                to.one_block = true;
                // Each ends before the next begins, which may read what it wrote.
                ops.iter().for_each(|op| to.add(|to| single(op, to)));
                to.one_block = false;
                unit::join(&mut to.steps, begin);
            }
        }
    }
    schedule.assign(&first, &mut to.steps);
    ProgramPlan {
        name: program.name().into(),
        steps: to.steps,
        temporaries: memory.offsets,
        temporary_bytes: memory.bytes,
        scratch_bytes: to.scratch_bytes,
        streams: schedule.streams,
    }
}

fn fused(fusion: &Fusion<'_>, to: &mut Lowering<'_>) {
    match fusion {
        Fusion::Single(op) => single(op, to),
        Fusion::BatchNorm { norm, conv, epilogue } => {
            norm::train(norm, *conv, epilogue.as_ref(), to);
        }
        Fusion::BatchNormInference(norm, epilogue) => norm::inference(norm, Some(epilogue), to),
        Fusion::BatchNormGrad(fused) => norm::grad(fused.norm, Some(fused), to),
        // Not among the patterns that `fuse` asks for.
        Fusion::Conv2d(..) | Fusion::Linear(..) => unreachable!("there are no such kernels"),
    }
}

fn single(op: &Op, to: &mut Lowering<'_>) {
    with_operation!(op, op => op.lower(to));
}
