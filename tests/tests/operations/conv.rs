//! Convolutions of random geometry.

use lfnn_core::program::{
    Activate, Activation, BatchNorm, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, DType,
};
use lfnn_cuda::Precision;
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use lfnn_tests::under_test::precision;
use proptest::prelude::*;

use crate::factors::{activation, parameter, result, sums};
use crate::window::{Sliding, convolved};

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) sliding: Sliding,
    pub(crate) groups: usize,
    /// Channels of one group.
    pub(crate) input: usize,
    /// Filters of one group.
    pub(crate) out: usize,
    pub(crate) bias: bool,
    pub(crate) seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..5, convolved(), 1usize..4, 1usize..7, 1usize..7, any::<bool>(), any::<u64>()).prop_map(
        |(batch, sliding, groups, input, out, bias, seed)| Shape {
            batch,
            sliding,
            groups,
            input,
            out,
            bias,
            seed,
        },
    )
}

impl Shape {
    fn x(&self) -> [usize; 4] {
        let [height, width] = self.sliding.image;
        [self.batch, height, width, self.groups * self.input]
    }

    fn weight(&self) -> [usize; 4] {
        let [height, width] = self.sliding.window.kernel;
        [self.groups * self.out, height, width, self.input]
    }

    fn y(&self) -> [usize; 4] {
        let [height, width] = self.sliding.result;
        [self.batch, height, width, self.groups * self.out]
    }
}

pub(crate) fn forward(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let x = activation(&mut case, "x", &shape.x());
    let weight = parameter(&mut case, "weight", &shape.weight());
    let bias = shape.bias.then(|| case.input("bias", &[shape.groups * shape.out]));
    let (y, written) = result(&mut case, "y", &shape.y());
    let (window, groups) = (shape.sliding.window, shape.groups);
    case.push(Conv2d { x, weight, bias, y, window, groups });
    written(&mut case);
    case.agrees(sums())
}

/// Batch normalisation behind a convolution, of which a backend may take the statistics while it has the sums; alone,
/// or with a ReLU.
pub(crate) fn normalized(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let channels = [shape.groups * shape.out];
    let x = activation(&mut case, "x", &shape.x());
    let weight = parameter(&mut case, "weight", &shape.weight());
    // In single precision means lie up to some tens of deviations from 0.
    let far = if precision() == Precision::F32 { 10.0 } else { 1.0 };
    let bias = shape.bias.then(|| case.input_between("bias", &channels, -far, far));
    let (y, written) = result(&mut case, "y", &shape.y());
    let (window, groups) = (shape.sliding.window, shape.groups);
    let gamma = case.input_between("gamma", &channels, 0.5, 1.5);
    let beta = case.input("beta", &channels);
    let running_mean = case.input("running_mean", &channels);
    let running_var = case.input_between("running_var", &channels, 0.5, 2.0);
    let [mean, inv_std] = ["mean", "inv_std"].map(|name| case.output(name, &channels));
    let (normal, normal_written) = result(&mut case, "normalised", &shape.y());
    let (momentum, epsilon) = (0.1, 0.1);
    case.push(Conv2d { x, weight, bias, y, window, groups });
    let activated = case.source.coin();
    let between = case.temporary("between", DType::Real, &shape.y());
    case.push(BatchNorm {
        x: y,
        gamma,
        beta,
        y: if activated { between } else { normal },
        mean,
        inv_std,
        running_mean,
        running_var,
        momentum,
        epsilon,
    });
    if activated {
        case.push(Activate { x: between, y: normal, function: Activation::Relu });
    }
    written(&mut case);
    normal_written(&mut case);
    case.agrees(normal_sums())
}

/// Sums, divided by deviations of about 0.3 and more; in half precision the sums are rounded, and normalising magnifies
/// that.
fn normal_sums() -> Tolerance {
    let rounding = match precision() {
        Precision::F32 => 3e-5,
        Precision::Tf32 => 1e-4,
        Precision::Bf16 => 2f64.powi(-6),
        Precision::F16 => 2f64.powi(-9),
    };
    Tolerance { element: rounding, tensor: rounding, absolute: rounding }
}

pub(crate) fn input_grad(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let dy = activation(&mut case, "dy", &shape.y());
    let weight = parameter(&mut case, "weight", &shape.weight());
    let (dx, written) = result(&mut case, "dx", &shape.x());
    let (window, groups) = (shape.sliding.window, shape.groups);
    case.push(Conv2dInputGrad { dy, weight, dx, window, groups });
    written(&mut case);
    case.agrees(sums())
}

pub(crate) fn weight_grad(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let x = activation(&mut case, "x", &shape.x());
    let dy = activation(&mut case, "dy", &shape.y());
    let dweight = case.output("dweight", &shape.weight());
    let dbias = shape.bias.then(|| case.output("dbias", &[shape.groups * shape.out]));
    let (window, groups) = (shape.sliding.window, shape.groups);
    case.push(Conv2dWeightGrad { x, dy, dweight, dbias, window, groups });
    case.agrees(sums())
}

#[test]
pub(crate) fn convolution_agrees() {
    property(256, shapes(), forward);
}

/// A variance needs two rows.
#[test]
pub(crate) fn convolution_with_normalisation_agrees() {
    let several = shapes().prop_map(|shape| Shape { batch: shape.batch + 1, ..shape });
    property(256, several, normalized);
}

#[test]
pub(crate) fn convolution_input_grad_agrees() {
    property(256, shapes(), input_grad);
}

#[test]
pub(crate) fn convolution_weight_grad_agrees() {
    property(256, shapes(), weight_grad);
}

properties! {
    convolution_agrees of Conv2d;
    convolution_with_normalisation_agrees;
    convolution_input_grad_agrees of Conv2dInputGrad;
    convolution_weight_grad_agrees of Conv2dWeightGrad;
}
