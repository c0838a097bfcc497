//! Holding out part of the examples, for validation or for a test.

use std::collections::BTreeMap;

use crate::random::{Purpose, Stream, permutation};

/// Two disjoint lists of indices that together hold every example, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Examples to learn from.
    pub train: Vec<u32>,
    /// Examples to choose settings and models by.
    pub validation: Vec<u32>,
}

/// Holds out `count` examples, as evenly over the classes as their sizes allow.
///
/// Which ones depends on `labels`, `count` and `seed` alone. A larger `count` with the same seed
/// holds out the same examples and more, but where rounding gives a class one fewer.
/// None comes back if `count` is not less than the number of examples.
pub fn hold_out(labels: &[u32], count: usize, seed: u64) -> Option<Split> {
    let n = labels.len();
    if count >= n || u32::try_from(n).is_err() {
        return None;
    }
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (&label, index) in labels.iter().zip(0..) {
        members.entry(label).or_default().push(index);
    }
    let sizes: Vec<usize> = members.values().map(Vec::len).collect();

    let stream = Stream::new(Purpose::Split, 0);
    let mut held = vec![false; n];
    for ((&label, indices), quota) in members.iter().zip(quotas(&sizes, count)) {
        // The label takes the epoch's place in the key, so each class has an order of its own.
        let order = permutation(stream, seed, label, indices.len() as u32);
        for &chosen in &order[..quota] {
            held[indices[chosen as usize] as usize] = true;
        }
    }
    let (validation, train) = (0..n as u32).partition(|&index| held[index as usize]);
    Some(Split { train, validation })
}

/// How many of each class to hold out: its share of `count` rounded down, then one more for the
/// largest remainders until the sum is right. A class keeps an example to learn from if it can.
fn quotas(sizes: &[usize], count: usize) -> Vec<usize> {
    let n = sizes.iter().sum::<usize>() as u128;
    let share = |size: usize| count as u128 * size as u128;
    let mut quotas: Vec<usize> = sizes.iter().map(|&size| (share(size) / n) as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&class| {
        let emptied = quotas[class] + 1 == sizes[class];
        (emptied, std::cmp::Reverse(share(sizes[class]) % n), class)
    });
    let missing = count - quotas.iter().sum::<usize>();
    for &class in &order[..missing] {
        quotas[class] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_split_is_stratified_sorted_and_depends_on_the_seed() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 10).collect();
        let split = hold_out(&labels, 105, 3).unwrap();
        assert_eq!(split.validation.len(), 105);
        assert!(split.train.is_sorted() && split.validation.is_sorted());
        for class in 0..10 {
            let held = split.validation.iter().filter(|&&i| labels[i as usize] == class).count();
            assert_eq!(held, if class < 5 { 11 } else { 10 }, "class {class}");
        }
        assert_eq!(split, hold_out(&labels, 105, 3).unwrap());
        assert_ne!(split, hold_out(&labels, 105, 4).unwrap());
    }

    #[test]
    fn all_examples_cannot_be_held_out() {
        assert_eq!(hold_out(&[0, 1, 1], 3, 0), None);
        assert_eq!(hold_out(&[], 0, 0), None);
    }

    #[test]
    fn a_class_of_one_image_stays_in_training_if_others_can_give() {
        let mut labels = vec![0; 9];
        labels.push(7);
        let split = hold_out(&labels, 8, 1).unwrap();
        assert!(split.train.contains(&9));
    }

    proptest! {
        #[test]
        fn every_image_is_in_exactly_one_part(
            labels in prop::collection::vec(0u32..5, 1..60),
            fraction in 0.0f64..1.0,
            seed: u64,
        ) {
            let count = (labels.len() as f64 * fraction) as usize;
            let split = hold_out(&labels, count, seed).unwrap();
            prop_assert_eq!(split.validation.len(), count);
            let mut all = [split.train, split.validation].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
        }
    }
}
