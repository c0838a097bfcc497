//! Local greedy learning (Belilovsky et al. 2019): every unit backpropagates its own loss.
//!
//! A unit minimises the sum (or mean, see `reduction`) of its workers' errors, all of which learn from
//! the labels; the output layer minimises the global loss, and no derivative crosses from one unit to
//! another. This is LFNN-ℓ with every worker a leader.

use super::{Method, TrainingStep};
use crate::unit::Signals;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct LgBp;

impl Method for LgBp {
    fn name(&self) -> &'static str {
        "lg-bp"
    }

    fn describe(&self) -> &'static str {
        "local greedy: every unit learns from its own workers' errors by backpropagation inside it"
    }

    fn is_local(&self) -> bool {
        true
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
            let (record, predictions) = step.forward_and_judge(unit, x);
            let local = Some(step.gradient_of_errors(predictions));
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
