//! Losses of workers, the losses that are minimised, and their gradients.

use lfnn_core::program::{
    LocalLoss, LocalLossGradient, LocalLosses, LossGradient, MeanWorkerLoss, Reduction, WorkerLoss,
};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{PredictionBatch, predictions};
use lfnn_tests::property::property;
use proptest::prelude::*;

/// An exponential, a logarithm and a sum over the width, with logits up to 4 or 30: 30 · 6e-8.
const LOSSES: Tolerance = Tolerance { element: 5e-6, tensor: 1e-6, absolute: 2e-6 };
/// Differences of outputs between 0 and 1, products of a few of them.
const GRADIENTS: Tolerance = Tolerance::sums(3e-6);
/// Sums of positive numbers.
const SUMS: Tolerance = Tolerance::sums(2e-6);

pub(crate) type Setting = (PredictionBatch, u64);

fn settings() -> impl Strategy<Value = Setting> {
    (predictions(), any::<u64>())
}

/// Logits and targets, with the losses and the outputs of the workers.
fn evaluated(case: &mut Case, of: &PredictionBatch, range: f64) -> WorkerLoss {
    let op = WorkerLoss {
        z: case.input_between("z", &of.shape(), -range, range),
        target: of.target(case),
        weights: of.weights(case),
        output: case.output("output", &of.shape()),
        losses: case.output("losses", &of.losses_shape()),
        predictions: of.predictions,
        loss: of.loss,
    };
    case.push(op.clone());
    op
}

pub(crate) fn worker_loss((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let range = case.source.pick(&[1.0, 4.0, 30.0]);
    evaluated(&mut case, &of, range);
    case.agrees(LOSSES)
}

/// Some losses are not finite, and sometimes an earlier batch had one already.
pub(crate) fn mean_worker_loss((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let [batch, predictors] = of.losses_shape();
    let mut values = case.source.reals(batch * predictors, 0.0, 3.0);
    for _ in 0..case.source.below(3) {
        let i = case.source.index(values.len());
        values[i] = case.source.pick(&[f32::NAN, f32::INFINITY, 1.0]);
    }
    let before = case.source.pick(&[0, 0, 2]);
    let losses = case.real("losses", &[batch, predictors], values);
    let mean = case.output("mean", &[predictors]);
    let nonfinite = case.whole("nonfinite", &[1], vec![before]);
    case.push(MeanWorkerLoss { losses, mean, nonfinite });
    case.agrees(SUMS)
}

pub(crate) fn loss_gradient((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let WorkerLoss { z, target, weights, output, predictions, loss, .. } =
        evaluated(&mut case, &of, 4.0);
    let dz = case.output("dz", &of.shape());
    let reduction = case.source.pick(&[Reduction::Sum, Reduction::Mean]);
    case.push(LossGradient { z, output, target, weights, dz, predictions, loss, reduction });
    case.agrees(GRADIENTS)
}

/// Random leaders and a random reference.
pub(crate) fn local_loss_gradient((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let WorkerLoss { z, target, weights, output, .. } = evaluated(&mut case, &of, 4.0);
    let (rows, count) = (of.leader_rows(&mut case), of.leader_count(&mut case));
    let (leaders, _) = of.leaders(&mut case, rows, count);
    let op = LocalLossGradient {
        z,
        output,
        target,
        weights,
        leaders,
        reference: case.input("reference", &of.reference_shape()),
        dz: case.output("dz", &of.shape()),
        predictions: of.predictions,
        loss: LocalLoss {
            leader: case.source.pick(&[1.0, 0.0, 0.3]),
            follower: case.source.pick(&[1.0, 0.0, 2.5]),
        },
        worker_loss: of.loss,
        reduction: case.source.pick(&[Reduction::Sum, Reduction::Mean]),
        follower: of.follower(&mut case),
    };
    case.push(op);
    case.agrees(GRADIENTS)
}

pub(crate) fn local_losses((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let worker_losses = case.input_between("worker losses", &of.losses_shape(), 0.0, 3.0);
    let value = case.input("value", &of.shape());
    let (rows, count) = (of.leader_rows(&mut case), of.leader_count(&mut case));
    let (leaders, _) = of.leaders(&mut case, rows, count);
    let reference = case.input("reference", &of.reference_shape());
    let losses = case.output("losses", &[1, 2]);
    let follower = of.follower(&mut case);
    let reduction = case.source.pick(&[Reduction::Sum, Reduction::Mean]);
    let predictions = of.predictions;
    case.push(LocalLosses {
        worker_losses,
        value,
        leaders,
        reference,
        losses,
        predictions,
        reduction,
        follower,
    });
    case.agrees(SUMS)
}

#[test]
fn worker_losses_agree() {
    property(512, settings(), worker_loss);
}

#[test]
fn mean_losses_agree_and_keep_the_first_that_is_not_finite() {
    property(256, settings(), mean_worker_loss);
}

#[test]
fn loss_gradients_agree() {
    property(384, settings(), loss_gradient);
}

#[test]
fn local_loss_gradients_agree() {
    property(768, settings(), local_loss_gradient);
}

#[test]
fn local_losses_agree() {
    property(256, settings(), local_losses);
}

properties! {
    worker_losses_agree of WorkerLoss, narrow;
    mean_losses_agree_and_keep_the_first_that_is_not_finite of MeanWorkerLoss;
    loss_gradients_agree of LossGradient, narrow;
    local_loss_gradients_agree of LocalLossGradient, narrow;
    local_losses_agree of LocalLosses, narrow;
}
