//! Operations that move elements: exact.

use lfnn_core::program::{Concat, Split, SwapAxes, TensorId};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// Stack, rows, columns and run, and a seed.
pub(crate) type Matrices = ([usize; 4], u64);

fn matrices() -> impl Strategy<Value = Matrices> {
    let runs = prop_oneof![Just(1usize), 2usize..9];
    let extents = (1usize..6, 1usize..70, prop_oneof![1usize..9, 9usize..40], runs);
    (extents.prop_map(|(stack, rows, columns, run)| [stack, rows, columns, run]), any::<u64>())
}

pub(crate) fn swap(([stack, rows, columns, run], seed): Matrices) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input("x", &[stack, rows, columns * run]);
    let y = case.output("y", &[stack * columns, rows * run]);
    case.push(SwapAxes { x, y, rows, columns, run });
    case.agrees(Tolerance::EXACT)
}

/// The axes before the last, and the last axes of the parts.
pub(crate) type Parts = (Vec<usize>, Vec<usize>, u64);

fn parts() -> impl Strategy<Value = Parts> {
    (prop::collection::vec(1usize..6, 1..4), prop::collection::vec(1usize..20, 1..5), any::<u64>())
}

fn with_last(axes: &[usize], last: usize) -> Vec<usize> {
    [axes, &[last]].concat()
}

pub(crate) fn concat((axes, channels, seed): Parts) -> Result<(), String> {
    let mut case = Case::new(seed);
    let inputs: Vec<TensorId> =
        channels.iter().map(|&c| case.input("part", &with_last(&axes, c))).collect();
    let y = case.output("y", &with_last(&axes, channels.iter().sum()));
    case.push(Concat { inputs, y });
    case.agrees(Tolerance::EXACT)
}

pub(crate) fn split((axes, channels, seed): Parts) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input("x", &with_last(&axes, channels.iter().sum()));
    let outputs: Vec<TensorId> =
        channels.iter().map(|&c| case.output("part", &with_last(&axes, c))).collect();
    case.push(Split { x, outputs });
    case.agrees(Tolerance::EXACT)
}

#[test]
fn exchanged_axes_agree() {
    property(256, matrices(), swap);
}

#[test]
fn concat_agrees() {
    property(256, parts(), concat);
}

#[test]
fn split_agrees() {
    property(256, parts(), split);
}

properties! {
    exchanged_axes_agree of SwapAxes, narrow;
    concat_agrees of Concat, narrow;
    split_agrees of Split, narrow;
}
