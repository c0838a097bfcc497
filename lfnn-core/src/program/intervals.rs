//! Intervals of whole numbers, to be asked which of them meet another: a segment tree.

use std::ops::Range;

/// Labelled intervals below a bound. One that is put in costs the logarithm of the bound, and a question
/// costs that and what it gives.
pub(super) struct Intervals {
    /// Leaves: a power of two, at least the bound.
    leaves: usize,
    /// For each node of the tree, the intervals that begin in it.
    begin: Vec<Vec<u32>>,
    /// For each node, the intervals that cover it but not its parent.
    cover: Vec<Vec<u32>>,
}

impl Intervals {
    /// None yet, of numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        let leaves = bound.max(1).next_power_of_two();
        Self { leaves, begin: vec![Vec::new(); 2 * leaves], cover: vec![Vec::new(); 2 * leaves] }
    }

    /// Puts in an interval that is not empty.
    pub(super) fn insert(&mut self, interval: &Range<usize>, label: u32) {
        for node in self.above(interval.start) {
            self.begin[node].push(label);
        }
        for node in self.parts(interval.clone()) {
            self.cover[node].push(label);
        }
    }

    /// How many [`meeting`](Self::meeting) would give.
    pub(super) fn count(&self, interval: &Range<usize>) -> usize {
        let under_way = self.above(interval.start).map(|node| self.cover[node].len());
        let parts = self.parts(interval.start + 1..interval.end);
        under_way.sum::<usize>()
            + parts.into_iter().map(|node| self.begin[node].len()).sum::<usize>()
    }

    /// Calls `each` with every interval that has a number in common with this one, once.
    pub(super) fn meeting(&self, interval: &Range<usize>, mut each: impl FnMut(u32)) {
        // Those that are under way where it begins, then those that begin later within it.
        for node in self.above(interval.start) {
            self.cover[node].iter().copied().for_each(&mut each);
        }
        for node in self.parts(interval.start + 1..interval.end) {
            self.begin[node].iter().copied().for_each(&mut each);
        }
    }

    /// The nodes from a number's leaf to the root.
    fn above(&self, number: usize) -> impl Iterator<Item = usize> + use<> {
        std::iter::successors(Some(self.leaves + number), |node| Some(node / 2))
            .take_while(|&node| node > 0)
    }

    /// The fewest nodes that together are an interval.
    fn parts(&self, interval: Range<usize>) -> Vec<usize> {
        let (mut low, mut high) = (self.leaves + interval.start, self.leaves + interval.end);
        let mut nodes = Vec::new();
        while low < high {
            if low % 2 == 1 {
                nodes.push(low);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                nodes.push(high);
            }
            (low, high) = (low / 2, high / 2);
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval() -> impl Strategy<Value = Range<usize>> {
        (0usize..40, 1usize..20).prop_map(|(begin, length)| begin..(begin + length).min(40))
    }

    proptest! {
        #[test]
        fn every_interval_that_meets_another_is_found_once(
            all in prop::collection::vec(interval(), 0..40),
            asked in interval(),
        ) {
            let mut intervals = Intervals::new(40);
            for (label, interval) in all.iter().enumerate() {
                intervals.insert(interval, label as u32);
            }
            let mut found = Vec::new();
            intervals.meeting(&asked, |label| found.push(label as usize));
            found.sort_unstable();
            let meets = |other: &Range<usize>| other.start < asked.end && asked.start < other.end;
            let expected: Vec<usize> = (0..all.len()).filter(|&at| meets(&all[at])).collect();
            prop_assert_eq!(intervals.count(&asked), expected.len());
            prop_assert_eq!(found, expected);
        }
    }
}
