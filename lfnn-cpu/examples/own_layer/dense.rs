//! A dense connection (Huang et al. 2017): the input beside what layers make of it, `y = [x, body(x)]`.

use lfnn_core::config::LayerConfig;
use lfnn_core::layer::{
    BuildLayer, Built, Coupling, Gradients, Layer, LayerBuilder, NeedsGrad, Saved, Sequential,
    Tangents,
};
use lfnn_core::program::{Concat, Split, TensorId};
use lfnn_core::step::StepBuilder;

/// Its configuration: the layers of the body.
#[derive(Debug)]
pub(crate) struct DenseConfig(pub(crate) Vec<LayerConfig>);

impl BuildLayer for DenseConfig {
    fn build(&self, builder: &mut LayerBuilder<'_>, input: &[usize]) -> Built {
        let body = builder.sequential(&self.0, input, "body")?;
        let mut shape = input.to_vec();
        match (shape.split_last_mut(), body.output_shape().split_last()) {
            (Some((channels, own)), Some((more, others))) if own == others => *channels += more,
            _ => {
                return Err(format!("the body makes {:?} of {input:?}", body.output_shape()).into());
            }
        }
        Ok(Box::new(Dense { body, shape }))
    }
}

/// The layer for inputs of one shape.
#[derive(Debug)]
struct Dense {
    body: Sequential,
    shape: Vec<usize>,
}

impl Layer for Dense {
    fn describe(&self) -> String {
        format!("dense ({})", self.body.describe())
    }

    fn output_shape(&self) -> &[usize] {
        &self.shape
    }

    fn trainable(&self) -> Vec<TensorId> {
        self.body.trainable()
    }

    fn depth(&self) -> usize {
        self.body.depth()
    }

    fn coupling(&self) -> Coupling {
        // The input's channels come to those of the body, so groups of channels are not where they were.
        self.body.coupling().and(Coupling::groups(1))
    }

    fn forward(&self, step: &mut StepBuilder<'_>, x: TensorId) -> Saved {
        let body = self.body.forward(step, x);
        let y = step.activation("dense", &self.shape);
        step.push(Concat { inputs: vec![x, body.y], y });
        Saved { inner: vec![body], ..Saved::new(x, y) }
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let body = &saved.inner[0];
        let (dx, dbody) = (step.like("dense.input", saved.x), step.like("dense.body", body.y));
        step.push(Split { x: dy, outputs: vec![dx, dbody] });
        let mut gradients = self.body.backward(step, body, dbody, needs_grad);
        gradients.input = gradients.input.map(|through| step.add(dx, through));
        gradients
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        saved: &Saved,
        dx: Option<TensorId>,
        tangents: &Tangents,
    ) -> Option<TensorId> {
        let body = &saved.inner[0];
        let parts = [(saved.x, dx), (body.y, self.body.jvp(step, body, dx, tangents))];
        if parts.iter().all(|(_, tangent)| tangent.is_none()) {
            return None;
        }
        let whole = |(x, tangent): (TensorId, Option<TensorId>)| {
            tangent.unwrap_or_else(|| step.zeros_like(x))
        };
        let inputs = parts.map(whole).to_vec();
        let dy = step.activation("dense.tangent", &self.shape);
        step.push(Concat { inputs, y: dy });
        Some(dy)
    }
}
