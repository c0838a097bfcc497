//! Convolutions of random geometry.

use lfnn_core::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad};
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
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

#[test]
pub(crate) fn convolution_input_grad_agrees() {
    property(256, shapes(), input_grad);
}

#[test]
pub(crate) fn convolution_weight_grad_agrees() {
    property(256, shapes(), weight_grad);
}
