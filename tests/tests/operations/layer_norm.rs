//! Layer normalisation.

use lfnn_core::program::{LayerNorm, LayerNormGrad};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// Means of up to some hundred numbers up to 3 from 0 and differences from them, then sums of squares; ε of at least
/// 10⁻³ keeps `inv_std` below 32 where the numbers of a run happen to be close.
const NORMALIZED: Tolerance = Tolerance { element: 1e-5, tensor: 1e-5, absolute: 1e-5 };

/// The axes before the last, runs, their width, ε and a seed.
pub(crate) type Runs = (Vec<usize>, usize, usize, f64, u64);

fn runs() -> impl Strategy<Value = Runs> {
    let axes = prop_oneof![(1usize..30).prop_map(|n| vec![n]), prop::collection::vec(1usize..6, 3)];
    let widths = prop_oneof![1usize..20, Just(32), 33usize..100, Just(300)];
    let epsilons = prop_oneof![Just(1e-3), Just(0.1)];
    (axes, 1usize..4, widths, epsilons, any::<u64>())
}

/// Runs around a centre; those of some rows may be of equal numbers.
fn normalized(case: &mut Case, (axes, runs, width, epsilon, _): Runs) -> LayerNorm {
    let shape = [&axes[..], &[runs * width]].concat();
    let (n, centre) = (shape.iter().product::<usize>(), case.source.between(-2.0, 2.0));
    let values = (0..n).map(|i| {
        let apart = if i / width % 5 == 3 { 0.0 } else { case.source.between(-1.0, 1.0) };
        (centre + apart) as f32
    });
    let values = values.collect();
    let op = LayerNorm {
        x: case.real("x", &shape, values),
        y: case.output("y", &shape),
        inv_std: case.output("inv_std", &[n / width]),
        width,
        epsilon,
    };
    case.push(op.clone());
    op
}

pub(crate) fn forward(runs: Runs) -> Result<(), String> {
    let mut case = Case::new(runs.4);
    normalized(&mut case, runs);
    case.agrees(NORMALIZED)
}

pub(crate) fn grad(runs: Runs) -> Result<(), String> {
    let mut case = Case::new(runs.4);
    let LayerNorm { y, inv_std, width, .. } = normalized(&mut case, runs);
    let shape = case.shape(y);
    let (dy, dx) = (case.input("dy", &shape), case.output("dx", &shape));
    case.push(LayerNormGrad { y, inv_std, dy, dx, width });
    case.agrees(NORMALIZED)
}

#[test]
fn normalized_runs_agree_also_of_equal_numbers() {
    property(256, runs(), forward);
}

#[test]
fn the_jacobian_of_normalized_runs_agrees() {
    property(256, runs(), grad);
}

properties! {
    normalized_runs_agree_also_of_equal_numbers of LayerNorm, narrow;
    the_jacobian_of_normalized_runs_agrees of LayerNormGrad, narrow;
}
