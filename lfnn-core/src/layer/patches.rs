//! An image as patches: space to depth.

use serde::{Deserialize, Serialize};

use super::{BuildLayer, Built, LayerBuilder, ParameterFreeLayer, Saved, image};
use crate::config::Size2;
use crate::program::{SwapAxes, TensorId};
use crate::step::StepBuilder;

/// Patches side by side, each of which becomes one position: its pixels, row by row, with the channels of each, are the
/// position's channels.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"patches": {"size": 4}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[32, 32, 3])?;
/// assert_eq!(layer.output_shape(), [8, 8, 48]);
/// assert!(layer.trainable().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PatchesConfig {
    /// Extent of a patch. It divides the image.
    pub size: Size2,
}

impl BuildLayer for PatchesConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        builder.limit(&[("patches.size", self.size.largest())])?;
        let [height, width, channels] = image(input)?;
        let Size2([rows, columns]) = self.size;
        if rows == 0
            || columns == 0
            || !height.is_multiple_of(rows)
            || !width.is_multiple_of(columns)
        {
            let message = format!(
                "patches of {rows} × {columns} do not divide an image of {height} × {width}"
            );
            return Err(message.into());
        }
        let output = [height / rows, width / columns, rows * columns * channels];
        Ok(Box::new(PatchesLayer { size: self.size, output, run: columns * channels }))
    }
}

#[derive(Debug)]
struct PatchesLayer {
    size: Size2,
    output: [usize; 3],
    /// Consecutive numbers of a patch in the image.
    run: usize,
}

impl PatchesLayer {
    fn cut(&self, x: TensorId, y: TensorId) -> SwapAxes {
        SwapAxes { x, y, rows: self.size.0[0], columns: self.output[1], run: self.run }
    }

    fn patches(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let y = step.activation("patches", &self.output);
        step.push(self.cut(x, y));
        y
    }
}

impl ParameterFreeLayer for PatchesLayer {
    fn describe(&self) -> String {
        let Size2([height, width]) = self.size;
        format!("patches {height}×{width}")
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        Saved::new(x, self.patches(step, x))
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("patches.gradient", saved.x);
        step.push(self.cut(dx, dy).inverse(dy, dx));
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.patches(step, dx)
    }
}
