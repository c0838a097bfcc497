//! Layers with a weight.

use lfnn_core::program::{
    Add, BatchNorm, BatchNormGrad, BatchNormTangent, Conv2d, Conv2dInputGrad, Conv2dWeightGrad,
    Linear, LinearInputGrad, LinearWeightGrad,
};

use super::{Chain, Signal, signal, temporary};
use crate::harness::Case;

/// A number of groups that divides the features, mostly 1.
fn groups(case: &mut Case, features: usize) -> usize {
    let groups = case.source.pick(&[1, 1, 2, 3]);
    if features.is_multiple_of(groups) { groups } else { 1 }
}

impl Chain {
    pub(super) fn linear(&mut self, case: &mut Case) {
        let shape = case.shape(self.output.value);
        let groups = groups(case, shape[1]);
        let out = 1 + case.source.index(8);
        let y = signal(case, &[shape[0], groups * out]);
        self.linear_to(case, y, groups);
    }

    pub(super) fn linear_to(&mut self, case: &mut Case, y: Signal, groups: usize) {
        let x = self.output;
        let result = case.shape(y.value);
        let features = result[1];
        let input = case.shape(x.value)[1] / groups;
        let bound = 1.7 / (input as f64).sqrt();
        let weight = self.parameter(case, &[features, input], -bound, bound);
        let bias = self.parameter(case, &[features], -0.5, 0.5);
        let (by_x, by_weight) = (temporary(case, &result), temporary(case, &result));
        let map = |x, weight, bias, y| Linear { x, weight, bias, y, groups };
        self.push(
            y,
            [map(x.value, weight.value, Some(bias.value), y.value).into()],
            [
                map(x.tangent, weight.value, None, by_x).into(),
                map(x.value, weight.tangent.unwrap(), bias.tangent, by_weight).into(),
                Add { inputs: vec![by_x, by_weight], y: y.tangent }.into(),
            ],
            [
                LinearWeightGrad {
                    x: x.value,
                    dy: y.gradient,
                    dweight: weight.gradient,
                    dbias: Some(bias.gradient),
                    groups,
                }
                .into(),
                LinearInputGrad { dy: y.gradient, weight: weight.value, dx: x.gradient, groups }
                    .into(),
            ],
        );
    }

    pub(super) fn convolution(&mut self, case: &mut Case) {
        let x = self.output;
        let [batch, height, width, channels] = case.shape(x.value).try_into().unwrap();
        let groups = groups(case, channels);
        let out = groups * (1 + case.source.index(5));
        let image = [height, width];
        let window = case.source.window(image, &[1, 3, 2], &[1, 1, 2], |kernel| kernel - 1);
        let ([down, across], input) = (window.kernel, channels / groups);
        let bound = 1.7 / ((input * down * across) as f64).sqrt();
        let weight = self.parameter(case, &[out, down, across, input], -bound, bound);
        let bias = self.parameter(case, &[out], -0.5, 0.5);
        let [rows, columns] = window.output(image).unwrap();
        let result = [batch, rows, columns, out];
        let y = signal(case, &result);
        let (by_x, by_weight) = (temporary(case, &result), temporary(case, &result));
        let map = |x, weight, bias, y| Conv2d { x, weight, bias, y, window, groups };
        self.push(
            y,
            [map(x.value, weight.value, Some(bias.value), y.value).into()],
            [
                map(x.tangent, weight.value, None, by_x).into(),
                map(x.value, weight.tangent.unwrap(), bias.tangent, by_weight).into(),
                Add { inputs: vec![by_x, by_weight], y: y.tangent }.into(),
            ],
            [
                Conv2dWeightGrad {
                    x: x.value,
                    dy: y.gradient,
                    dweight: weight.gradient,
                    dbias: Some(bias.gradient),
                    window,
                    groups,
                }
                .into(),
                Conv2dInputGrad {
                    dy: y.gradient,
                    weight: weight.value,
                    dx: x.gradient,
                    window,
                    groups,
                }
                .into(),
            ],
        );
    }

    pub(super) fn batch_norm(&mut self, case: &mut Case) {
        let x = self.output;
        let shape = case.shape(x.value);
        let channels = &shape[shape.len() - 1..];
        let gamma = self.parameter(case, channels, 0.5, 1.5);
        let beta = self.parameter(case, channels, -0.5, 0.5);
        let (mean, inv_std) = (temporary(case, channels), temporary(case, channels));
        let y = signal(case, &shape);
        let norm = BatchNorm {
            x: x.value,
            gamma: gamma.value,
            beta: beta.value,
            y: y.value,
            mean,
            inv_std,
            running_mean: case.input("running_mean", channels),
            running_var: case.input_between("running_var", channels, 0.5, 1.5),
            momentum: 0.1,
            epsilon: 0.1,
        };
        let tangent = BatchNormTangent {
            x: x.value,
            mean,
            inv_std,
            gamma: gamma.value,
            dx: Some(x.tangent),
            dgamma: gamma.tangent,
            dbeta: beta.tangent,
            dy: y.tangent,
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
        self.push(y, [norm.into()], [tangent.into()], [grad.into()]);
    }
}
