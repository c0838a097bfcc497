//! Residual sum (He et al. 2016).

use super::{Chain, Derivative, Gradients, Layer, ParameterSpec, Perturb, Record, Want};
use crate::program::TensorId;
use crate::step::StepWriter;

/// `body(x) + shortcut(x)`.
#[derive(Debug)]
pub(super) struct ResidualLayer {
    body: Chain,
    shortcut: Chain,
}

impl ResidualLayer {
    pub(super) fn new(body: Chain, shortcut: Chain) -> Result<Self, String> {
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

    fn forward(&self, step: &mut StepWriter<'_>, parameters: &[TensorId], x: TensorId) -> Record {
        let (body, shortcut) = self.split(parameters);
        let body = self.body.forward(step, body, x);
        let shortcut = self.shortcut.forward(step, shortcut, x);
        let y = step.add(body.y, shortcut.y);
        Record { inner: vec![body, shortcut], ..Record::new(x, y) }
    }

    fn backward(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        record: &Record,
        dy: TensorId,
        want: Want,
    ) -> Gradients {
        let (body, shortcut) = self.split(parameters);
        let mut gradients = self.body.backward(step, body, &record.inner[0], dy, want);
        let other = self.shortcut.backward(step, shortcut, &record.inner[1], dy, want);
        gradients.parameters.extend(other.parameters);
        gradients.input = step.sum(gradients.input, other.input);
        gradients
    }

    fn tangent(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        record: &Record,
        dx: Option<TensorId>,
        dparameters: Option<&[TensorId]>,
    ) -> Option<TensorId> {
        let (body, shortcut) = self.split(parameters);
        let count = self.body.parameters().iter().filter(|spec| spec.trainable).count();
        let own = dparameters.map(|d| d.split_at(count));
        let first = self.body.tangent(step, body, &record.inner[0], dx, own.map(|(b, _)| b));
        let second =
            self.shortcut.tangent(step, shortcut, &record.inner[1], dx, own.map(|(_, s)| s));
        step.sum(first, second)
    }

    fn mixes_samples(&self) -> bool {
        self.body.mixes_samples() || self.shortcut.mixes_samples()
    }

    fn perturb(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        x: TensorId,
        dx: Option<TensorId>,
        perturb: Perturb,
    ) -> (Record, Option<TensorId>) {
        let (body, shortcut) = self.split(parameters);
        let (body, first) = self.body.perturb(step, body, x, dx, perturb);
        let (shortcut, second) = self.shortcut.perturb(step, shortcut, x, dx, perturb);
        let y = step.add(body.y, shortcut.y);
        let dy = step.sum(first, second);
        (Record { inner: vec![body, shortcut], ..Record::new(x, y) }, dy)
    }

    fn estimate(
        &self,
        step: &mut StepWriter<'_>,
        parameters: &[TensorId],
        record: &Record,
        derivative: &mut Derivative,
    ) -> Vec<(TensorId, TensorId)> {
        let (body, shortcut) = self.split(parameters);
        let mut gradients = self.body.estimate(step, body, &record.inner[0], derivative);
        gradients.extend(self.shortcut.estimate(step, shortcut, &record.inner[1], derivative));
        gradients
    }
}
