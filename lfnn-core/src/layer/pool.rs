//! Maximum, average and adaptive average pooling.

use serde::{Deserialize, Serialize};

use super::{BuildError, BuildLayer, Built, LayerBuilder, ParameterFreeLayer, Saved, image};
use crate::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, DType, MaxPool, MaxPoolGrad,
    MaxPoolTangent, TensorId, Window,
};
use crate::step::{Mode, StepBuilder};

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Extent of the window.
    pub kernel: usize,
    /// Step of the window; its extent where not given.
    #[serde(default)]
    pub stride: Option<usize>,
    /// Rows and columns added on each side.
    #[serde(default)]
    pub padding: usize,
}

impl PoolConfig {
    /// The output's shape and the window, held against the limits. `layer` is the configuration's key, `largest` the
    /// largest kernel.
    fn window(
        &self,
        builder: &LayerBuilder<'_>,
        layer: &str,
        largest: usize,
        input: &[usize],
    ) -> Result<([usize; 3], Window), BuildError> {
        let Self { kernel, stride, padding } = *self;
        for (key, value) in
            [("kernel", kernel), ("stride", stride.unwrap_or(1)), ("padding", padding)]
        {
            builder.limit(&[(&format!("{layer}.{key}"), value)])?;
        }
        if kernel > largest {
            return Err(format!("a kernel of {kernel}, expected at most {largest}").into());
        }
        let [height, width, channels] = image(input)?;
        let window = Window::square(kernel, stride.unwrap_or(kernel), padding);
        if padding > kernel / 2 {
            let message =
                format!("a padding of {padding} is more than half of the {kernel}×{kernel} window");
            return Err(message.into());
        }
        let [out_height, out_width] = window.output([height, width])?;
        Ok(([out_height, out_width, channels], window))
    }
}

/// Maximum over windows.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"max_pool": {"kernel": 2}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[28, 28, 40])?;
/// assert_eq!(layer.output_shape(), [14, 14, 40]);
/// assert!(layer.trainable().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct MaxPoolConfig(pub PoolConfig);

impl BuildLayer for MaxPoolConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        // Positions in a window are bytes.
        let (output, window) = self.0.window(builder, "max_pool", 15, input)?;
        Ok(Box::new(MaxPoolLayer { output, window }))
    }
}

/// Mean over windows.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"avg_pool": {"kernel": 3, "stride": 2, "padding": 1}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 40])?;
/// assert_eq!(layer.output_shape(), [4, 4, 40]);
/// assert!(layer.trainable().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct AvgPoolConfig(pub PoolConfig);

impl BuildLayer for AvgPoolConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let (output, window) = self.0.window(builder, "avg_pool", usize::MAX, input)?;
        Ok(Box::new(AvgPoolLayer { output, window }))
    }
}

/// Mean over the bins of a grid. `global_avg_pool` has a grid of one bin.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"adaptive_avg_pool": {"grid": 3}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 40])?;
/// assert_eq!(layer.output_shape(), [3, 3, 40]);
/// assert!(layer.trainable().is_empty());
/// let config: LayerConfig = serde_json::from_str(r#""global_avg_pool""#)?;
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 40])?;
/// assert_eq!(layer.output_shape(), [1, 1, 40]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AdaptiveAvgPoolConfig {
    /// Rows and columns of the grid.
    pub grid: usize,
}

impl BuildLayer for AdaptiveAvgPoolConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let grid = self.grid;
        builder.limit(&[("adaptive_avg_pool.grid", grid)])?;
        let [height, width, channels] = image(input)?;
        if grid == 0 || grid > height || grid > width {
            let message = format!("a grid of {grid}×{grid} does not fit a {height}×{width} image");
            return Err(message.into());
        }
        Ok(Box::new(AdaptiveAvgPoolLayer { output: [grid, grid, channels] }))
    }
}

#[derive(Debug)]
struct MaxPoolLayer {
    output: [usize; 3],
    window: Window,
}

#[derive(Debug)]
struct AvgPoolLayer {
    output: [usize; 3],
    window: Window,
}

#[derive(Debug)]
struct AdaptiveAvgPoolLayer {
    output: [usize; 3],
}

impl AvgPoolLayer {
    fn pool(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let y = step.activation("avg_pool", &self.output);
        step.push(AvgPool { x, y, window: self.window });
        y
    }
}

impl AdaptiveAvgPoolLayer {
    fn pool(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        if step.shape(x)[1..] == self.output {
            return x;
        }
        let y = step.activation("adaptive_avg_pool", &self.output);
        step.push(AdaptiveAvgPool { x, y });
        y
    }
}

impl ParameterFreeLayer for MaxPoolLayer {
    fn describe(&self) -> String {
        format!("max pool {}", self.window.kernel[0])
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let y = step.activation("max_pool", &self.output);
        let position = (step.mode() != Mode::Evaluate).then(|| {
            let shape = step.shape(y).to_vec();
            step.temporary("max_pool.position", DType::U8, &shape)
        });
        step.push(MaxPool { x, y, position, window: self.window });
        Saved { tensors: position.into_iter().collect(), ..Saved::new(x, y) }
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("max_pool.gradient", saved.x);
        step.push(MaxPoolGrad { dy, position: saved.tensors[0], dx, window: self.window });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId {
        let dy = step.like("max_pool.tangent", saved.y);
        step.push(MaxPoolTangent { dx, position: saved.tensors[0], dy, window: self.window });
        dy
    }
}

impl ParameterFreeLayer for AvgPoolLayer {
    fn describe(&self) -> String {
        format!("average pool {}", self.window.kernel[0])
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.pool(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("avg_pool.gradient", saved.x);
        step.push(AvgPoolGrad { dy, dx, window: self.window });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.pool(step, dx)
    }
}

impl ParameterFreeLayer for AdaptiveAvgPoolLayer {
    fn describe(&self) -> String {
        match self.output[0] {
            1 => "global average pool".into(),
            grid => format!("average pool to {grid}×{grid}"),
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.pool(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        if saved.x == saved.y {
            return dy;
        }
        let dx = step.like("adaptive_avg_pool.gradient", saved.x);
        step.push(AdaptiveAvgPoolGrad { dy, dx });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.pool(step, dx)
    }
}
