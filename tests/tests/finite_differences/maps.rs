//! Layers with a weight.

use lfnn_core::program::{
    Add, BatchNorm, BatchNormGrad, BatchNormTangent, Conv2d, Conv2dInputGrad, Conv2dWeightGrad,
    Linear, LinearInputGrad, LinearWeightGrad, Window,
};
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::{last, persistent, rules};

#[test]
fn linear_maps_have_the_right_derivatives() {
    let sizes = (1usize..5, 1usize..4, 1usize..5, 1usize..4, any::<u64>());
    property(64, sizes, |(batch, groups, input, out, seed)| {
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &[batch, groups * input]);
        let weight = persistent(&mut case, "weight", &[groups * out, input]);
        let bias = persistent(&mut case, "bias", &[groups * out]);
        let result = [batch, groups * out];
        let y = persistent(&mut case, "y", &result);
        let (by_x, by_weight) = (case.output("by x", &result), case.output("by weight", &result));
        let map = |x, weight, bias, y| Linear { x, weight, bias, y, groups };
        let ops = [
            vec![map(x.value, weight.value, Some(bias.value), y.value).into()],
            vec![
                LinearInputGrad { dy: y.gradient, weight: weight.value, dx: x.gradient, groups }
                    .into(),
                LinearWeightGrad {
                    x: x.value,
                    dy: y.gradient,
                    dweight: weight.gradient,
                    dbias: Some(bias.gradient),
                    groups,
                }
                .into(),
            ],
            vec![
                map(x.tangent, weight.value, None, by_x).into(),
                map(x.value, weight.tangent, Some(bias.tangent), by_weight).into(),
                Add { inputs: vec![by_x, by_weight], y: y.tangent }.into(),
            ],
        ];
        rules(&mut case, &[x, weight, bias], y, ops).check(&case, None)
    });
}

#[test]
fn convolutions_have_the_right_derivatives() {
    let sizes = (1usize..3, 3usize..6, 2usize..5, 1usize..3, 1usize..3, 1usize..3);
    let window = (1usize..4, 1usize..3, 1usize..3, 1usize..3, 0usize..3, 0usize..2);
    property(64, (sizes, window, any::<u64>()), |(sizes, window, seed)| {
        let (batch, height, width, groups, input, out) = sizes;
        let (kernel_height, kernel_width, down, right, top, left) = window;
        let window = Window {
            kernel: [kernel_height, kernel_width],
            stride: [down, right],
            padding: [top, left],
        };
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &[batch, height, width, groups * input]);
        let weight =
            persistent(&mut case, "weight", &[groups * out, kernel_height, kernel_width, input]);
        let bias = persistent(&mut case, "bias", &[groups * out]);
        let [rows, columns] = window.output([height, width])?;
        let result = [batch, rows, columns, groups * out];
        let y = persistent(&mut case, "y", &result);
        let (by_x, by_weight) = (case.output("by x", &result), case.output("by weight", &result));
        let map = |x, weight, bias, y| Conv2d { x, weight, bias, y, window, groups };
        let (dy, dx) = (y.gradient, x.gradient);
        let (dweight, dbias) = (weight.gradient, Some(bias.gradient));
        let ops = [
            vec![map(x.value, weight.value, Some(bias.value), y.value).into()],
            vec![
                Conv2dInputGrad { dy, weight: weight.value, dx, window, groups }.into(),
                Conv2dWeightGrad { x: x.value, dy, dweight, dbias, window, groups }.into(),
            ],
            vec![
                map(x.tangent, weight.value, None, by_x).into(),
                map(x.value, weight.tangent, Some(bias.tangent), by_weight).into(),
                Add { inputs: vec![by_x, by_weight], y: y.tangent }.into(),
            ],
        ];
        rules(&mut case, &[x, weight, bias], y, ops).check(&case, None)
    });
}

#[test]
fn batch_norm_has_the_right_derivatives() {
    let sizes = prop_oneof![
        (2usize..6, 1usize..4).prop_map(|(a, b)| vec![a, b]),
        (1usize..3, 2usize..4, 1usize..4, 1usize..4).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
    ];
    property(128, (sizes, any::<u64>()), |(shape, seed)| {
        let mut case = Case::new(seed);
        let x = persistent(&mut case, "x", &shape);
        let channels = [last(&case, x.value)];
        let gamma = persistent(&mut case, "gamma", &channels);
        let beta = persistent(&mut case, "beta", &channels);
        let y = persistent(&mut case, "y", &shape);
        let (mean, inv_std) = (case.output("mean", &channels), case.output("inv_std", &channels));
        let norm = BatchNorm {
            x: x.value,
            gamma: gamma.value,
            beta: beta.value,
            y: y.value,
            mean,
            inv_std,
            running_mean: case.input("running_mean", &channels),
            running_var: case.input("running_var", &channels),
            momentum: 0.1,
            // Large, so that the second derivative stays moderate where rows are close.
            epsilon: 0.1,
        };
        let grad = BatchNormGrad {
            x: x.value,
            mean,
            inv_std,
            gamma: gamma.value,
            dy: y.gradient,
            dx: Some(x.gradient),
            dgamma: Some(gamma.gradient),
            dbeta: Some(beta.gradient),
        };
        let tangent = BatchNormTangent {
            x: x.value,
            mean,
            inv_std,
            gamma: gamma.value,
            dx: Some(x.tangent),
            dgamma: Some(gamma.tangent),
            dbeta: Some(beta.tangent),
            dy: y.tangent,
        };
        let ops = [vec![norm.into()], vec![grad.into()], vec![tangent.into()]];
        rules(&mut case, &[x, gamma, beta], y, ops).check(&case, None)
    });
}
