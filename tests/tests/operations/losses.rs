//! Errors of workers, local losses and their gradient.

use lfnn_core::program::{
    Align, LocalGradient, LocalLosses, MeanErrors, Reduction, TensorId, WorkerErrors,
};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{Predictions, predictions};
use lfnn_tests::property::property;
use proptest::prelude::*;

/// An exponential, a logarithm and a sum over the width, with logits up to 4 or 30: 30 · 6e-8.
const ERRORS: Tolerance = Tolerance { element: 5e-6, tensor: 1e-6, absolute: 2e-6 };
/// Differences of outputs between 0 and 1, products of a few of them.
const GRADIENTS: Tolerance = Tolerance::sums(3e-6);
/// Sums of positive numbers.
const SUMS: Tolerance = Tolerance::sums(2e-6);

pub(crate) type Setting = (Predictions, u64);

fn settings() -> impl Strategy<Value = Setting> {
    (predictions(), any::<u64>())
}

/// Logits and targets, with the errors and the outputs of the workers.
fn evaluated(case: &mut Case, of: &Predictions, range: f64) -> WorkerErrors {
    let op = WorkerErrors {
        z: case.input_between("z", &of.shape(), -range, range),
        target: of.target(case),
        output: case.output("output", &of.shape()),
        errors: case.output("errors", &of.errors_shape()),
        heads: of.heads,
        loss: of.loss,
    };
    case.push(op.clone());
    op
}

pub(crate) fn worker_errors((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let range = case.source.pick(&[1.0, 4.0, 30.0]);
    evaluated(&mut case, &of, range);
    case.agrees(ERRORS)
}

/// Some errors are not finite, and sometimes an earlier batch had a fault already.
pub(crate) fn mean_errors((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let [batch, predictors] = of.errors_shape();
    let mut values = case.source.reals(batch * predictors, 0.0, 3.0);
    for _ in 0..case.source.below(3) {
        let i = case.source.index(values.len());
        values[i] = case.source.pick(&[f32::NAN, f32::INFINITY, 1.0]);
    }
    let before = case.source.pick(&[0, 0, 2]);
    let errors = case.real("errors", &[batch, predictors], values);
    let mean = case.output("mean", &[predictors]);
    let fault = case.whole("fault", &[1], vec![before]);
    case.push(MeanErrors { errors, mean, fault });
    case.agrees(SUMS)
}

/// Random leaders and a random reference; sometimes neither.
fn led(case: &mut Case, of: &Predictions) -> (Option<TensorId>, Option<TensorId>) {
    if case.source.below(4) == 0 {
        return (None, None);
    }
    let (rows, count) = (of.leader_rows(case), of.leader_count(case));
    let (leaders, _) = of.leaders(case, rows, count);
    (Some(leaders), Some(case.input("reference", &of.reference_shape())))
}

pub(crate) fn local_gradient((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let WorkerErrors { z, target, output, .. } = evaluated(&mut case, &of, 4.0);
    let (leaders, reference) = led(&mut case, &of);
    let op = LocalGradient {
        z,
        output,
        target,
        leaders,
        reference,
        dz: case.output("dz", &of.shape()),
        heads: of.heads,
        loss: of.loss,
        leader_weight: case.source.pick(&[1.0, 0.0, 0.3]),
        follower_weight: case.source.pick(&[1.0, 0.0, 2.5]),
        reduction: case.source.pick(&[Reduction::Sum, Reduction::Mean]),
        align: case.source.pick(&[Align::Output, Align::Logits]),
    };
    case.push(op);
    case.agrees(GRADIENTS)
}

pub(crate) fn local_losses((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let errors = case.input_between("errors", &of.errors_shape(), 0.0, 3.0);
    let value = case.input("value", &of.shape());
    let (rows, count) = (of.leader_rows(&mut case), of.leader_count(&mut case));
    let (leaders, _) = of.leaders(&mut case, rows, count);
    let reference = case.input("reference", &of.reference_shape());
    let losses = case.output("losses", &[1, 2]);
    let reduction = case.source.pick(&[Reduction::Sum, Reduction::Mean]);
    let heads = of.heads;
    case.push(LocalLosses { errors, value, leaders, reference, losses, heads, reduction });
    case.agrees(SUMS)
}

#[test]
pub(crate) fn worker_errors_agree() {
    property(512, settings(), worker_errors);
}

#[test]
pub(crate) fn mean_errors_agree_and_keep_the_first_fault() {
    property(256, settings(), mean_errors);
}

#[test]
pub(crate) fn local_gradients_agree() {
    property(768, settings(), local_gradient);
}

#[test]
pub(crate) fn local_losses_agree() {
    property(256, settings(), local_losses);
}
