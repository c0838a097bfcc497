//! Residual sum (He et al. 2016).

use serde::{Deserialize, Serialize};

use super::{
    BuildLayer, Built, Coupling, Derivative, Gate, Gradients, Kind, Layer, LayerBuilder,
    LayerConfig, NeedsGrad, Perturbation, Saved, Sequential, Tangents,
};
use crate::program::TensorId;
use crate::sizes;
use crate::step::StepBuilder;

/// `body(x) + shortcut(x)`. The parameters' names are `body{m}.…` and `shortcut{m}.…`.
///
/// ```
/// # use lfnn_core::{config::LayerConfig, layer::LayerBuilder, program::ProgramSet};
/// let config: LayerConfig = serde_json::from_str(r#"{"residual": {"body": [{"conv": {"filters": 3, "kernel": 3, "padding": 1}}, "relu"]}}"#)?;
/// let mut set = ProgramSet::new();
/// let layer = LayerBuilder::new(&mut set, "layer").layer(&config, &[8, 8, 3])?;
/// assert_eq!(layer.output_shape(), [8, 8, 3]);
/// let shapes: Vec<_> = set.tensors().iter().map(|(_, tensor)| &tensor.shape[..]).collect();
/// assert_eq!(shapes, [&[3, 3, 3, 3][..], &[3]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResidualConfig {
    /// The longer path.
    pub body: Vec<LayerConfig>,
    /// The shorter path; empty for the identity.
    #[serde(default)]
    pub shortcut: Vec<LayerConfig>,
}

impl BuildLayer for ResidualConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        if builder.nested == sizes::MAX_NESTED {
            let most = sizes::MAX_NESTED;
            return Err(format!("`residual` is nested deeper than {most} levels").into());
        }
        builder.nested += 1;
        let body =
            builder.within(".residual.body", "", |b| b.sequential(&self.body, input, "body"))?;
        let shortcut = builder.within(".residual.shortcut", "", |b| {
            b.sequential(&self.shortcut, input, "shortcut")
        })?;
        builder.nested -= 1;
        if body.output_shape() != shortcut.output_shape() {
            let message = format!(
                "the body gives {:?} and the shortcut {:?}, expected one shape",
                body.output_shape(),
                shortcut.output_shape()
            );
            return Err(message.into());
        }
        if body.is_empty() {
            return Err("the body has no layers".into());
        }
        Ok(Box::new(ResidualLayer { body, shortcut }))
    }
}

#[derive(Debug)]
struct ResidualLayer {
    body: Sequential,
    shortcut: Sequential,
}

impl Layer for ResidualLayer {
    fn describe(&self) -> String {
        if self.shortcut.is_empty() {
            return format!("residual ({})", self.body.describe());
        }
        format!("residual ({} + {})", self.body.describe(), self.shortcut.describe())
    }

    fn output_shape(&self) -> &[usize] {
        self.body.output_shape()
    }

    fn trainable(&self) -> Vec<TensorId> {
        [self.body.trainable(), self.shortcut.trainable()].concat()
    }

    fn depth(&self) -> usize {
        self.body.depth().max(self.shortcut.depth())
    }

    fn coupling(&self) -> Coupling {
        self.body.coupling().and(self.shortcut.coupling())
    }

    fn kind(&self) -> Kind {
        Kind::Composite
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let body = self.body.forward(step, x);
        let shortcut = self.shortcut.forward(step, x);
        let y = step.add(body.y, shortcut.y);
        Saved { inner: vec![body, shortcut], ..Saved::new(x, y) }
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let mut gradients = self.body.backward(step, &saved.inner[0], dy, needs_grad);
        let other = self.shortcut.backward(step, &saved.inner[1], dy, needs_grad);
        gradients.parameters.extend(other.parameters);
        gradients.input = step.sum(gradients.input, other.input);
        gradients
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        let body = self.body.jvp(step, &saved.inner[0], dx, tangents);
        let shortcut = self.shortcut.jvp(step, &saved.inner[1], dx, tangents);
        step.sum(body, shortcut)
    }

    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturbation,
    ) -> (Saved, Option<TensorId>) {
        let (body, first) = self.body.jvp_with_noise(step, x, dx, perturb);
        let (shortcut, second) = self.shortcut.jvp_with_noise(step, x, dx, perturb);
        let y = step.add(body.y, shortcut.y);
        let dy = step.sum(first, second);
        (Saved { inner: vec![body, shortcut], ..Saved::new(x, y) }, dy)
    }

    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        derivative: &mut Derivative,
        gate: Option<Gate<'_>>,
    ) -> Vec<(TensorId, TensorId)> {
        let mut gradients = self.body.forward_gradient(step, &saved.inner[0], derivative, gate);
        gradients.extend(self.shortcut.forward_gradient(step, &saved.inner[1], derivative, gate));
        gradients
    }
}
