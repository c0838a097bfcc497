//! Similarity matching: its parts, and the gradient of its loss.

use lfnn_core::program::{
    Deviation, DeviationGrad, DeviationTangent, Linear, LinearInputGrad, NormalizeRows,
    NormalizeRowsGrad, SimilarityLoss,
};
use lfnn_tests::derivative::{Rules, Variable};
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::{check_unary, persistent};

#[test]
fn deviations_have_the_right_derivatives() {
    let sizes = (1usize..4, 2usize..4, 2usize..4, 1usize..4, any::<u64>());
    property(96, sizes, |(batch, height, width, channels, seed)| {
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &[batch, height, width, channels]);
        let mean = case.output("mean", &[batch, channels]);
        check_unary(case, x, &[batch, channels], |x, y| {
            let (value, of) = (x.value, y.value);
            [
                vec![Deviation { x: value, mean, y: of }.into()],
                vec![
                    DeviationGrad { x: value, mean, y: of, dy: y.gradient, dx: x.gradient }.into(),
                ],
                vec![
                    DeviationTangent { x: value, mean, y: of, dx: x.tangent, dy: y.tangent }.into(),
                ],
            ]
        })
    });
}

#[test]
fn normalized_rows_have_the_right_derivatives() {
    property(96, (1usize..5, 4usize..9, any::<u64>()), |(batch, features, seed)| {
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &[batch, features]);
        let norm = case.output("norm", &[batch]);
        check_unary(case, x, &[batch, features], |x, y| {
            let jacobian = |dy, dx| NormalizeRowsGrad { y: y.value, norm, dy, dx };
            [
                vec![NormalizeRows { x: x.value, norm, y: y.value }.into()],
                vec![jacobian(y.gradient, x.gradient).into()],
                vec![jacobian(x.tangent, y.tangent).into()],
            ]
        })
    });
}

/// From the features to the loss, which couples the examples: `Σ_b dy[b] losses[b]` with equal `dy` is the weighted loss.
#[test]
fn the_gradient_is_that_of_the_loss() {
    let sizes = (1usize..7, 4usize..9, 2usize..5, any::<bool>(), any::<u64>());
    property(128, sizes, |(batch, features, classes, labels, seed)| {
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &[batch, features]);
        let n = persistent(&mut case, "n", &[batch, features]);
        let norm = case.output("norm", &[batch]);
        let square = [batch, batch];
        let (similarity, gradient) = (case.output("R", &square), case.output("D", &square));
        let target = if labels {
            case.whole_below("labels", &[batch], classes as u32)
        } else {
            // Those of rows that are normalised: symmetric.
            let (values, norms) =
                (case.input("values", &[batch, 3]), case.output("norms", &[batch]));
            let (rows, target) = (case.output("rows", &[batch, 3]), case.output("T", &square));
            case.push(NormalizeRows { x: values, norm: norms, y: rows });
            case.push(Linear { x: rows, weight: rows, bias: None, y: target, groups: 1 });
            target
        };
        let before = case.finish()?;
        let weight = case.source.pick(&[1.0, 0.5, 4.0]);
        let losses = case.output("losses", &[batch, 1]);
        case.push(NormalizeRows { x: x.value, norm, y: n.value });
        case.push(Linear { x: n.value, weight: n.value, bias: None, y: similarity, groups: 1 });
        case.push(SimilarityLoss { similarity, target, gradient, losses, classes, weight });
        let forward = case.finish()?;
        let (dy, dx) = (gradient, n.gradient);
        case.push(LinearInputGrad { dy, weight: n.value, dx, groups: 1 });
        case.push(NormalizeRowsGrad { y: n.value, norm, dy: dx, dx: x.gradient });
        let backward = case.finish()?;
        let share = (weight / batch as f64) as f32;
        let rules = Rules {
            forward,
            backward,
            tangent: None,
            variables: vec![Variable { value: x.value, gradient: x.gradient, tangent: None }],
            y: losses,
            dy: case.real("share", &[batch, 1], vec![share; batch]),
        };
        rules.check(&case, Some(before))
    });
}
