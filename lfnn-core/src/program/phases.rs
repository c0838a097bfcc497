//! Which steps of a program run beside which on a backend that has threads.
//!
//! A program goes from part to part of a network: in `lfnn-l` a unit's forward pass, losses, backward pass and
//! update, then the next unit's; in `bp` all forward passes, then the gradient's way back. Some steps of a
//! part compute what later parts need: they are on the *way*. The rest is beside it: in `lfnn-l` all behind
//! a unit's forward pass, in `bp` weight gradients and updates. A [`Phase`] has what one part left beside the
//! way in its first half, and the way through the next part in its second: a unit is updated while the next
//! one computes its outputs.
//!
//! A phase begins when the one before has ended. So no more than two parts are under way, and memory stays
//! flat in depth.

use std::ops::Range;

use super::{Node, Order, Part, Tensors, dependencies, producers};

/// Steps `begin..middle` and steps `middle..end`, of which none waits for one of the other half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Where the first half begins.
    pub begin: usize,
    /// Where the first half ends, and the second begins.
    pub middle: usize,
    /// Where the second half ends.
    pub end: usize,
}

/// The phases of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phases {
    /// The order of the steps: at each place, the position in the program. Phases count these places.
    pub order: Vec<usize>,
    /// One after the other, and together all of the order.
    pub phases: Vec<Phase>,
}

impl Phases {
    /// One phase, one half: every step waits for the one before.
    pub fn in_order(steps: usize) -> Self {
        let phases = vec![Phase { begin: 0, middle: steps, end: steps }];
        Self { order: (0..steps).collect(), phases }
    }

    /// Phases of two halves where dependencies allow it. `parts` has the part of the network of each node.
    pub fn new(nodes: &[Node], parts: &[Part], tensors: &Tensors) -> Self {
        let (order, way) = reorder(nodes, parts, tensors);
        let nodes: Vec<Node> = order.iter().map(|&node| nodes[node].clone()).collect();
        let mut phases: Vec<Phase> = Vec::new();
        let mut open = Phase { begin: 0, middle: 0, end: 0 };
        for (step, before) in dependencies(&nodes, tensors).iter().enumerate() {
            let beside = before.iter().filter(|before| (open.begin..open.middle).contains(before));
            let needed = beside.max();
            if open.end > open.middle && (!way[step] || needed.is_some()) {
                phases.push(open);
                open = Phase { begin: step, middle: step, end: step };
            } else if way[step]
                && let Some(&needed) = needed
            {
                // It waits for a part of the first half: what is behind that stays beside it.
                let middle = needed + 1;
                phases.push(Phase { begin: open.begin, middle, end: middle });
                open.begin = middle;
            }
            open.end = step + 1;
            if !way[step] {
                open.middle = open.end;
            }
        }
        phases.push(open);
        Self { order, phases }
    }

    /// The phase of a place in the order, and whether it is in the second half.
    fn at(&self, place: usize) -> (usize, bool) {
        let phase = self.phases.partition_point(|phase| phase.end <= place);
        (phase, self.phases.get(phase).is_some_and(|phase| place >= phase.middle))
    }
}

/// Of places in the order.
impl Order for Phases {
    fn ordered(&self, first: usize, then: usize) -> bool {
        let ((a, a_half), (b, b_half)) = (self.at(first), self.at(then));
        first < then && (a < b || a_half == b_half)
    }

    /// Its half.
    fn stream(&self, place: usize) -> usize {
        usize::from(self.at(place).1)
    }

    /// It, and the other half of its phase.
    fn beside(&self, place: usize) -> Range<usize> {
        match (self.at(place), self.phases.get(self.at(place).0)) {
            ((_, false), Some(phase)) if phase.middle < phase.end => place..phase.end,
            ((_, true), Some(phase)) if phase.begin < phase.middle => phase.begin..place + 1,
            _ => place..place + 1,
        }
    }
}

/// An order in which each stretch of one part has the steps on the way first, and which steps those are.
fn reorder(nodes: &[Node], parts: &[Part], tensors: &Tensors) -> (Vec<usize>, Vec<bool>) {
    let mut way = way(nodes, parts, tensors);
    let mut order: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut steps = (0..nodes.len()).peekable();
    while let Some(&first) = steps.peek() {
        let mut stretch = Vec::new();
        while let Some(step) = steps.next_if(|&step| parts[step] == parts[first]) {
            stretch.push(step);
        }
        // Nobody needs anything of the last one: it ends the way.
        if !stretch.iter().any(|&step| way[step]) {
            stretch.iter().for_each(|&step| way[step] = true);
        }
        order.extend(stretch.iter().filter(|&&step| way[step]));
        order.extend(stretch.iter().filter(|&&step| !way[step]));
    }
    let way = order.iter().map(|&step| way[step]).collect();
    (order, way)
}

/// What later stretches need the results of, and what that waits for in its own stretch.
fn way(nodes: &[Node], parts: &[Part], tensors: &Tensors) -> Vec<bool> {
    let mut stretch = vec![0; nodes.len()];
    for step in 1..nodes.len() {
        stretch[step] = stretch[step - 1] + usize::from(parts[step] != parts[step - 1]);
    }
    let (dependencies, producers) = (dependencies(nodes, tensors), producers(nodes, tensors));
    let mut way = vec![false; nodes.len()];
    for step in (0..nodes.len()).rev() {
        let elsewhere =
            producers[step].iter().filter(|&&producer| stretch[producer] < stretch[step]);
        elsewhere.for_each(|&producer| way[producer] = true);
        if way[step] {
            let same = dependencies[step].iter().filter(|&&from| stretch[from] == stretch[step]);
            same.for_each(|&from| way[from] = true);
        }
    }
    way
}
