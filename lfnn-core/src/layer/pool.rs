//! Maximum, average and adaptive average pooling.

use super::{ParameterFreeLayer, Saved, image};
use crate::config::PoolConfig;
use crate::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, DType, MaxPool, MaxPoolGrad,
    MaxPoolTangent, TensorId, Window,
};
use crate::step::{Mode, StepBuilder};

/// Maximum over windows.
#[derive(Debug)]
pub(super) struct MaxPoolLayer {
    output: [usize; 3],
    window: Window,
}

/// Mean over windows.
#[derive(Debug)]
pub(super) struct AvgPoolLayer {
    output: [usize; 3],
    window: Window,
}

/// Mean over the bins of a grid.
#[derive(Debug)]
pub(super) struct AdaptiveAvgPoolLayer {
    output: [usize; 3],
}

fn pooled(input: &[usize], config: &PoolConfig) -> Result<([usize; 3], Window), String> {
    let [height, width, channels] = image(input)?;
    let window =
        Window::square(config.kernel, config.stride.unwrap_or(config.kernel), config.padding);
    if config.padding > config.kernel / 2 {
        return Err(format!(
            "a padding of {} is more than half of the {}×{} window",
            config.padding, config.kernel, config.kernel
        ));
    }
    let [out_height, out_width] = window.output([height, width])?;
    Ok(([out_height, out_width, channels], window))
}

impl MaxPoolLayer {
    pub(super) fn new(input: &[usize], config: &PoolConfig) -> Result<Self, String> {
        if config.kernel > 15 {
            return Err(format!("a kernel of {}, expected at most 15", config.kernel));
        }
        let (output, window) = pooled(input, config)?;
        Ok(Self { output, window })
    }
}

impl AvgPoolLayer {
    pub(super) fn new(input: &[usize], config: &PoolConfig) -> Result<Self, String> {
        let (output, window) = pooled(input, config)?;
        Ok(Self { output, window })
    }

    fn pool(&self, step: &mut StepBuilder<'_>, x: TensorId) -> TensorId {
        let y = step.activation("avg_pool", &self.output);
        step.push(AvgPool { x, y, window: self.window });
        y
    }
}

impl AdaptiveAvgPoolLayer {
    pub(super) fn new(input: &[usize], grid: usize) -> Result<Self, String> {
        let [height, width, channels] = image(input)?;
        if grid == 0 || grid > height || grid > width {
            return Err(format!("a grid of {grid}×{grid} does not fit a {height}×{width} image"));
        }
        Ok(Self { output: [grid, grid, channels] })
    }

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
        let position = (step.mode() == Mode::Train).then(|| {
            let shape = step.shape(y).to_vec();
            step.temporary("max_pool.position", DType::U8, &shape)
        });
        step.push(MaxPool { x, y, position, window: self.window });
        Saved { tensors: position.into_iter().collect(), ..Saved::new(x, y) }
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("max_pool.gradient", record.x);
        step.push(MaxPoolGrad { dy, position: record.tensors[0], dx, window: self.window });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, record: &Saved, dx: TensorId) -> TensorId {
        let dy = step.like("max_pool.tangent", record.y);
        step.push(MaxPoolTangent { dx, position: record.tensors[0], dy, window: self.window });
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

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("avg_pool.gradient", record.x);
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

    fn vjp(&self, step: &mut StepBuilder<'_>, record: &Saved, dy: TensorId) -> TensorId {
        if record.x == record.y {
            return dy;
        }
        let dx = step.like("adaptive_avg_pool.gradient", record.x);
        step.push(AdaptiveAvgPoolGrad { dy, dx });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, _: &Saved, dx: TensorId) -> TensorId {
        self.pool(step, dx)
    }
}
