//! Similarity matching: deviations over positions, normalised rows, and the loss of their similarities.

use lfnn_core::program::{
    Deviation, DeviationGrad, DeviationTangent, NormalizeRows, NormalizeRowsGrad, SimilarityLoss,
    TensorId,
};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// Means of numbers up to 3 from 0 and differences from them, of at least 0.2: off by some 1e-6 of those.
const MOMENTS: Tolerance = Tolerance::sums(1e-5);
/// Differences of numbers of the size of 1, and sums of their squares.
const SUMS: Tolerance = Tolerance::sums(2e-6);

/// Batch, height and width, channels, a seed.
pub(crate) type Image = (usize, [usize; 2], usize, u64);

fn images() -> impl Strategy<Value = Image> {
    let sides = prop_oneof![
        (1usize..10, 2usize..10).prop_map(|(height, width)| [height, width]),
        (2usize..10).prop_map(|height| [height, 1]),
    ];
    let channels = prop_oneof![1usize..20, Just(32), 33usize..70];
    (1usize..5, sides, channels, any::<u64>())
}

/// Batch, features, a seed.
pub(crate) type Rows = (usize, usize, u64);

fn rows() -> impl Strategy<Value = Rows> {
    (1usize..40, prop_oneof![1usize..8, 8usize..100], any::<u64>())
}

/// Numbers around a centre, of which neighbours at this distance are apart; those of a few groups, each the numbers of
/// one remainder by `groups`, are all equal.
fn spread(case: &mut Case, n: usize, distance: usize, group: impl Fn(usize) -> usize) -> Vec<f32> {
    let centre = case.source.between(-2.0, 2.0);
    let equal = case.source.index(4);
    let number = |i: usize| {
        if group(i) % 4 == equal {
            return (centre + (group(i) % 3) as f64) as f32;
        }
        let side = if (i / distance).is_multiple_of(2) { 0.5 } else { -0.5 };
        (centre + side + case.source.between(-0.3, 0.3)) as f32
    };
    (0..n).map(number).collect()
}

/// An image, its deviations, and how they are tested further.
fn deviation_of(case: &mut Case, (batch, [height, width], channels, _): Image) -> Deviation {
    let shape = [batch, height, width, channels];
    let values = spread(case, shape.iter().product(), channels, |i| i % channels);
    let op = Deviation {
        x: case.real("x", &shape, values),
        mean: case.output("mean", &[batch, channels]),
        y: case.output("y", &[batch, channels]),
    };
    case.push(op.clone());
    op
}

pub(crate) fn deviation(image: Image) -> Result<(), String> {
    let mut case = Case::new(image.3);
    deviation_of(&mut case, image);
    case.agrees(MOMENTS)
}

pub(crate) fn deviation_grad(image: Image) -> Result<(), String> {
    let mut case = Case::new(image.3);
    let Deviation { x, mean, y } = deviation_of(&mut case, image);
    let (moments, shape) = (case.shape(y), case.shape(x));
    let (dy, dx) = (case.input("dy", &moments), case.output("dx", &shape));
    case.push(DeviationGrad { x, mean, y, dy, dx });
    case.agrees(MOMENTS)
}

pub(crate) fn deviation_tangent(image: Image) -> Result<(), String> {
    let mut case = Case::new(image.3);
    let Deviation { x, mean, y } = deviation_of(&mut case, image);
    let (moments, shape) = (case.shape(y), case.shape(x));
    let (dx, dy) = (case.input("dx", &shape), case.output("dy", &moments));
    case.push(DeviationTangent { x, mean, y, dx, dy });
    case.agrees(MOMENTS)
}

/// Rows, of which some have equal numbers.
fn normalized(case: &mut Case, (batch, features, _): Rows) -> NormalizeRows {
    let values = spread(case, batch * features, 1, |i| i / features);
    let op = NormalizeRows {
        x: case.real("x", &[batch, features], values),
        norm: case.output("norm", &[batch]),
        y: case.output("y", &[batch, features]),
    };
    case.push(op.clone());
    op
}

pub(crate) fn normalize_rows(rows: Rows) -> Result<(), String> {
    let mut case = Case::new(rows.2);
    normalized(&mut case, rows);
    case.agrees(MOMENTS)
}

pub(crate) fn normalize_rows_grad(rows: Rows) -> Result<(), String> {
    let mut case = Case::new(rows.2);
    let NormalizeRows { norm, y, .. } = normalized(&mut case, rows);
    let shape = case.shape(y);
    let (dy, dx) = (case.input("dy", &shape), case.output("dx", &shape));
    case.push(NormalizeRowsGrad { y, norm, dy, dx });
    case.agrees(MOMENTS)
}

/// Targets as labels, or as similarities.
fn target(case: &mut Case, batch: usize, classes: usize) -> TensorId {
    if case.source.coin() {
        case.whole_below("labels", &[batch], classes as u32)
    } else {
        case.input("target", &[batch, batch])
    }
}

pub(crate) fn similarity_loss((batch, classes, seed): Rows) -> Result<(), String> {
    let mut case = Case::new(seed);
    let (classes, shape) = (classes + 1, [batch, batch]);
    let op = SimilarityLoss {
        similarity: case.input("similarity", &shape),
        target: target(&mut case, batch, classes),
        gradient: case.output("gradient", &shape),
        losses: case.output("losses", &[batch, 1]),
        classes,
        weight: case.source.pick(&[1.0, 0.1, 99.0]),
    };
    case.push(op);
    case.agrees(SUMS)
}

#[test]
fn deviations_agree_also_of_equal_numbers() {
    property(256, images(), deviation);
}

#[test]
fn deviation_gradients_agree_and_are_zero_for_equal_numbers() {
    property(256, images(), deviation_grad);
}

#[test]
fn deviation_tangents_agree_and_are_zero_for_equal_numbers() {
    property(256, images(), deviation_tangent);
}

#[test]
fn normalized_rows_agree_also_of_equal_numbers() {
    property(256, rows(), normalize_rows);
}

#[test]
fn the_jacobian_of_normalized_rows_agrees_and_is_zero_for_equal_numbers() {
    property(256, rows(), normalize_rows_grad);
}

#[test]
fn similarity_losses_agree() {
    property(256, rows(), similarity_loss);
}

properties! {
    deviations_agree_also_of_equal_numbers of Deviation, narrow;
    deviation_gradients_agree_and_are_zero_for_equal_numbers of DeviationGrad, narrow;
    deviation_tangents_agree_and_are_zero_for_equal_numbers of DeviationTangent, narrow;
    normalized_rows_agree_also_of_equal_numbers of NormalizeRows, narrow;
    the_jacobian_of_normalized_rows_agrees_and_is_zero_for_equal_numbers of NormalizeRowsGrad;
    similarity_losses_agree of SimilarityLoss;
}
