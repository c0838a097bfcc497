//! Operations that move elements: exact.

use lfnn_core::program::{Concat, Flatten, Split, TensorId, Unflatten};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

pub(crate) type Image = ([usize; 4], u64);

fn images() -> impl Strategy<Value = Image> {
    (
        (1usize..6, 1usize..9, 1usize..9, 1usize..40).prop_map(|(b, h, w, c)| [b, h, w, c]),
        any::<u64>(),
    )
}

fn flat([batch, height, width, channels]: [usize; 4]) -> [usize; 2] {
    [batch, channels * height * width]
}

pub(crate) fn flatten((image, seed): Image) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input("x", &image);
    let y = case.output("y", &flat(image));
    case.push(Flatten { x, y });
    case.agrees(Tolerance::EXACT)
}

pub(crate) fn unflatten((image, seed): Image) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input("x", &flat(image));
    let y = case.output("y", &image);
    case.push(Unflatten { x, y });
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
fn flatten_agrees() {
    property(256, images(), flatten);
}

#[test]
fn unflatten_agrees() {
    property(256, images(), unflatten);
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
    flatten_agrees of Flatten, narrow;
    unflatten_agrees of Unflatten, narrow;
    concat_agrees of Concat, narrow;
    split_agrees of Split, narrow;
}
