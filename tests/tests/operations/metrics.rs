//! Sums for the record, in whole and in partial batches.

use lfnn_core::program::{AccumulateRows, CountErrors, Decision, Predictions};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// A sum over the rows of a batch.
const SUMS: Tolerance = Tolerance::sums(2e-6);

/// Rows, the step, how many examples of the epoch lie beyond or before the batch's end, features, a
/// seed.
pub(crate) type Rows = (usize, u32, u32, usize, u64);

fn rows() -> impl Strategy<Value = Rows> {
    (1usize..20, 0u32..4, 0u32..60, 1usize..20, any::<u64>())
}

pub(crate) fn accumulate((rows, step, count, n, seed): Rows) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = case.source.pick(&[1, 2]);
    let x = case.input("x", &[rows, n]);
    let total = case.input("total", &[n]);
    let counter = case.counter(1, step, count);
    case.push(AccumulateRows { x, counter, total });
    case.agrees(SUMS)
}

/// Outputs are drawn from few values, so that the largest is often not alone and the threshold is
/// often hit.
pub(crate) fn count((rows, step, count, _, seed): Rows) -> Result<(), String> {
    let mut case = Case::new(seed);
    let one_vs_all = case.source.coin();
    let decision = case.source.pick(&[
        Decision::Largest,
        Decision::Threshold { one_vs_all },
        Decision::LargestClassifier,
    ]);
    let (classifiers, workers, classes) =
        (1 + case.source.index(4), 1 + case.source.index(5), 1 + case.source.index(6));
    let predictions = match decision {
        Decision::Largest => Predictions { classifiers, workers, classes },
        Decision::Threshold { .. } => Predictions { classifiers, workers, classes: 1 },
        Decision::LargestClassifier => Predictions { classifiers, workers: 1, classes: 1 },
    };
    let counters =
        if decision == Decision::LargestClassifier { 1 } else { predictions.predictors() };
    let outputs = case.source.picks(rows * predictions.features(), &[0.0, 0.25, 0.5, 0.75, 1.0]);
    let before = case.source.picks(counters, &[0.0, 1.0, 1000.0]);
    let op = CountErrors {
        output: case.real("output", &[rows, predictions.features()], outputs),
        target: case.whole_below("target", &[rows], 1 + classes.max(classifiers) as u32),
        counter: case.counter(0, step, count),
        wrong: case.real("wrong", &[counters], before),
        predictions,
        decision,
    };
    case.push(op);
    case.agrees(Tolerance::EXACT)
}

#[test]
fn rows_with_examples_are_summed() {
    property(512, rows(), accumulate);
}

#[test]
fn wrong_predictions_are_counted() {
    property(512, rows(), count);
}

properties! {
    rows_with_examples_are_summed of AccumulateRows;
    wrong_predictions_are_counted of CountErrors;
}
