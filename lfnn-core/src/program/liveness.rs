//! The live range of each temporary, and its place in one block of memory.
//!
//! A temporary ranges from the step that writes it to the last step that reads it. Two that do not
//! live at the same time may lie at the same place; where steps run side by side, all uses of one have to be
//! done before all uses of the other. The total is the memory of the step: for
//! `lfnn-l` it does not grow with depth, because a unit's activations are dead when its update is
//! done; for `bp` they live until the gradient comes back.

use std::ops::Range;

use super::intervals::Intervals;
use super::{Operation, TensorId, Tensors};

/// Offsets are multiples of this many bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// What a step of a schedule touches. Operations are steps; a backend that fuses operations has
/// larger ones.
pub trait Step {
    /// Every tensor whose contents the step needs or changes.
    fn uses(&self) -> Vec<TensorId>;
}

impl<T: Operation> Step for T {
    fn uses(&self) -> Vec<TensorId> {
        let mut ids = self.reads();
        ids.extend(self.writes());
        ids.extend(self.updates());
        ids
    }
}

/// Where the temporaries of a program lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
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

    /// A number that steps share only if each is done before the next of them starts.
    fn stream(&self, step: usize) -> usize;

    /// A range with this step and every step that is neither done before it starts nor starts when it is
    /// done. It may have others too.
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

    fn stream(&self, _step: usize) -> usize {
        0
    }

    fn beside(&self, step: usize) -> Range<usize> {
        step..step + 1
    }
}

/// A temporary that steps use.
struct LiveRange {
    id: TensorId,
    bytes: usize,
    /// The steps that use it, ascending.
    uses: Vec<usize>,
    span: Span,
}

/// What of a life mostly tells whether it meets another.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    last: usize,
    /// From the first to behind the last step that is not in order with each of its uses.
    begin: usize,
    end: usize,
    /// The stream that all uses have, if they have one.
    stream: Option<usize>,
}

impl LiveRange {
    /// One with these uses, of which there is one at least.
    fn new(id: TensorId, bytes: usize, uses: Vec<usize>, order: &impl Order, steps: usize) -> Self {
        let (mut stream, mut around) = (None, steps..0);
        for (at, &step) in uses.iter().enumerate() {
            let of = Some(order.stream(step));
            stream = if at == 0 || stream == of { of } else { None };
            let beside = order.beside(step);
            around = around.start.min(beside.start)..around.end.max(beside.end.min(steps));
        }
        let [first, last] = [uses.first(), uses.last()].map(|step| step.copied().unwrap_or(0));
        let span = Span { first, last, begin: around.start, end: around.end, stream };
        Self { id, bytes, uses, span }
    }

    /// Whether all uses of this one are done before any use of the other starts.
    fn is_before(&self, other: &LiveRange, order: &impl Order) -> bool {
        let ordered = |&first| other.uses.iter().all(|&then| order.ordered(first, then));
        self.uses.iter().all(ordered)
    }
}

impl Span {
    /// Whether the two may be alive at the same time; none where that hangs on single uses.
    fn meets(self, other: Span) -> Option<bool> {
        if self.first <= other.last && other.first <= self.last {
            return Some(true);
        }
        let apart = self.end <= other.begin || other.end <= self.begin;
        (apart || self.stream.is_some() && self.stream == other.stream).then_some(false)
    }

    fn around(self) -> Range<usize> {
        self.begin..self.end
    }
}

/// A place, and whose it is.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    span: Span,
    number: u32,
}

/// Lives that have their places.
struct Placed {
    ranges: Vec<(LiveRange, Place)>,
    /// All of them, by the steps around them.
    around: Intervals,
    /// All places, by address.
    by_address: Vec<Place>,
}

impl Placed {
    fn new(steps: usize) -> Self {
        Self { ranges: Vec::new(), around: Intervals::new(steps), by_address: Vec::new() }
    }

    /// Places a life as low as it can lie apart from all that it meets, and gives its place.
    fn place(&mut self, life: LiveRange, order: &impl Order) -> Place {
        let (ranges, size) = (&self.ranges, life.bytes.next_multiple_of(ALIGNMENT));
        let meets = |place: &Place| {
            life.span.meets(place.span).unwrap_or_else(|| {
                let (other, _) = &ranges[place.number as usize];
                !life.is_before(other, order) && !other.is_before(&life, order)
            })
        };
        // A few are sorted by address; of many it is cheaper to look for them in the order of all.
        let interval = life.span.around();
        let around = self.around.count(&interval);
        let start = if around * (around.max(1).ilog2() as usize + 1) < self.by_address.len() {
            let mut taken: Vec<&Place> = Vec::new();
            self.around.meeting(&interval, |other| {
                let (_, place) = &ranges[other as usize];
                if meets(place) {
                    taken.push(place);
                }
            });
            taken.sort_unstable_by_key(|place| place.start);
            lowest(taken.into_iter(), size)
        } else {
            lowest(self.by_address.iter().filter(|place| meets(place)), size)
        };
        let (span, number) = (life.span, self.ranges.len() as u32);
        let place = Place { start, end: start + size, span, number };
        self.around.insert(&interval, number);
        let at = self.by_address.partition_point(|other| other.start <= start);
        self.by_address.insert(at, place);
        self.ranges.push((life, place));
        place
    }
}

/// The lowest address with room for `size` bytes between places in order of address.
fn lowest<'a>(taken: impl Iterator<Item = &'a Place>, size: usize) -> usize {
    let mut address = 0;
    for place in taken {
        if address + size <= place.start {
            break;
        }
        address = address.max(place.end);
    }
    address
}

/// Plans the temporaries of steps that run one after the other. `bytes` gives a tensor's size on the backend.
pub fn plan_memory<S: Step>(
    tensors: &Tensors,
    steps: &[S],
    bytes: impl Fn(TensorId) -> usize,
) -> MemoryPlan {
    plan_memory_in(tensors, steps, &InOrder, bytes)
}

/// Plans the temporaries of a schedule: the largest first, each as low as it can lie apart from all whose
/// uses are not all before, or all after, its own.
pub fn plan_memory_in<S: Step>(
    tensors: &Tensors,
    steps: &[S],
    order: &impl Order,
    bytes: impl Fn(TensorId) -> usize,
) -> MemoryPlan {
    let mut uses: Vec<Vec<usize>> = vec![Vec::new(); tensors.len()];
    for (step, operation) in steps.iter().enumerate() {
        for id in operation.uses() {
            let uses = &mut uses[id.index()];
            if !tensors[id].is_persistent() && uses.last() != Some(&step) {
                uses.push(step);
            }
        }
    }
    let mut ranked: Vec<LiveRange> = tensors
        .iter()
        .zip(uses)
        .filter(|(_, uses)| !uses.is_empty())
        .map(|((id, _), uses)| LiveRange::new(id, bytes(id), uses, order, steps.len()))
        .collect();
    ranked.sort_by_key(|life| (std::cmp::Reverse(life.bytes), life.span.first, life.id));

    let mut plan = MemoryPlan { offsets: vec![None; tensors.len()], bytes: 0 };
    let mut placed = Placed::new(steps.len());
    for life in ranked {
        let id = life.id;
        let place = placed.place(life, order);
        plan.offsets[id.index()] = Some(place.start);
        plan.bytes = plan.bytes.max(place.end);
    }
    plan
}
