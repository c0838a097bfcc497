//! How long each temporary lives, and where it lies in one block of memory.
//!
//! A temporary lives from the step that writes it to the last step that reads it. Two that do not
//! live at the same time may lie at the same place. The total is the memory of the step: for
//! `lfnn-l` it does not grow with depth, because a unit's activations are dead when its update is
//! done; for `bp` they live until the gradient comes back.

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

struct Life {
    id: TensorId,
    first: usize,
    last: usize,
    bytes: usize,
}

/// Plans the temporaries of a schedule: the largest first, each at the lowest place that is free for
/// the whole of its life. `bytes` gives a tensor's size on the backend.
pub fn plan_memory<S: Step>(
    tensors: &Tensors,
    steps: &[S],
    bytes: impl Fn(TensorId) -> usize,
) -> Lifetimes {
    let mut lives: Vec<Option<Life>> = (0..tensors.len()).map(|_| None).collect();
    for (step, operation) in steps.iter().enumerate() {
        for id in operation.touches() {
            if tensors[id].kind != Kind::Temporary {
                continue;
            }
            lives[id.index()]
                .get_or_insert_with(|| Life { id, first: step, last: step, bytes: bytes(id) })
                .last = step;
        }
    }
    let mut order: Vec<Life> = lives.into_iter().flatten().collect();
    order.sort_by_key(|life| (std::cmp::Reverse(life.bytes), life.first, life.id));

    let mut plan = Lifetimes { offsets: vec![None; tensors.len()], bytes: 0 };
    let mut placed: Vec<(usize, Life)> = Vec::with_capacity(order.len());
    for life in order {
        let size = life.bytes.next_multiple_of(ALIGNMENT);
        // Places taken during this life, in order of address.
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(_, other)| other.first <= life.last && life.first <= other.last)
            .map(|(offset, other)| (*offset, offset + other.bytes.next_multiple_of(ALIGNMENT)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + size <= start {
                break;
            }
            offset = offset.max(end);
        }
        plan.offsets[life.id.index()] = Some(offset);
        plan.bytes = plan.bytes.max(offset + size);
        placed.push((offset, life));
    }
    plan
}
