//! Two-dimensional convolution.

use super::{Gradients, Init, Layer, ParameterSpec, Record, Want, image};
use crate::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, TensorId, Window};
use crate::step::StepWriter;

/// Two-dimensional convolution with square kernels.
#[derive(Debug)]
pub(super) struct ConvLayer {
    output: [usize; 3],
    weight: [usize; 4],
    window: Window,
    groups: usize,
    bias: bool,
}

impl ConvLayer {
    pub(super) fn new(
        input: &[usize],
        filters: usize,
        window: Window,
        groups: usize,
        bias: bool,
    ) -> Result<Self, String> {
        let [height, width, channels] = image(input)?;
        if filters == 0 {
            return Err("0 filters, expected at least 1".into());
        }
        if groups == 0 || !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            return Err(format!(
                "{groups} groups do not divide {channels} channels and {filters} filters evenly"
            ));
        }
        let [out_height, out_width] = window.output([height, width])?;
        Ok(Self {
            output: [out_height, out_width, filters],
            weight: [filters, window.kernel[0], window.kernel[1], channels / groups],
            window,
            groups,
            bias,
        })
    }

    fn forward_op(
        &self,
        step: &mut StepWriter<'_>,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId {
        let y = step.activation("conv", &self.output);
        let (window, groups) = (self.window, self.groups);
        step.push(Conv2d { x, weight, bias, y, window, groups });
        y
    }
}

impl Layer for ConvLayer {
    fn describe(&self) -> String {
        let [filters, kernel, ..] = self.weight;
        let mut text = format!("conv {kernel}×{kernel}, {filters}");
        if self.window.stride[0] != 1 {
            text += &format!(", stride {}", self.window.stride[0]);
        }
        if self.groups != 1 {
            text += &format!(", {} groups", self.groups);
        }
        text
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let init = Init::for_fan_in(self.weight[1..].iter().product());
        let mut specs = vec![ParameterSpec::weight("weight", &self.weight, init)];
        if self.bias {
            specs.push(ParameterSpec::weight("bias", &self.weight[..1], init));
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
        let (window, groups) = (self.window, self.groups);
        let mut gradients = Gradients::default();
        if want.parameters {
            let dweight = step.gradient(parameters[0]);
            let dbias = parameters.get(1).map(|&bias| step.gradient(bias));
            step.push(Conv2dWeightGrad { x: record.x, dy, dweight, dbias, window, groups });
            gradients.parameters =
                parameters.iter().copied().zip([dweight].into_iter().chain(dbias)).collect();
        }
        if want.input {
            let dx = step.like("conv.gradient", record.x);
            step.push(Conv2dInputGrad { dy, weight: parameters[0], dx, window, groups });
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
