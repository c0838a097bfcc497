//! Optimiser steps.

use lfnn_core::program::{AdamStep, AdvanceStepCounter, ClipFactor, SgdStep, TensorId};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::elementwise::shapes;

/// A sum of squares, which do not cancel, and a root.
const FACTORS: Tolerance = Tolerance::element(2e-6);
/// Sums of a few products of the size of 1, some of which cancel, over up to three steps.
const SGD: Tolerance = Tolerance { element: 5e-7, tensor: 0.0, absolute: 1e-6 };
/// Steps are at most a few rates long, hence absolute; the moments are sums of two products.
const ADAM: Tolerance = Tolerance { element: 1e-6, tensor: 0.0, absolute: 5e-7 };

/// Shapes of gradients, the power of ten of their size, the norm, a seed.
pub(crate) type Gradients = (Vec<Vec<usize>>, i32, f64, u64);

pub(crate) fn clip((shapes, power, max_norm, seed): Gradients) -> Result<(), String> {
    let mut case = Case::new(seed);
    let size = 10f64.powi(power);
    let gradients =
        shapes.iter().map(|shape| case.input_between("gradient", shape, -size, size)).collect();
    let factor = case.output("factor", &[1]);
    case.push(ClipFactor { gradients, factor, max_norm });
    case.agrees(FACTORS)
}

/// What both optimisers read, at a step within the table of rates or beyond.
struct Inputs {
    parameter: TensorId,
    gradient: TensorId,
    rates: TensorId,
    counter: TensorId,
    factor: Option<TensorId>,
}

fn inputs(case: &mut Case, shape: &[usize]) -> Inputs {
    let (rates, step) = (1 + case.source.index(4), case.source.below(6));
    // Large enough that weight decay never cancels it: Adam divides by what would be left.
    let gradients = (0..shape.iter().product())
        .map(|_| (case.source.between(0.2, 1.0) * case.source.pick(&[-1.0, 1.0])) as f32)
        .collect();
    let gradient = case.real("gradient", shape, gradients);
    Inputs {
        parameter: case.input("parameter", shape),
        gradient,
        rates: case.input_between("rates", &[rates], 0.001, 0.3),
        counter: case.counter(1, step, 100),
        factor: case.source.coin().then(|| case.input_between("factor", &[1], 0.5, 1.0)),
    }
}

pub(crate) fn sgd((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = 1 + case.source.index(3);
    let Inputs { parameter, gradient, rates, counter, factor } = inputs(&mut case, &shape);
    let momentum = case.source.pick(&[0.0, 0.9]);
    let keeps_velocity = momentum > 0.0 || case.source.coin();
    let op = SgdStep {
        gradient,
        rates,
        counter,
        factor,
        parameter,
        velocity: keeps_velocity.then(|| case.input("velocity", &shape)),
        momentum,
        nesterov: case.source.coin(),
        weight_decay: case.source.pick(&[0.0, 0.1]),
    };
    case.push(op);
    case.push(AdvanceStepCounter { counter });
    case.agrees(SGD)
}

/// From moments of zero, as training begins, or from later ones.
pub(crate) fn adam((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = 1 + case.source.index(3);
    let Inputs { parameter, gradient, rates, counter, factor } = inputs(&mut case, &shape);
    let length = shape.iter().product();
    let (first, second) = if case.source.coin() {
        (vec![0.0; length], vec![0.0; length])
    } else {
        (case.source.reals(length, -1.0, 1.0), case.source.reals(length, 0.2, 1.0))
    };
    let op = AdamStep {
        gradient,
        rates,
        counter,
        factor,
        parameter,
        first: case.real("first", &shape, first),
        second: case.real("second", &shape, second),
        betas: case.source.pick(&[[0.9, 0.999], [0.5, 0.9]]),
        epsilon: case.source.pick(&[1e-8, 1e-3]),
        weight_decay: case.source.pick(&[0.0, 0.05]),
        decoupled: case.source.coin(),
    };
    case.push(op);
    case.push(AdvanceStepCounter { counter });
    case.agrees(ADAM)
}

#[test]
fn clip_factors_agree() {
    let gradients = prop::collection::vec(shapes(), 1..6);
    property(256, (gradients, -3i32..4, 0.01f64..10.0, any::<u64>()), clip);
}

#[test]
fn sgd_steps_agree() {
    property(256, (shapes(), any::<u64>()), sgd);
}

#[test]
fn adam_steps_agree() {
    property(256, (shapes(), any::<u64>()), adam);
}

properties! {
    clip_factors_agree of ClipFactor;
    sgd_steps_agree of SgdStep;
    adam_steps_agree of AdamStep;
}
