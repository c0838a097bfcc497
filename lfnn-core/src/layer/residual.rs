//! Residual sum (He et al. 2016).

use super::{
    Derivative, Gradients, Layer, NeedsGrad, ParameterSpec, Perturbation, Saved, Sequential,
};
use crate::program::TensorId;
use crate::step::StepBuilder;

/// `body(x) + shortcut(x)`.
#[derive(Debug)]
pub(super) struct ResidualLayer {
    body: Sequential,
    shortcut: Sequential,
}

impl ResidualLayer {
    pub(super) fn new(body: Sequential, shortcut: Sequential) -> Result<Self, String> {
        if body.output_shape() != shortcut.output_shape() {
            return Err(format!(
                "the body gives {:?} and the shortcut {:?}, expected one shape",
                body.output_shape(),
                shortcut.output_shape()
            ));
        }
        if body.is_empty() {
            return Err("the body has no layers".into());
        }
        Ok(Self { body, shortcut })
    }

    fn split<'a>(&self, parameters: &'a [TensorId]) -> (&'a [TensorId], &'a [TensorId]) {
        parameters.split_at(self.body.parameters().len())
    }
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

    /// Names are `body{m}.…` and `shortcut{m}.…`.
    fn parameters(&self) -> Vec<ParameterSpec> {
        let mut specs = self.body.parameters();
        specs.extend(self.shortcut.parameters());
        specs
    }

    fn depth(&self) -> usize {
        self.body.depth().max(self.shortcut.depth())
    }

    fn forward(&self, step: &mut StepBuilder<'_>, parameters: &[TensorId], x: TensorId) -> Saved {
        let (body, shortcut) = self.split(parameters);
        let body = self.body.forward(step, body, x);
        let shortcut = self.shortcut.forward(step, shortcut, x);
        let y = step.add(body.y, shortcut.y);
        Saved { inner: vec![body, shortcut], ..Saved::new(x, y) }
    }

    fn backward(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dy: TensorId,
        needs_grad: NeedsGrad,
    ) -> Gradients {
        let (body, shortcut) = self.split(parameters);
        let mut gradients = self.body.backward(step, body, &record.inner[0], dy, needs_grad);
        let other = self.shortcut.backward(step, shortcut, &record.inner[1], dy, needs_grad);
        gradients.parameters.extend(other.parameters);
        gradients.input = step.sum(gradients.input, other.input);
        gradients
    }

    fn jvp(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        let (body, shortcut) = self.split(parameters);
        let count = self.body.parameters().iter().filter(|spec| spec.trainable).count();
        let own = dparameters.map(|d| d.split_at(count));
        let first = self.body.jvp(step, body, &record.inner[0], dx, own.map(|(b, _)| b));
        let second = self.shortcut.jvp(step, shortcut, &record.inner[1], dx, own.map(|(_, s)| s));
        step.sum(first, second)
    }

    fn couples_batch(&self) -> bool {
        self.body.couples_batch() || self.shortcut.couples_batch()
    }

    fn jvp_with_noise(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturbation,
    ) -> (Saved, Option<TensorId>) {
        let (body, shortcut) = self.split(parameters);
        let (body, first) = self.body.jvp_with_noise(step, body, x, dx, perturb);
        let (shortcut, second) = self.shortcut.jvp_with_noise(step, shortcut, x, dx, perturb);
        let y = step.add(body.y, shortcut.y);
        let dy = step.sum(first, second);
        (Saved { inner: vec![body, shortcut], ..Saved::new(x, y) }, dy)
    }

    fn forward_gradient(
        &self,
        step: &mut StepBuilder<'_>,
        parameters: &[TensorId],
        record: &Saved,
        derivative: &mut Derivative,
    ) -> Vec<(TensorId, TensorId)> {
        let (body, shortcut) = self.split(parameters);
        let mut gradients = self.body.forward_gradient(step, body, &record.inner[0], derivative);
        gradients.extend(self.shortcut.forward_gradient(
            step,
            shortcut,
            &record.inner[1],
            derivative,
        ));
        gradients
    }
}
