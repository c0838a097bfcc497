//! How long each temporary lives, and where it lies in one block of memory.
//!
//! A temporary lives from the step that writes it to the last step that reads it. Two that do not
//! live at the same time may lie at the same place; where steps run side by side, all uses of one have to be
//! done before all uses of the other. The total is the memory of the step: for
//! `lfnn-l` it does not grow with depth, because a unit's activations are dead when its update is
//! done; for `bp` they live until the gradient comes back.

use std::ops::Range;

use super::intervals::Intervals;
use super::{Kind, Operation, TensorId, Tensors};

/// Offsets are multiples of this many bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// What a step of a schedule touches. Operations are steps; a backend that fuses operations has
/// larger ones.
pub trait Step {
    /// Every tensor whose contents the step needs or changes.
    fn touches(&self) -> Vec<TensorId>;
}

impl<T: Operation> Step for T {
    fn touches(&self) -> Vec<TensorId> {
        let mut ids = self.reads();
        ids.extend(self.writes());
        ids.extend(self.updates());
        ids
    }
}

/// Where the temporaries of a program lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For each tensor of the module, the offset in bytes of its place; none for persistent tensors
    /// and for those that the program does not use.
    pub offsets: Vec<Option<usize>>,
    /// Bytes of the whole block.
    pub bytes: usize,
}

/// Which steps of a schedule are certainly done before which. Steps are counted so that none is done for
/// certain before one that is counted before it.
pub trait Order {
    /// Whether step `first` is always done before step `then` starts.
    fn ordered(&self, first: usize, then: usize) -> bool;

    /// Steps around this one, itself among them: all before them are done before it starts, and all
    /// behind them start when it is done. Neither end is lower for a later step. They may be all.
    fn beside(&self, _step: usize) -> Range<usize> {
        0..usize::MAX
    }
}

/// One step after the other.
#[derive(Clone, Copy, Debug)]
pub struct InOrder;

impl Order for InOrder {
    fn ordered(&self, first: usize, then: usize) -> bool {
        first < then
    }

    fn beside(&self, step: usize) -> Range<usize> {
        step..step + 1
    }
}

/// The steps that use a temporary: one at least, ascending.
struct Life {
    id: TensorId,
    uses: Vec<usize>,
    bytes: usize,
}

impl Life {
    /// The steps that are neither all done before nor all started behind every use.
    fn around(&self, order: &impl Order, steps: usize) -> Range<usize> {
        let [begin, end] = [self.uses.first(), self.uses.last()]
            .map(|step| order.beside(step.copied().unwrap_or_default()));
        begin.start..end.end.min(steps)
    }

    /// Whether all uses of this one are done before any use of the other starts.
    fn is_before(&self, other: &Life, order: &impl Order) -> bool {
        let (Some(&last), Some(&first)) = (self.uses.last(), other.uses.first()) else {
            return true;
        };
        if last >= first {
            return false;
        }
        // Only of steps that may run side by side is there a question.
        let (start, end) = (order.beside(first).start, order.beside(last).end);
        let mine = &self.uses[self.uses.partition_point(|&step| step < start)..];
        let theirs = &other.uses[..other.uses.partition_point(|&step| step < end)];
        mine.iter().all(|&first| theirs.iter().all(|&then| order.ordered(first, then)))
    }
}

/// Plans the temporaries of steps that run one after the other. `bytes` gives a tensor's size on the backend.
pub fn plan_memory<S: Step>(
    tensors: &Tensors,
    steps: &[S],
    bytes: impl Fn(TensorId) -> usize,
) -> Lifetimes {
    plan_memory_in(tensors, steps, &InOrder, bytes)
}

/// Plans the temporaries of a schedule: the largest first, each as low as it can lie apart from all whose
/// uses are not all before, or all after, its own.
pub fn plan_memory_in<S: Step>(
    tensors: &Tensors,
    steps: &[S],
    order: &impl Order,
    bytes: impl Fn(TensorId) -> usize,
) -> Lifetimes {
    let mut lives: Vec<Option<Life>> = (0..tensors.len()).map(|_| None).collect();
    for (step, operation) in steps.iter().enumerate() {
        for id in operation.touches() {
            if tensors[id].kind != Kind::Temporary {
                continue;
            }
            let life = lives[id.index()].get_or_insert_with(|| Life {
                id,
                uses: Vec::new(),
                bytes: bytes(id),
            });
            if life.uses.last() != Some(&step) {
                life.uses.push(step);
            }
        }
    }
    let mut ranked: Vec<Life> = lives.into_iter().flatten().collect();
    ranked.sort_by_key(|life| (std::cmp::Reverse(life.bytes), life.uses.first().copied(), life.id));

    let mut plan = Lifetimes { offsets: vec![None; tensors.len()], bytes: 0 };
    let mut placed: Vec<(usize, Life)> = Vec::with_capacity(ranked.len());
    let mut around = Intervals::new(steps.len());
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for (number, life) in (0u32..).zip(ranked) {
        let size = life.bytes.next_multiple_of(ALIGNMENT);
        // Places taken during this life, in order of address.
        taken.clear();
        let interval = life.around(order, steps.len());
        around.meeting(&interval, |number| {
            let (offset, other) = &placed[number as usize];
            if !other.is_before(&life, order) && !life.is_before(other, order) {
                taken.push((*offset, offset + other.bytes.next_multiple_of(ALIGNMENT)));
            }
        });
        taken.sort_unstable();
        let mut offset = 0;
        for &(start, end) in &taken {
            if offset + size <= start {
                break;
            }
            offset = offset.max(end);
        }
        plan.offsets[life.id.index()] = Some(offset);
        plan.bytes = plan.bytes.max(offset + size);
        around.insert(&interval, number);
        placed.push((offset, life));
    }
    plan
}
