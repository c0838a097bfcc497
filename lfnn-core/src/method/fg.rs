//! Forward gradients of the global loss: no way back at all.
//!
//! One pass carries values and tangents forward, and a random direction v ~ N(0, I) is added on the
//! way, to the parameters (Baydin et al. 2022) or to the outputs of the layers with parameters (Ren et
//! al. 2022). At the end stands one number, the derivative of the loss along v, and `(∇L·v) v` is
//! `∇L` in the mean. Its noise grows with the number of dimensions of v; see `layer/perturb.rs` for
//! what is taken per sample.
//!
//! With perturbed parameters nothing has to be kept: v is drawn again at the end. With perturbed
//! outputs every layer's input waits for the derivative.

use super::{Method, TrainingStep};
use crate::layer::Perturb;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ForwardGradient {
    name: &'static str,
    about: &'static str,
    perturb: Perturb,
}

/// Directions in the space of the parameters.
pub(super) const WEIGHTS: ForwardGradient = ForwardGradient {
    name: "fg-w",
    about: "forward gradient of the global loss along random changes of all weights",
    perturb: Perturb::Parameters,
};

/// Directions in the space of the layers' outputs.
pub(super) const ACTIVITIES: ForwardGradient = ForwardGradient {
    name: "fg-a",
    about: "forward gradient of the global loss along random changes of all layers' outputs",
    perturb: Perturb::Outputs { mixed: false },
};

impl Method for ForwardGradient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        self.about
    }

    fn is_local(&self) -> bool {
        false
    }

    fn perturb(&self) -> Option<Perturb> {
        Some(self.perturb)
    }

    fn workers_learn(&self) -> bool {
        false
    }

    fn has_leaders(&self) -> bool {
        false
    }

    fn write(&self, step: &mut TrainingStep<'_, '_>) {
        let mut x = (step.input(), None);
        let mut records = Vec::new();
        for unit in step.units() {
            let (record, tangent) = step.perturb(unit, x, self.perturb);
            x = (record.output, tangent);
            records.push(record);
        }
        let (output, mut derivative) = step.perturb_output(x, self.perturb);
        for (unit, record) in records.iter().enumerate() {
            let gradients = step.estimate(unit, record, &mut derivative);
            step.update(gradients);
        }
        let gradients = step.estimate_output(&output, &mut derivative);
        step.update(gradients);
    }
}
