//! Maximum, average and adaptive average pooling.

use serde::{Deserialize, Serialize};

use super::{
    BuildError, BuildLayer, Built, Coupling, LayerBuilder, ParameterFreeLayer, Saved, image,
};
use crate::config::Size2;
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
    pub kernel: Size2,
    /// Step of the window; its extent where not given.
    #[serde(default)]
    pub stride: Option<Size2>,
    /// Rows and columns added on each side.
    #[serde(default)]
    pub padding: Size2,
}

impl PoolConfig {
    /// The output's shape and the window, held against the limits. `layer` is the configuration's key, `most` the
    /// most positions of a window.
    fn window(
        &self,
        builder: &LayerBuilder<'_>,
        layer: &str,
        most: usize,
        input: &[usize],
    ) -> Result<([usize; 3], Window), BuildError> {
        let Self { kernel, stride, padding } = *self;
        let stride = stride.unwrap_or(kernel);
        for (key, size) in [("kernel", kernel), ("stride", stride), ("padding", padding)] {
            builder.limit(&[(&format!("{layer}.{key}"), size.largest())])?;
        }
        let (Size2([rows, columns]), Size2([above, left])) = (kernel, padding);
        let positions = rows * columns;
        if positions > most {
            let message = format!(
                "a kernel of {rows}×{columns} has {positions} positions, expected at most {most}"
            );
            return Err(message.into());
        }
        let [height, width, channels] = image(input)?;
        let window = Window { kernel: kernel.0, stride: stride.0, padding: padding.0 };
        if above > rows / 2 || left > columns / 2 {
            let message = format!(
                "a padding of {above}×{left} is more than half of the {rows}×{columns} window"
            );
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
        let (output, window) = self.0.window(builder, "max_pool", 255, input)?;
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
    pub grid: Size2,
}

impl BuildLayer for AdaptiveAvgPoolConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        builder.limit(&[("adaptive_avg_pool.grid", self.grid.largest())])?;
        let [height, width, channels] = image(input)?;
        let Size2([rows, columns]) = self.grid;
        if !(1..=height).contains(&rows) || !(1..=width).contains(&columns) {
            let message =
                format!("a grid of {rows}×{columns} does not fit a {height}×{width} image");
            return Err(message.into());
        }
        Ok(Box::new(AdaptiveAvgPoolLayer { output: [rows, columns, channels] }))
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
        format!("max pool {}", Size2(self.window.kernel))
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn coupling(&self) -> Coupling {
        Coupling::POSITIONS
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
        format!("average pool {}", Size2(self.window.kernel))
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn coupling(&self) -> Coupling {
        Coupling::POSITIONS
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
        match self.output {
            [1, 1, _] => "global average pool".into(),
            [rows, columns, _] => format!("average pool to {rows}×{columns}"),
        }
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn coupling(&self) -> Coupling {
        Coupling::POSITIONS
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
