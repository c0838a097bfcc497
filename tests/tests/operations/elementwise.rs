//! Operations on elements and channels.

use lfnn_core::program::{
    Activate, ActivateGrad, Activation, Add, AddBias, BiasGrad, Dropout, ScaleGrad,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// An exponential or two and a division, each good to a few units in the last place (1.2e-7). The
/// absolute part is for `tanh` and its slope where they nearly vanish.
const FUNCTIONS: Tolerance = Tolerance { element: 1e-6, tensor: 0.0, absolute: 2e-7 };
/// One or two roundings.
const ROUNDED: Tolerance = Tolerance::element(3e-7);
/// A few summands of the size of 1, or many.
const SUMS: Tolerance = Tolerance::sums(2e-6);

/// Shapes of two to four axes.
pub(crate) fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        (1usize..40, 1usize..40).prop_map(|(a, b)| vec![a, b]),
        (1usize..6, 1usize..9, 1usize..9, 1usize..20).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
    ]
}

pub(crate) fn functions() -> impl Strategy<Value = Activation> {
    prop_oneof![Just(Activation::Relu), Just(Activation::Sigmoid), Just(Activation::Tanh)]
}

pub(crate) fn activate(
    (shape, function, range, seed): (Vec<usize>, Activation, f64, u64),
) -> Result<(), String> {
    let mut case = Case::new(seed);
    let mut values = case.source.reals(shape.iter().product(), -range, range);
    if case.source.below(4) == 0 {
        let i = case.source.index(values.len());
        values[i] = case.source.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
    }
    let x = case.real("x", &shape, values);
    let y = case.output("y", &shape);
    case.push(Activate { x, y, function });
    case.agrees(FUNCTIONS)
}

pub(crate) fn activate_grad(
    (shape, function, seed): (Vec<usize>, Activation, u64),
) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input_between("x", &shape, -4.0, 4.0);
    let dy = case.input("dy", &shape);
    let y = case.output("y", &shape);
    let dx = case.output("dx", &shape);
    case.push(Activate { x, y, function });
    case.push(ActivateGrad { y, dy, dx, function });
    case.agrees(FUNCTIONS)
}

pub(crate) fn dropout((shape, rate, seed): (Vec<usize>, f64, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let number = case.source.below(1 << 24);
    // Away from 0, so that a dropped element never looks kept.
    let x = case.input_between("x", &shape, 0.5, 1.0);
    let counter = case.any_counter();
    let y = case.output("y", &shape);
    case.push(Dropout { x, counter, y, rate, stream: Stream::new(Purpose::Dropout, number) });
    case.agrees(ROUNDED)
}

pub(crate) fn add((shape, summands, seed): (Vec<usize>, usize, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let inputs = (0..summands).map(|i| case.input(&format!("x{i}"), &shape)).collect();
    let y = case.output("y", &shape);
    case.push(Add { inputs, y });
    case.agrees(SUMS)
}

pub(crate) fn add_bias((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let x = case.input("x", &shape);
    let bias = case.input("bias", &shape[shape.len() - 1..]);
    let y = case.output("y", &shape);
    case.push(AddBias { x, bias, y });
    case.agrees(ROUNDED)
}

pub(crate) fn bias_grad((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let dy = case.input("dy", &shape);
    let dbias = case.output("dbias", &shape[shape.len() - 1..]);
    case.push(BiasGrad { dy, dbias });
    case.agrees(SUMS)
}

pub(crate) fn scale_grad((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let (x, dy) = (case.input("x", &shape), case.input("dy", &shape));
    let dscale = case.output("dscale", &shape[shape.len() - 1..]);
    case.push(ScaleGrad { x, dy, dscale });
    case.agrees(SUMS)
}

#[test]
fn activations_agree() {
    // Also far out, where the exponential overflows or vanishes.
    let ranges = prop_oneof![Just(1.0), Just(8.0), Just(200.0)];
    property(256, (shapes(), functions(), ranges, any::<u64>()), activate);
}

#[test]
fn activation_grads_agree() {
    property(256, (shapes(), functions(), any::<u64>()), activate_grad);
}

#[test]
fn dropout_drops_the_same_elements() {
    let rates = prop_oneof![Just(0.0), Just(0.5), Just(0.1), Just(0.999), 0.0..1.0];
    property(256, (shapes(), rates, any::<u64>()), dropout);
}

#[test]
fn sums_agree() {
    property(256, (shapes(), 2usize..6, any::<u64>()), add);
}

#[test]
fn adding_a_bias_agrees() {
    property(256, (shapes(), any::<u64>()), add_bias);
}

#[test]
fn bias_grad_agrees() {
    property(256, (shapes(), any::<u64>()), bias_grad);
}

#[test]
fn scale_grad_agrees() {
    property(256, (shapes(), any::<u64>()), scale_grad);
}

properties! {
    activations_agree of Activate, narrow;
    activation_grads_agree of ActivateGrad, narrow;
    dropout_drops_the_same_elements of Dropout, narrow;
    sums_agree of Add, narrow;
    adding_a_bias_agrees of AddBias, narrow;
    bias_grad_agrees of BiasGrad, narrow;
    scale_grad_agrees of ScaleGrad, narrow;
}
