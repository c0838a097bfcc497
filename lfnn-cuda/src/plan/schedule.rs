//! Which steps may run beside which, and where temporaries lie when they do.
//!
//! A [`Schedule`] keeps a program's order and gives every operation a *lane*: lanes run side by side, the
//! operations of a lane one after the other, and an operation waits for those of other lanes on which
//! it depends. On a device a lane is a stream, and a wait an event.
//!
//! Two temporaries may share memory only where all uses of one come before all uses of the other
//! whatever the lanes' speed (`plan_memory_in`), and so a second lane costs memory.

use std::cmp::Reverse;
use std::ops::Range;

use lfnn_core::program::{Node, Order, Tensors, dependences};

use super::Step;

/// Nanoseconds of the shortest kernel in a graph.
const LAUNCH: u64 = 2_000;
/// Bytes that a device moves in a nanosecond; a round figure, since it only balances lanes.
const BYTES_PER_NANOSECOND: u64 = 1_000;

/// Which nodes are on the chain of dependences that takes longest, if each takes as long as to move its tensors.
fn longest_chain(nodes: &[Node], tensors: &Tensors, dependences: &[Vec<usize>]) -> Vec<bool> {
    let cost = |node: &Node| LAUNCH + node.bytes(tensors) as u64 / BYTES_PER_NANOSECOND;
    // For each node, the time from its start to the end of all that waits for it, and who of these is slowest.
    let mut rest: Vec<(u64, Option<usize>)> = vec![(0, None); nodes.len()];
    for node in (0..nodes.len()).rev() {
        rest[node].0 += cost(&nodes[node]);
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
    /// The nodes of each lane.
    nodes: Vec<Vec<usize>>,
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
            nodes: vec![Vec::new(); lanes],
        };
        let dependences = dependences(nodes, tensors);
        let chain = longest_chain(nodes, tensors, &dependences);
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
        self.nodes[lane].push(self.lane.len());
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
}

impl Order for Schedule {
    fn ordered(&self, first: usize, then: usize) -> bool {
        first != then && self.done[then][self.lane[first]] >= self.place[first]
    }

    fn lane(&self, step: usize) -> usize {
        self.lane[step]
    }

    /// From the first node of another lane that need not be done before it, to the last that need not wait.
    fn beside(&self, step: usize) -> Range<usize> {
        let (own, place) = (self.lane[step], self.place[step]);
        let others = self.nodes.iter().enumerate().filter(|(lane, _)| *lane != own);
        others.fold(step..step + 1, |range, (lane, nodes)| {
            let first = nodes.get(self.done[step][lane]).copied().unwrap_or(step);
            let waiting = nodes.partition_point(|&node| self.done[node][own] < place);
            let last = waiting.checked_sub(1).map_or(step, |at| nodes[at]);
            range.start.min(first)..range.end.max(last + 1)
        })
    }
}
