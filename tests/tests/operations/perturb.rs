//! Normal variates and inner products.

use lfnn_core::program::{Gaussian, InnerProduct};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::elementwise::shapes;

/// A logarithm, a root, a sine and three products in single precision, of a result below 5.8.
const DRAWS: Tolerance = Tolerance { element: 1e-6, tensor: 0.0, absolute: 2e-6 };
/// Many products of the size of 1.
const SUMS: Tolerance = Tolerance::sums(2e-6);

/// The shape of what belongs to the whole, or to each example, position or group of channels.
fn parts(case: &mut Case, shape: &[usize]) -> Vec<usize> {
    let examples = if case.source.coin() { 1 } else { shape[0] };
    let of_example = shape[1..].split_last().map_or(1, |(_, middle)| middle.iter().product());
    let apart = case.source.coin() && examples == shape[0];
    let channels = if shape.len() > 1 { shape[shape.len() - 1] } else { 1 };
    let divisors: Vec<usize> = (1..=channels).filter(|groups| channels % groups == 0).collect();
    let groups = divisors[case.source.below(divisors.len() as u32) as usize];
    vec![examples, if apart { of_example } else { 1 }, groups]
}

pub(crate) fn gaussian((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let number = case.source.below(1 << 24);
    let counter = case.any_counter();
    let factor = case.source.coin().then(|| {
        let parts = parts(&mut case, &shape);
        case.input("factor", &parts)
    });
    let y = case.output("y", &shape);
    case.push(Gaussian { counter, factor, y, stream: Stream::new(Purpose::Perturbation, number) });
    case.agrees(DRAWS)
}

pub(crate) fn inner_product((shape, seed): (Vec<usize>, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    let [a, b] = ["a", "b"].map(|name| case.input(name, &shape));
    let parts = parts(&mut case, &shape);
    let y = case.output("y", &parts);
    case.push(InnerProduct { a, b, y });
    case.agrees(SUMS)
}

fn any_shape() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![4 => shapes(), 1 => (1usize..200).prop_map(|a| vec![a])]
}

#[test]
fn gaussian_draws_agree() {
    property(256, (any_shape(), any::<u64>()), gaussian);
}

#[test]
fn inner_products_agree() {
    property(256, (any_shape(), any::<u64>()), inner_product);
}

properties! {
    gaussian_draws_agree of Gaussian, narrow;
    inner_products_agree of InnerProduct, narrow;
}
