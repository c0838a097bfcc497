//! Features as unit vectors: what similarity matching compares.

use super::{BuildLayer, Built, LayerBuilder, ParameterFreeLayer, Saved, image, vector};
use crate::program::{
    Deviation, DeviationGrad, DeviationTangent, NormalizeRows, NormalizeRowsGrad, TensorId,
};
use crate::step::StepBuilder;

/// The standard deviation of each channel of an image over its positions, of which there are several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviationConfig;

impl BuildLayer for DeviationConfig {
    fn build(&self, _: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let [.., channels] = image(input)?;
        Ok(Box::new(DeviationLayer { output: [channels] }))
    }
}

#[derive(Debug)]
struct DeviationLayer {
    output: [usize; 1],
}

impl ParameterFreeLayer for DeviationLayer {
    fn describe(&self) -> String {
        "deviation over positions".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.output
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let mean = step.activation("deviation.mean", &self.output);
        let y = step.activation("deviation", &self.output);
        step.push(Deviation { x, mean, y });
        Saved { tensors: vec![mean], ..Saved::new(x, y) }
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("deviation.gradient", saved.x);
        step.push(DeviationGrad { x: saved.x, mean: saved.tensors[0], y: saved.y, dy, dx });
        dx
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId {
        let dy = step.like("deviation.tangent", saved.y);
        step.push(DeviationTangent { x: saved.x, mean: saved.tensors[0], y: saved.y, dx, dy });
        dy
    }
}

/// The features of each example, centred and divided by their norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormalizeRowsConfig;

impl BuildLayer for NormalizeRowsConfig {
    fn build(&self, _: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        Ok(Box::new(NormalizeRowsLayer { shape: [vector(input)?] }))
    }
}

#[derive(Debug)]
struct NormalizeRowsLayer {
    shape: [usize; 1],
}

impl NormalizeRowsLayer {
    /// The Jacobian is symmetric: one rule serves both directions.
    fn jacobian(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        let dx = step.like("normalized.gradient", saved.y);
        step.push(NormalizeRowsGrad { y: saved.y, norm: saved.tensors[0], dy, dx });
        dx
    }
}

impl ParameterFreeLayer for NormalizeRowsLayer {
    fn describe(&self) -> String {
        "unit length".into()
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let norm = step.activation("normalized.norm", &[]);
        let y = step.like("normalized", x);
        step.push(NormalizeRows { x, norm, y });
        Saved { tensors: vec![norm], ..Saved::new(x, y) }
    }

    fn vjp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dy: TensorId) -> TensorId {
        self.jacobian(step, saved, dy)
    }

    fn jvp(&self, step: &mut StepBuilder<'_>, saved: &Saved, dx: TensorId) -> TensorId {
        self.jacobian(step, saved, dx)
    }
}
