//! LFNN-ℓ: every unit learns from its own workers (paper, Eq. 2).
//!
//! `L = L_g^o + L^δ + λ L^δ̄`: a unit minimises `L^δ + λ L^δ̄` over its own parameters, the output
//! layer minimises the global loss, and no derivative crosses from one unit to another. A unit is
//! finished before the next begins, so its activations need not be kept.

use super::{Method, TrainingStep};
use crate::unit::Signals;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct LfnnL;

impl Method for LfnnL {
    fn name(&self) -> &'static str {
        "lfnn-l"
    }

    fn describe(&self) -> &'static str {
        "leader-follower network without backpropagation: every unit learns from local losses (Eq. 2)"
    }

    fn is_local(&self) -> bool {
        true
    }

    fn workers_learn(&self) -> bool {
        true
    }

    fn has_leaders(&self) -> bool {
        true
    }

    fn write(&self, step: &mut TrainingStep<'_, '_>) {
        let lambda = step.leadership().lambda;
        let mut x = step.input();
        for unit in step.units() {
            let (record, leaders) = step.forward_and_select(unit, x);
            let local = step.local_gradient(&leaders, 1.0, lambda);
            let signals = Signals { local, ..Signals::default() };
            let gradients = step.backward(unit, &record, signals, false);
            step.update(gradients);
            x = record.output;
        }
        let record = step.forward_output(x);
        let gradients = step.backward_output(&record, false);
        step.update(gradients);
    }
}
