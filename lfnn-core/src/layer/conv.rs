//! Two-dimensional convolution.

use super::{Affine, image};
use crate::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, TensorId, Window};
use crate::step::StepBuilder;

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
}

impl Affine for ConvLayer {
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
        let y = step.activation("conv", &self.output);
        let (window, groups) = (self.window, self.groups);
        step.push(Conv2d { x, weight, bias, y, window, groups });
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
        let (window, groups) = (self.window, self.groups);
        step.push(Conv2dWeightGrad { x, dy, dweight, dbias, window, groups });
    }

    fn input_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        dy: TensorId,
        weight: TensorId,
        dx: TensorId,
    ) {
        let (window, groups) = (self.window, self.groups);
        step.push(Conv2dInputGrad { dy, weight, dx, window, groups });
    }
}
