//! Forward gradients of local losses (Ren et al. 2022): no way back, and nothing crosses a unit.
//!
//! Every unit has the loss of `lg-bp`, the sum (or mean) of its own workers' errors, and a derivative of
//! its own along random directions of its own; the output layer has the global loss. Directions of
//! few dimensions make less noise than those of a whole network (see `fg.rs`), and a unit is finished
//! before the next begins.

use super::{Method, TrainingStep};
use crate::layer::Perturb;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct LocalForwardGradient {
    name: &'static str,
    about: &'static str,
    perturb: Perturb,
}

/// Directions in the space of the parameters.
pub(super) const WEIGHTS: LocalForwardGradient = LocalForwardGradient {
    name: "lg-fg-w",
    about: "forward gradient of each unit's own loss along random changes of its weights",
    perturb: Perturb::Parameters,
};

/// Directions in the space of the layers' outputs.
pub(super) const ACTIVITIES: LocalForwardGradient = LocalForwardGradient {
    name: "lg-fg-a",
    about: "forward gradient of each unit's own loss along random changes of its layers' outputs",
    perturb: Perturb::Outputs { mixed: false },
};

impl Method for LocalForwardGradient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        self.about
    }

    fn is_local(&self) -> bool {
        true
    }

    fn perturb(&self) -> Option<Perturb> {
        Some(self.perturb)
    }

    fn workers_learn(&self) -> bool {
        true
    }

    fn has_leaders(&self) -> bool {
        false
    }

    fn write(&self, step: &mut TrainingStep<'_, '_>) {
        let mut x = step.input();
        for unit in step.units() {
            let (record, mut derivative) = step.perturb_and_judge(unit, x, self.perturb);
            let gradients = step.estimate(unit, &record, &mut derivative);
            step.update(gradients);
            x = record.output;
        }
        let (record, mut derivative) = step.perturb_output((x, None), self.perturb);
        let gradients = step.estimate_output(&record, &mut derivative);
        step.update(gradients);
    }
}
