//! Two-dimensional convolution.

use serde::{Deserialize, Serialize};

use super::{Affine, BuildLayer, Built, Coupling, LayerBuilder, Parametric, image, one, yes};
use crate::config::Size2;
use crate::program::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, TensorId, Window};
use crate::step::StepBuilder;

/// Two-dimensional convolution.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"conv": {"filters": 40, "kernel": 3, "padding": 1}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[28, 28, 1])?;
/// assert_eq!(layer.output_shape(), [28, 28, 40]);
/// // Output channels, kernel height, kernel width, input channels; then the bias.
/// let shapes: Vec<_> = set.tensors().iter().map(|(_, tensor)| &tensor.shape[..]).collect();
/// assert_eq!(shapes, [&[40, 3, 3, 1][..], &[40]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConvConfig {
    /// Output channels.
    pub filters: usize,
    /// Extent of the kernel.
    pub kernel: Size2,
    /// Step of the kernel.
    #[serde(default = "every_pixel")]
    pub stride: Size2,
    /// Zeros on each side: above and below, left and right.
    #[serde(default)]
    pub padding: Size2,
    /// Groups of channels that do not see one another.
    #[serde(default = "one")]
    pub groups: usize,
    /// Whether each filter has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
}

fn every_pixel() -> Size2 {
    Size2([1, 1])
}

impl BuildLayer for ConvConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let Self { filters, kernel, stride, padding, groups, bias } = *self;
        builder.limit(&[
            ("conv.filters", filters),
            ("conv.kernel", kernel.largest()),
            ("conv.stride", stride.largest()),
            ("conv.padding", padding.largest()),
            ("conv.groups", groups),
        ])?;
        let [height, width, channels] = image(input)?;
        if filters == 0 {
            return Err("0 filters, expected at least 1".into());
        }
        if groups == 0 || !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            let message = format!(
                "{groups} groups do not divide {channels} channels and {filters} filters evenly"
            );
            return Err(message.into());
        }
        let window = Window { kernel: kernel.0, stride: stride.0, padding: padding.0 };
        let [kernel_height, kernel_width] = window.kernel;
        let [out_height, out_width] = window.output([height, width])?;
        let conv = ConvLayer { output: [out_height, out_width, filters], window, groups };
        Parametric::build(
            builder,
            conv,
            &[filters, kernel_height, kernel_width, channels / groups],
            bias,
        )
    }
}

#[derive(Debug)]
struct ConvLayer {
    output: [usize; 3],
    window: Window,
    groups: usize,
}

impl Affine for ConvLayer {
    fn describe(&self) -> String {
        let ([height, width], filters) = (self.window.kernel, self.output[2]);
        let mut text = format!("conv {height}×{width}, {filters}");
        if self.window.stride != [1, 1] {
            text += &format!(", stride {}", Size2(self.window.stride));
        }
        if self.groups != 1 {
            text += &format!(", {} groups", self.groups);
        }
        text
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn coupling(&self) -> Coupling {
        let Self { window, groups, .. } = *self;
        let pointwise = Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0] };
        Coupling { positions: window != pointwise, ..Coupling::groups(groups) }
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
