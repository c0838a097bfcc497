//! Which steps may run concurrently, and what memory temporaries share when they do.
//!
//! A [`Schedule`] keeps a program's order and gives every operation a *stream*: streams run concurrently, the
//! operations of a stream one after the other, and an operation waits for those of other streams on which
//! it depends. On a device a wait is an event.
//!
//! Two temporaries may share memory only where all uses of one come before all uses of the other
//! whatever the streams' speed (`plan_memory_in`), and so a second stream costs memory.

use std::cmp::Reverse;
use std::ops::Range;

use lfnn_core::program::{Node, Order, Tensors, dependencies};

use super::types::Step;

/// Nanoseconds of the shortest kernel in a graph.
const LAUNCH: u64 = 2_000;
/// Bytes that a device moves in a nanosecond; a round figure, since it only balances streams.
const BYTES_PER_NANOSECOND: u64 = 1_000;

/// Which nodes are on the chain of dependencies that takes longest, if each takes as long as to move its tensors.
fn longest_chain(nodes: &[Node], tensors: &Tensors, dependencies: &[Vec<usize>]) -> Vec<bool> {
    let cost = |node: &Node| LAUNCH + node.bytes(tensors) as u64 / BYTES_PER_NANOSECOND;
    // For each node, the time from its start to the end of all that waits for it, and who of these is slowest.
    let mut rest: Vec<(u64, Option<usize>)> = vec![(0, None); nodes.len()];
    for node in (0..nodes.len()).rev() {
        rest[node].0 += cost(&nodes[node]);
        for &before in &dependencies[node] {
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

/// Streams of nodes, and what each waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How many streams there are: one at least.
    pub streams: usize,
    /// Each node's stream.
    pub stream: Vec<usize>,
    /// For each node, nodes of other streams that must be done before it starts, except those for which an
    /// earlier node of its stream has waited.
    pub after: Vec<Vec<usize>>,
    /// For each node, how many nodes of each stream are certainly done when it is.
    done: Vec<Vec<usize>>,
    /// Each node's place in its stream, from one on.
    place: Vec<usize>,
    /// The nodes of each stream.
    nodes: Vec<Vec<usize>>,
}

impl Schedule {
    /// The longest chain of nodes keeps the first stream: in `lfnn-l` the forward pass from unit to unit, in
    /// `bp` the backward pass. What is between two segments of the chain goes to another
    /// stream: a unit's own backward pass and update, or a layer's weight gradient.
    ///
    /// So that the chain does not run far ahead, with all that it wrote still needed, a segment of it waits
    /// for the concurrent work but for the last `streams - 1` segments.
    pub fn new(nodes: &[Node], tensors: &Tensors, streams: usize) -> Self {
        let streams = streams.max(1);
        let mut schedule = Self {
            streams,
            stream: Vec::with_capacity(nodes.len()),
            after: Vec::with_capacity(nodes.len()),
            done: Vec::with_capacity(nodes.len()),
            place: Vec::with_capacity(nodes.len()),
            nodes: vec![Vec::new(); streams],
        };
        let dependencies = dependencies(nodes, tensors);
        let chain = longest_chain(nodes, tensors, &dependencies);
        let mut last: Vec<Option<usize>> = vec![None; streams];
        // The last node of each segment of concurrent work.
        let mut segments: Vec<usize> = Vec::new();
        let mut was_in_chain = true;
        for (node, mut before) in dependencies.into_iter().enumerate() {
            let stream = if streams == 1 || chain[node] {
                if !was_in_chain && let Some(segment) = segments.len().checked_sub(streams) {
                    before.push(segments[segment]);
                    before.sort_unstable();
                }
                0
            } else {
                if was_in_chain {
                    segments.push(node);
                }
                if let Some(end) = segments.last_mut() {
                    *end = node;
                }
                1 + (segments.len() - 1) % (streams - 1)
            };
            was_in_chain = streams == 1 || chain[node];
            schedule.push(stream, &before, &mut last);
        }
        schedule
    }

    /// Appends a node that waits for these.
    fn push(&mut self, stream: usize, before: &[usize], last: &mut [Option<usize>]) {
        // What is done already: all that the stream's last node knew, then what the dependencies know.
        let mut done = last[stream].map_or_else(|| vec![0; self.streams], |i| self.done[i].clone());
        let mut after = Vec::new();
        for &other in before.iter().rev() {
            let from = self.stream[other];
            if from == stream || done[from] >= self.place[other] {
                continue;
            }
            after.push(other);
            for (known, more) in done.iter_mut().zip(&self.done[other]) {
                *known = (*known).max(*more);
            }
        }
        after.reverse();
        let place = last[stream].map_or(0, |i| self.place[i]) + 1;
        done[stream] = place;
        last[stream] = Some(self.stream.len());
        self.nodes[stream].push(self.stream.len());
        self.stream.push(stream);
        self.after.push(after);
        self.place.push(place);
        self.done.push(done);
    }

    /// Gives streams and waits to the steps of a program, of which each node's begin at `first`. A node may have
    /// no steps: then whoever waits for it waits for what it waited for.
    pub(super) fn assign(&self, first: &[usize], steps: &mut [Step]) {
        // The last step of each stream so far, and waits that its next step takes over.
        let mut last: Vec<Option<usize>> = vec![None; self.streams];
        let mut pending: Vec<Vec<usize>> = vec![Vec::new(); self.streams];
        // For each node, the steps that are done when it is.
        let mut ends: Vec<Vec<usize>> = Vec::with_capacity(first.len());
        for (node, &begin) in first.iter().enumerate() {
            let end = first.get(node + 1).copied().unwrap_or(steps.len());
            let stream = self.stream[node];
            let waits = self.after[node].iter().flat_map(|&other| ends[other].iter().copied());
            pending[stream].extend(waits);
            for step in &mut steps[begin..end] {
                step.stream = stream;
            }
            if begin < end {
                let mut after = std::mem::take(&mut pending[stream]);
                after.sort_unstable();
                after.dedup();
                after.retain(|&step| steps[step].stream != stream);
                steps[begin].after = after;
                last[stream] = Some(end - 1);
                ends.push(vec![end - 1]);
            } else {
                ends.push(
                    last[stream].into_iter().chain(pending[stream].iter().copied()).collect(),
                );
            }
        }
    }
}

impl Order for Schedule {
    fn ordered(&self, first: usize, then: usize) -> bool {
        first != then && self.done[then][self.stream[first]] >= self.place[first]
    }

    fn stream(&self, step: usize) -> usize {
        self.stream[step]
    }

    /// From the first node of another stream that need not be done before it, to the last that need not wait.
    fn beside(&self, step: usize) -> Range<usize> {
        let (own, place) = (self.stream[step], self.place[step]);
        let others = self.nodes.iter().enumerate().filter(|(stream, _)| *stream != own);
        others.fold(step..step + 1, |range, (stream, nodes)| {
            let first = nodes.get(self.done[step][stream]).copied().unwrap_or(step);
            let waiting = nodes.partition_point(|&node| self.done[node][own] < place);
            let last = waiting.checked_sub(1).map_or(step, |at| nodes[at]);
            range.start.min(first)..range.end.max(last + 1)
        })
    }
}
