//! Fully connected layers, in independent groups.

use super::{Gradients, Init, Layer, ParameterSpec, Record, Want, vector};
use crate::program::{Linear, LinearInputGrad, LinearWeightGrad, TensorId};
use crate::step::StepWriter;

/// `y = x Wᵀ + b`; with several groups, each group of inputs has its own outputs.
#[derive(Debug)]
pub(crate) struct LinearLayer {
    input: usize,
    output: [usize; 1],
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
        Ok(Self { input: inputs / groups, output: [features], groups, bias })
    }

    fn forward_op(
        &self,
        step: &mut StepWriter<'_>,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId {
        let y = step.activation("linear", &self.output);
        step.push(Linear { x, weight, bias, y, groups: self.groups });
        y
    }
}

impl Layer for LinearLayer {
    fn describe(&self) -> String {
        match self.groups {
            1 => format!("linear {}", self.output[0]),
            groups => format!("linear {groups} × {}", self.output[0] / groups),
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let init = Init::for_fan_in(self.input);
        let mut specs = vec![ParameterSpec::weight("weight", &[self.output[0], self.input], init)];
        if self.bias {
            specs.push(ParameterSpec::weight("bias", &self.output, init));
        }
        specs
    }

    fn depth(&self) -> usize {
        1
    }

    fn forward(&self, step: &mut StepWriter<'_>, parameters: &[TensorId], x: TensorId) -> Record {
        Record::new(x, self.forward_op(step, x, parameters[0], parameters.get(1).copied()))
    }

    fn backward(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        record: &Record,
        dy: TensorId,
        want: Want,
    ) -> Gradients {
        let mut gradients = Gradients::default();
        let groups = self.groups;
        if want.parameters {
            let dweight = step.gradient(parameters[0]);
            let dbias = parameters.get(1).map(|&bias| step.gradient(bias));
            step.push(LinearWeightGrad { x: record.x, dy, dweight, dbias, groups });
            gradients.parameters =
                parameters.iter().copied().zip([dweight].into_iter().chain(dbias)).collect();
        }
        if want.input {
            let dx = step.like("linear.gradient", record.x);
            step.push(LinearInputGrad { dy, weight: parameters[0], dx, groups });
            gradients.input = Some(dx);
        }
        gradients
    }

    fn tangent(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        record: &Record,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        let through = dx.map(|dx| self.forward_op(step, dx, parameters[0], None));
        let own = dparameters.map(|d| self.forward_op(step, record.x, d[0], d.get(1).copied()));
        step.sum(through, own)
    }
}
