//! Ordinary backpropagation of the global loss: the baseline. Workers do not predict, and readouts
//! stay as they were initialised.

use super::{Method, TrainingStep};
use crate::unit::Signals;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Bp;

impl Method for Bp {
    fn name(&self) -> &'static str {
        "bp"
    }

    fn describe(&self) -> &'static str {
        "backpropagation of the global loss through the whole network"
    }

    fn is_local(&self) -> bool {
        false
    }

    fn workers_learn(&self) -> bool {
        false
    }

    fn has_leaders(&self) -> bool {
        false
    }

    fn write(&self, step: &mut TrainingStep<'_, '_>) {
        propagate_back(step);
    }
}

/// The global gradient, from the output layer back to the first unit.
pub(super) fn propagate_back(step: &mut TrainingStep<'_, '_>) {
    let mut x = step.input();
    let mut records = Vec::new();
    for unit in step.units() {
        let record = step.forward(unit, x);
        x = record.output;
        records.push(record);
    }
    let output = step.forward_output(x);
    let mut gradients = step.backward_output(&output, !records.is_empty());
    for (unit, record) in records.iter().enumerate().rev() {
        let signals = Signals { global: gradients.input, ..Signals::default() };
        step.update(gradients);
        gradients = step.backward(unit, record, signals, unit > 0);
    }
    step.update(gradients);
}
