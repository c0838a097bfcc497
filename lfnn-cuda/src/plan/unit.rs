//! The small operations between a unit's logits and their gradient: one launch where one block can do them all.
//!
//! Losses, their means, the choice of leaders, local losses and their gradient are a dozen launches on a few thousand
//! numbers, each shorter than the way to it. They are lowered one by one as ever; then their launches' arguments
//! become the tasks of one block.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{Op, Tensors};

use super::launch::THREADS;
use super::workers::lanes;
use super::{Argument, Element, Launch, Place, Step, Work};
use crate::kernels::UNIT;

/// Operations of one launch, at most.
pub(super) const MOST_TASKS: usize = 12;

/// Elements that an operation of one block goes through at most: more are worth the launches of more blocks. On an H200
/// the units of `mnist-s` with batches of 128, 8192 elements each, took 90 µs in one block, a third of the step.
const MOST_ELEMENTS: usize = 1 << 11;
/// Columns that it sums at most.
const MOST_COLUMNS: usize = 32;

/// The kernels that are tasks, in the order of the kernel's own list.
const KERNELS: [&str; 10] = [
    "worker_loss",
    "mean_worker_loss",
    "accumulate_rows",
    "count_errors",
    "select_leaders",
    "epoch_leaders",
    "alignment_target",
    "local_losses",
    "loss_gradient",
    "local_loss_gradient",
];

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Task {
    pointers: [u64; 8],
    words: [u32; 24],
    operation: u32,
    unused: u32,
}

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tasks {
    count: u32,
    unused: u32,
    tasks: [Task; MOST_TASKS],
}

/// Whether one block does an operation in no time.
pub(super) fn is_small(op: &Op, tensors: &Tensors) -> bool {
    let len = |id| tensors[id].len();
    // Several lanes share a prediction.
    let shared = |z, classes: usize| len(z) / classes.max(1) * lanes(classes);
    let elements = match op {
        Op::WorkerLoss(op) => len(op.losses) * lanes(op.predictions.classes),
        Op::LossGradient(op) => shared(op.z, op.predictions.classes),
        Op::LocalLossGradient(op) => shared(op.z, op.predictions.classes),
        Op::LocalLosses(op) => len(op.value),
        Op::AlignmentTarget(op) => len(op.reference) * op.predictions.workers,
        Op::SelectLeaders(op) => len(op.leaders) * op.predictions.workers,
        // A block has a classifier.
        Op::EpochLeaders(op) if op.predictions.classifiers == 1 => {
            len(op.leaders) * op.predictions.workers
        }
        Op::MeanWorkerLoss(op) if len(op.mean) <= MOST_COLUMNS => len(op.losses),
        Op::AccumulateRows(op) if len(op.total) <= MOST_COLUMNS => len(op.x),
        Op::CountErrors(op) if len(op.wrong) <= MOST_COLUMNS => len(op.output),
        _ => return false,
    };
    elements <= MOST_ELEMENTS
}

/// Makes the steps from `begin` on one, if all of them are tasks: not if an operand is converted between them.
pub(super) fn join(steps: &mut Vec<Step>, begin: usize, real: Element) {
    let mut tasks = Tasks::zeroed();
    let mut pointers = Vec::new();
    let joined = &steps[begin..];
    if joined.len() < 2 || joined.len() > MOST_TASKS {
        return;
    }
    for (i, step) in joined.iter().enumerate() {
        let Work::Launch(launch) = &step.work else { return };
        let Some((task, places)) = task(launch) else { return };
        let start = std::mem::offset_of!(Tasks, tasks) + i * size_of::<Task>();
        tasks.tasks[i] = task;
        pointers.extend(places.into_iter().map(|(at, place)| (start + at, place)));
    }
    tasks.count = joined.len() as u32;
    let argument = Argument::of(&tasks, pointers);
    let launch = UNIT.launch("unit_losses", real, [1; 3], [THREADS, 1, 1], vec![argument]);
    steps.truncate(begin + 1);
    steps[begin].work = Work::Launch(launch);
}

/// A launch as a task, with the places of its pointers; none if it is no such kernel, or takes more blocks in order.
fn task(launch: &Launch) -> Option<(Task, Vec<(usize, Place)>)> {
    let operation = KERNELS.iter().position(|name| *name == launch.kernel)?;
    let mut task = Task { operation: operation as u32, ..Task::zeroed() };
    let (mut pointer, mut word, mut places) = (0, 0, Vec::new());
    for argument in &launch.arguments {
        match argument {
            Argument::Pointer(place) => {
                places.push((8 * pointer, *place));
                pointer += 1;
            }
            Argument::Null => pointer += 1,
            Argument::U32(value) => {
                *task.words.get_mut(word)? = *value;
                word += 1;
            }
            Argument::F32(value) => {
                *task.words.get_mut(word)? = value.to_bits();
                word += 1;
            }
            Argument::Struct { bytes, pointers } => {
                let words = task.words.get_mut(word..word + bytes.len() / 4)?;
                bytemuck::cast_slice_mut(words).copy_from_slice(bytes);
                let start = std::mem::offset_of!(Task, words) + 4 * word;
                places.extend(pointers.iter().map(|(at, place)| (start + at, *place)));
                word += bytes.len() / 4;
            }
        }
    }
    (pointer <= task.pointers.len()).then_some((task, places))
}
