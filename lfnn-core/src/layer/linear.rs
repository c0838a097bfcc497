//! Fully connected layers, in independent groups.

use super::{Affine, vector};
use crate::program::{Linear, LinearInputGrad, LinearWeightGrad, TensorId};
use crate::step::StepBuilder;

/// `y = x Wᵀ + b`; with several groups, each group of inputs has its own outputs.
#[derive(Debug)]
pub(crate) struct LinearLayer {
    output: [usize; 1],
    weight: [usize; 2],
    groups: usize,
    bias: bool,
}

impl LinearLayer {
    /// `features` outputs in all.
    pub(crate) fn new(
        input: &[usize],
        features: usize,
        groups: usize,
        bias: bool,
    ) -> Result<Self, String> {
        let inputs = vector(input)?;
        if features == 0 {
            return Err("0 features, expected at least 1".into());
        }
        if groups == 0 || !inputs.is_multiple_of(groups) || !features.is_multiple_of(groups) {
            return Err(format!(
                "{groups} groups do not divide {inputs} inputs and {features} outputs evenly"
            ));
        }
        Ok(Self { output: [features], weight: [features, inputs / groups], groups, bias })
    }
}

impl Affine for LinearLayer {
    fn describe(&self) -> String {
        match self.groups {
            1 => format!("linear {}", self.output[0]),
            groups => format!("linear {groups} × {}", self.output[0] / groups),
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn weight_shape(&self) -> &[usize] {
        &self.weight
    }

    fn has_bias(&self) -> bool {
        self.bias
    }

    fn product(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId {
        let y = step.activation("linear", &self.output);
        step.push(Linear { x, weight, bias, y, groups: self.groups });
        y
    }

    fn weight_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dy: TensorId,
        dweight: TensorId,
        dbias: Option<TensorId>,
    ) {
        step.push(LinearWeightGrad { x, dy, dweight, dbias, groups: self.groups });
    }

    fn input_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        dy: TensorId,
        weight: TensorId,
        dx: TensorId,
    ) {
        step.push(LinearInputGrad { dy, weight, dx, groups: self.groups });
    }
}
