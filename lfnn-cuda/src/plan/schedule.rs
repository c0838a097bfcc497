//! Which steps may run beside which, and where temporaries lie when they do.
//!
//! A program lists its operations in an order. What an operation really waits for is less: those
//! that wrote what it reads, and those that read or wrote what it overwrites. In `lfnn-l` a unit's
//! backward pass and update wait for the unit alone, and the next unit's forward pass does not wait for
//! them. A [`Schedule`] keeps the order and gives every operation a *lane*: lanes run side by side, the
//! operations of a lane one after the other, and an operation waits for those of other lanes on which
//! it depends. On a device a lane is a stream, and a wait an event.
//!
//! Two temporaries may share memory only where all uses of one come before all uses of the other
//! whatever the lanes' speed: [`Schedule::place`] asks for that, and so a second lane costs memory.

use std::cmp::Reverse;

use lfnn_core::program::{ALIGNMENT, Kind, Lifetimes, Operation, TensorId, Tensors};

use super::Step;

/// What a schedule must know of an operation, or of several that were made one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Tensors whose contents it needs.
    pub reads: Vec<TensorId>,
    /// Tensors that it changes, wholly or in part.
    pub writes: Vec<TensorId>,
    /// A guess of the time that it takes, in nanoseconds. It decides on lanes, and changes no result.
    pub cost: u64,
}

/// Nanoseconds of the shortest kernel in a graph.
const LAUNCH: u64 = 2_000;
/// Bytes that a device moves in a nanosecond; a round figure, since it only balances lanes.
const BYTES_PER_NANOSECOND: u64 = 1_000;

impl Node {
    /// A node that does all of these operations, taking the time that it takes to move their tensors.
    pub fn of(operations: &[&dyn Operation], tensors: &Tensors) -> Self {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for operation in operations {
            reads.extend(operation.reads());
            reads.extend(operation.updates());
            writes.extend(operation.writes());
            writes.extend(operation.updates());
        }
        for ids in [&mut reads, &mut writes] {
            ids.sort_unstable();
            ids.dedup();
        }
        let moved: usize = reads.iter().chain(&writes).map(|id| tensors[*id].bytes()).sum();
        Self { reads, writes, cost: LAUNCH + moved as u64 / BYTES_PER_NANOSECOND }
    }

    fn touches(&self) -> impl Iterator<Item = TensorId> {
        self.reads.iter().chain(&self.writes).copied()
    }
}

/// For each node, the earlier nodes for which it must wait: the writers of what it reads and changes, and
/// the readers of what it changes. Ascending; what follows from other dependences may be left out.
pub fn dependences(nodes: &[Node], tensors: &Tensors) -> Vec<Vec<usize>> {
    let mut writer: Vec<Option<usize>> = vec![None; tensors.len()];
    // Those that have read a tensor since it was last written.
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); tensors.len()];
    let mut all = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let mut before: Vec<usize> = Vec::new();
        before.extend(node.touches().filter_map(|id| writer[id.index()]));
        before.extend(node.writes.iter().flat_map(|id| &readers[id.index()]));
        before.sort_unstable();
        before.dedup();
        for id in &node.reads {
            readers[id.index()].push(index);
        }
        for id in &node.writes {
            writer[id.index()] = Some(index);
            readers[id.index()].clear();
        }
        all.push(before);
    }
    all
}

/// Which nodes are on the chain of dependences that takes longest.
fn longest_chain(nodes: &[Node], dependences: &[Vec<usize>]) -> Vec<bool> {
    // For each node, the time from its start to the end of all that waits for it, and who of these is slowest.
    let mut rest: Vec<(u64, Option<usize>)> = vec![(0, None); nodes.len()];
    for node in (0..nodes.len()).rev() {
        rest[node].0 += nodes[node].cost;
        for &before in &dependences[node] {
            // At equal times, the first of those that wait.
            if rest[node].0 >= rest[before].0 {
                rest[before] = (rest[node].0, Some(node));
            }
        }
    }
    let mut chain = vec![false; nodes.len()];
    let mut at = (0..nodes.len()).max_by_key(|&node| (rest[node].0, Reverse(node)));
    while let Some(node) = at {
        chain[node] = true;
        at = rest[node].1;
    }
    chain
}

/// Lanes of nodes, and what each waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How many lanes there are: one at least.
    pub lanes: usize,
    /// Each node's lane.
    pub lane: Vec<usize>,
    /// For each node, nodes of other lanes that must be done before it starts, beside those for which an
    /// earlier node of its lane has waited.
    pub after: Vec<Vec<usize>>,
    /// For each node, how many nodes of each lane are certainly done when it is.
    done: Vec<Vec<usize>>,
    /// Each node's place in its lane, from one on.
    place: Vec<usize>,
}

impl Schedule {
    /// The longest chain of nodes keeps the first lane: in `lfnn-l` the forward pass from unit to unit, in
    /// `bp` the gradient on its way back. What stands between two stretches of the chain goes to another
    /// lane: a unit's own backward pass and update, or a layer's weight gradient.
    ///
    /// So that the chain does not run far ahead, with all that it wrote still needed, a stretch of it waits
    /// for the work beside it but for the last `lanes - 1` pieces.
    pub fn new(nodes: &[Node], tensors: &Tensors, lanes: usize) -> Self {
        let lanes = lanes.max(1);
        let mut schedule = Self {
            lanes,
            lane: Vec::with_capacity(nodes.len()),
            after: Vec::with_capacity(nodes.len()),
            done: Vec::with_capacity(nodes.len()),
            place: Vec::with_capacity(nodes.len()),
        };
        let dependences = dependences(nodes, tensors);
        let chain = longest_chain(nodes, &dependences);
        let mut last: Vec<Option<usize>> = vec![None; lanes];
        // The last node of each piece of work beside the chain.
        let mut pieces: Vec<usize> = Vec::new();
        let mut was_in_chain = true;
        for (node, mut before) in dependences.into_iter().enumerate() {
            let lane = if lanes == 1 || chain[node] {
                if !was_in_chain && let Some(piece) = pieces.len().checked_sub(lanes) {
                    before.push(pieces[piece]);
                    before.sort_unstable();
                }
                0
            } else {
                if was_in_chain {
                    pieces.push(node);
                }
                if let Some(end) = pieces.last_mut() {
                    *end = node;
                }
                1 + (pieces.len() - 1) % (lanes - 1)
            };
            was_in_chain = lanes == 1 || chain[node];
            schedule.push(lane, &before, &mut last);
        }
        schedule
    }

    /// Appends a node that waits for these.
    fn push(&mut self, lane: usize, before: &[usize], last: &mut [Option<usize>]) {
        // What is done already: all that the lane's last node knew, then what the dependences know.
        let mut done = last[lane].map_or_else(|| vec![0; self.lanes], |i| self.done[i].clone());
        let mut after = Vec::new();
        for &other in before.iter().rev() {
            let from = self.lane[other];
            if from == lane || done[from] >= self.place[other] {
                continue;
            }
            after.push(other);
            for (known, more) in done.iter_mut().zip(&self.done[other]) {
                *known = (*known).max(*more);
            }
        }
        after.reverse();
        let place = last[lane].map_or(0, |i| self.place[i]) + 1;
        done[lane] = place;
        last[lane] = Some(self.lane.len());
        self.lane.push(lane);
        self.after.push(after);
        self.place.push(place);
        self.done.push(done);
    }

    /// Gives lanes and waits to the steps of a program, of which each node's begin at `first`. A node may have
    /// no steps: then whoever waits for it waits for what it waited for.
    pub(super) fn assign(&self, first: &[usize], steps: &mut [Step]) {
        // The last step of each lane so far, and waits that its next step takes over.
        let mut last: Vec<Option<usize>> = vec![None; self.lanes];
        let mut pending: Vec<Vec<usize>> = vec![Vec::new(); self.lanes];
        // For each node, the steps that are done when it is.
        let mut ends: Vec<Vec<usize>> = Vec::with_capacity(first.len());
        for (node, &begin) in first.iter().enumerate() {
            let end = first.get(node + 1).copied().unwrap_or(steps.len());
            let lane = self.lane[node];
            let waits = self.after[node].iter().flat_map(|&other| ends[other].iter().copied());
            pending[lane].extend(waits);
            for step in &mut steps[begin..end] {
                step.lane = lane;
            }
            if begin < end {
                let mut after = std::mem::take(&mut pending[lane]);
                after.sort_unstable();
                after.dedup();
                after.retain(|&step| steps[step].lane != lane);
                steps[begin].after = after;
                last[lane] = Some(end - 1);
                ends.push(vec![end - 1]);
            } else {
                ends.push(last[lane].into_iter().chain(pending[lane].iter().copied()).collect());
            }
        }
    }

    /// Whether a node is always done before another starts.
    pub fn ordered(&self, first: usize, then: usize) -> bool {
        first != then && self.done[then][self.lane[first]] >= self.place[first]
    }

    /// Places the temporaries that the nodes touch: the largest first, each as low as it can lie apart from
    /// all whose uses are not all before, or all after, its own. `bytes` gives a tensor's size.
    pub fn place(
        &self,
        nodes: &[Node],
        tensors: &Tensors,
        bytes: impl Fn(TensorId) -> usize,
    ) -> Lifetimes {
        let mut plan = Lifetimes { offsets: vec![None; tensors.len()], bytes: 0 };
        let mut placed: Vec<(usize, Life)> = Vec::new();
        for life in self.lives(nodes, tensors, bytes) {
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .filter(|(_, other)| !self.apart(other, &life) && !self.apart(&life, other))
                .map(|(offset, other)| (*offset, offset + other.bytes.next_multiple_of(ALIGNMENT)))
                .collect();
            taken.sort_unstable();
            let size = life.bytes.next_multiple_of(ALIGNMENT);
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

    /// When each temporary is used, in the order in which they are placed.
    fn lives(
        &self,
        nodes: &[Node],
        tensors: &Tensors,
        bytes: impl Fn(TensorId) -> usize,
    ) -> Vec<Life> {
        let mut lives: Vec<Option<Life>> = (0..tensors.len()).map(|_| None).collect();
        for (index, node) in nodes.iter().enumerate() {
            let lane = self.lane[index];
            for id in node.touches().filter(|id| tensors[*id].kind == Kind::Temporary) {
                let life = lives[id.index()].get_or_insert_with(|| Life {
                    id,
                    bytes: bytes(id),
                    begin: index,
                    first: vec![None; self.lanes],
                    last: vec![None; self.lanes],
                });
                life.first[lane].get_or_insert(index);
                life.last[lane] = Some(index);
            }
        }
        let mut order: Vec<Life> = lives.into_iter().flatten().collect();
        order.sort_by_key(|life| (Reverse(life.bytes), life.begin, life.id));
        order
    }

    /// Whether all uses of one temporary are done before any use of another starts.
    fn apart(&self, one: &Life, other: &Life) -> bool {
        one.last
            .iter()
            .flatten()
            .all(|&last| other.first.iter().flatten().all(|&first| self.ordered(last, first)))
    }
}

/// When a temporary is used: in each lane, its first and last use. Those between follow.
struct Life {
    id: TensorId,
    bytes: usize,
    begin: usize,
    first: Vec<Option<usize>>,
    last: Vec<Option<usize>>,
}
