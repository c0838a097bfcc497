//! The small operations between a unit's logits and their gradient: one launch where one block can do them all.
//!
//! Losses, their means, the choice of leaders, local losses and their gradient are a dozen launches on a few thousand
//! numbers, each shorter than the way to it. They are lowered one by one as ever; then their launches' arguments
//! become the tasks of one block.

use lfnn_core::program::{Op, Tensors};

use super::launch::{THREADS, lanes};
use super::shared::{Field, Output, shared_with_kernels};
use super::types::{Address, Argument, KernelFile, KernelSource, Launch, Step, StructBytes, Work};

const UNIT: KernelFile = KernelFile("unit");

/// Elements that an operation of one block goes through at most: more are worth the launches of more blocks. On an H200
/// the units of `mnist-s` with batches of 128, 8192 elements each, took 90 µs in one block, a third of the step.
const MOST_ELEMENTS: usize = 1 << 11;
/// Columns that it sums at most.
const MOST_COLUMNS: usize = 32;

/// The kernels that are tasks.
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

/// A number for each of [`KERNELS`], by its name.
pub(crate) fn operations() -> String {
    format!("enum : u32 {{ {} }};\n", KERNELS.join(", ").to_uppercase())
}

shared_with_kernels! {
    constants {
        /// Operations of one launch, at most.
        pub(super) const MOST_TASKS: usize = 12;
    }
    structures {
        /// A launch: its pointers in order, and its other arguments in order.
        struct Task {
            pointers: [Output<()>; 8],
            words: [Word; 24],
            operation: u32,
        }
        /// What the block does, in order.
        struct Tasks {
            count: u32,
            tasks: [Task; MOST_TASKS],
        }
    }
}

/// Four bytes of an argument. A pointer in a structure has two: the first has its address.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Word {
    value: u32,
    pointer: Option<Address>,
}

impl Field for Word {
    const LAYOUT: (usize, usize) = u32::LAYOUT;

    fn declare(name: &str) -> String {
        u32::declare(name)
    }

    fn write(&self, to: &mut StructBytes) {
        to.pointers.extend(self.pointer.map(|address| (to.bytes.len(), address)));
        self.value.write(to);
    }
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
pub(super) fn join(steps: &mut Vec<Step>, begin: usize) {
    let mut tasks = Tasks::default();
    let joined = &steps[begin..];
    if joined.len() < 2 || joined.len() > MOST_TASKS {
        return;
    }
    let mut act = None;
    for (place, step) in tasks.tasks.iter_mut().zip(joined) {
        let Work::Launch(launch) = &step.work else { return };
        let Some(task) = task(launch) else { return };
        (*place, act) = (task, Some(launch.source.act));
    }
    let Some(act) = act else { return };
    tasks.count = joined.len() as u32;
    let (arguments, block) = (vec![Argument::from(&tasks)], [THREADS, 1, 1]);
    let (kernel, grid) = ("unit_losses", [1; 3]);
    let source = KernelSource { file: UNIT, act };
    let launch = Launch { source, kernel, grid, block, shared: 0, arguments };
    steps.truncate(begin + 1);
    steps[begin].work = Work::Launch(launch);
}

/// A launch as a task; none if it is no such kernel, or has too many arguments.
fn task(launch: &Launch) -> Option<Task> {
    let operation = KERNELS.iter().position(|name| *name == launch.kernel)?;
    let mut task = Task { operation: operation as u32, ..Task::default() };
    let (mut pointer, mut word) = (0, 0);
    for argument in &launch.arguments {
        match argument {
            Argument::Pointer(address) => {
                *task.pointers.get_mut(pointer)? = (*address).into();
                pointer += 1;
            }
            Argument::U32(value) => {
                task.words.get_mut(word)?.value = *value;
                word += 1;
            }
            Argument::F32(value) => {
                task.words.get_mut(word)?.value = value.to_bits();
                word += 1;
            }
            Argument::Struct(StructBytes { bytes, pointers }) => {
                let words = task.words.get_mut(word..word + bytes.len() / 4)?;
                for (to, from) in words.iter_mut().zip(bytes.as_chunks().0) {
                    to.value = u32::from_ne_bytes(*from);
                }
                for &(at, address) in pointers {
                    words[at / 4].pointer = Some(address);
                }
                word += words.len();
            }
        }
    }
    Some(task)
}
