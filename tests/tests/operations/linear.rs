//! Linear maps in groups.

use lfnn_core::program::{Linear, LinearInputGrad, LinearWeightGrad};
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::factors::{activation, parameter, result, sums};

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// Features of one group.
    pub(crate) input: usize,
    /// Results of one group.
    pub(crate) out: usize,
    pub(crate) bias: bool,
    pub(crate) seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..20, 1usize..6, 1usize..24, 1usize..20, any::<bool>(), any::<u64>()).prop_map(
        |(batch, groups, input, out, bias, seed)| Shape { batch, groups, input, out, bias, seed },
    )
}

impl Shape {
    fn x(&self) -> [usize; 2] {
        [self.batch, self.groups * self.input]
    }

    fn weight(&self) -> [usize; 2] {
        [self.groups * self.out, self.input]
    }

    fn y(&self) -> [usize; 2] {
        [self.batch, self.groups * self.out]
    }
}

pub(crate) fn forward(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let x = activation(&mut case, "x", &shape.x());
    let weight = parameter(&mut case, "weight", &shape.weight());
    let bias = shape.bias.then(|| case.input("bias", &[shape.groups * shape.out]));
    let (y, written) = result(&mut case, "y", &shape.y());
    case.push(Linear { x, weight, bias, y, groups: shape.groups });
    written(&mut case);
    case.agrees(sums())
}

pub(crate) fn input_grad(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let dy = activation(&mut case, "dy", &shape.y());
    let weight = parameter(&mut case, "weight", &shape.weight());
    let (dx, written) = result(&mut case, "dx", &shape.x());
    case.push(LinearInputGrad { dy, weight, dx, groups: shape.groups });
    written(&mut case);
    case.agrees(sums())
}

pub(crate) fn weight_grad(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let x = activation(&mut case, "x", &shape.x());
    let dy = activation(&mut case, "dy", &shape.y());
    let dweight = case.output("dweight", &shape.weight());
    let dbias = shape.bias.then(|| case.output("dbias", &[shape.groups * shape.out]));
    case.push(LinearWeightGrad { x, dy, dweight, dbias, groups: shape.groups });
    case.agrees(sums())
}

#[test]
pub(crate) fn linear_agrees() {
    property(256, shapes(), forward);
}

#[test]
pub(crate) fn linear_input_grad_agrees() {
    property(256, shapes(), input_grad);
}

#[test]
pub(crate) fn linear_weight_grad_agrees() {
    property(256, shapes(), weight_grad);
}

properties! {
    linear_agrees of Linear;
    linear_input_grad_agrees of LinearInputGrad;
    linear_weight_grad_agrees of LinearWeightGrad;
}
