//! Batch normalisation.

use lfnn_core::program::{
    Activate, Activation, BatchNorm, BatchNormGrad, BatchNormInference, BatchNormTangent, DType,
    TensorId,
};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::elementwise::shapes;

/// Means over all rows, then differences from them. Inputs lie up to 3 from 0 with a deviation of
/// 0.6, so a mean is off by some 1e-6 deviations; ε of at least 10⁻³ keeps `inv_std` below 32 where
/// few rows happen to be close.
const NORMALIZED: Tolerance = Tolerance { element: 1e-5, tensor: 1e-5, absolute: 1e-5 };

/// A shape with several rows, ε and a seed.
pub(crate) type Shape = (Vec<usize>, f64, u64);

fn normalizable() -> impl Strategy<Value = Shape> {
    let rows = shapes().prop_map(|mut shape| {
        shape[0] += 1;
        shape
    });
    (rows, prop_oneof![Just(1e-3), Just(0.1)], any::<u64>())
}

/// What the operations have in common: the input, off centre, and the channels' parameters.
struct Inputs {
    x: TensorId,
    gamma: TensorId,
    beta: TensorId,
}

fn inputs(case: &mut Case, shape: &[usize]) -> Inputs {
    let channels = &shape[shape.len() - 1..];
    let centre = case.source.between(-2.0, 2.0);
    Inputs {
        x: case.input_between("x", shape, centre - 1.0, centre + 1.0),
        gamma: case.input_between("gamma", channels, 0.5, 1.5),
        beta: case.input("beta", channels),
    }
}

/// Training, whose statistics the backward and forward-mode rules use.
fn train(case: &mut Case, shape: &[usize], epsilon: f64) -> BatchNorm {
    let channels = &shape[shape.len() - 1..];
    let Inputs { x, gamma, beta } = inputs(case, shape);
    let op = BatchNorm {
        x,
        gamma,
        beta,
        y: case.output("y", shape),
        mean: case.output("mean", channels),
        inv_std: case.output("inv_std", channels),
        running_mean: case.input("running_mean", channels),
        running_var: case.input_between("running_var", channels, 0.5, 2.0),
        momentum: case.source.pick(&[0.1, 0.01, 1.0]),
        epsilon,
    };
    case.push(op.clone());
    op
}

pub(crate) fn forward((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = case.source.pick(&[1, 3]);
    train(&mut case, &shape, epsilon);
    case.agrees(NORMALIZED)
}

pub(crate) fn inference((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    let channels = &shape[shape.len() - 1..];
    let Inputs { x, gamma, beta } = inputs(&mut case, &shape);
    let running_mean = case.input("running_mean", channels);
    let running_var = case.input_between("running_var", channels, 0.5, 2.0);
    let y = case.output("y", &shape);
    case.push(BatchNormInference { x, gamma, beta, running_mean, running_var, y, epsilon });
    case.agrees(NORMALIZED)
}

/// The gradients that are wanted: all, the input's alone, or the parameters' alone.
pub(crate) fn grad((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    let norm = train(&mut case, &shape, epsilon);
    let channels = &shape[shape.len() - 1..];
    let (input, parameters) = case.source.pick(&[(true, true), (true, false), (false, true)]);
    let op = BatchNormGrad {
        x: norm.x,
        mean: norm.mean,
        inv_std: norm.inv_std,
        gamma: norm.gamma,
        dy: case.input("dy", &shape),
        dx: input.then(|| case.output("dx", &shape)),
        dgamma: parameters.then(|| case.output("dgamma", channels)),
        dbeta: parameters.then(|| case.output("dbeta", channels)),
    };
    case.push(op);
    case.agrees(NORMALIZED)
}

/// Any of the three tangents may be missing.
pub(crate) fn tangent((shape, epsilon, seed): Shape) -> Result<(), String> {
    let mut case = Case::new(seed);
    let norm = train(&mut case, &shape, epsilon);
    let channels = &shape[shape.len() - 1..];
    let given = case.source.below(8);
    let op = BatchNormTangent {
        x: norm.x,
        mean: norm.mean,
        inv_std: norm.inv_std,
        gamma: norm.gamma,
        dx: (given & 1 == 0).then(|| case.input("dx", &shape)),
        dgamma: (given & 2 == 0).then(|| case.input("dgamma", channels)),
        dbeta: (given & 4 == 0).then(|| case.input("dbeta", channels)),
        dy: case.output("dy", &shape),
    };
    case.push(op);
    case.agrees(NORMALIZED)
}

/// Also where a backend does the two at once.
#[test]
pub(crate) fn a_nan_passes_through_normalisation_and_relu() {
    let mut case = Case::new(1);
    let shape = [2, 3, 3, 5];
    let norm = train(&mut case, &shape, 0.1);
    let mut values = case.source.reals(shape.iter().product(), -1.0, 1.0);
    values[7] = f32::NAN;
    let x = case.real("x with NaN", &shape, values);
    let between = case.temporary("between", DType::Real, &shape);
    let y = case.output("activated", &shape);
    case.push(BatchNorm { x, y: between, ..norm });
    case.push(Activate { x: between, y, function: Activation::Relu });
    case.agrees(NORMALIZED).unwrap();
}

#[test]
pub(crate) fn batch_norm_agrees() {
    property(256, normalizable(), forward);
}

#[test]
pub(crate) fn batch_norm_inference_agrees() {
    property(256, normalizable(), inference);
}

#[test]
pub(crate) fn batch_norm_grad_agrees() {
    property(256, normalizable(), grad);
}

#[test]
pub(crate) fn batch_norm_tangent_agrees() {
    property(256, normalizable(), tangent);
}
