//! Backpropagation, the baseline: `L = L_g`, the global loss, over all parameters of the network.
//!
//! Workers do not predict, and their heads keep their initial values.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::unit::Signals;

pub(super) const METHOD: Method = Method {
    name: "bp",
    summary: "backpropagation of the global loss through the whole network",
    local: false,
    workers: Workers::Untrained,
    gradient: Gradient::Backward,
    write: backpropagate,
};

/// The global gradient, from the output layer back to the first unit.
pub(super) fn backpropagate(step: &mut TrainingStep<'_, '_>) {
    let mut x = step.input();
    let mut all_saved = Vec::new();
    for unit in step.units() {
        let saved = step.forward(unit, x);
        x = saved.output;
        all_saved.push((unit, saved));
    }
    let output = step.forward_output(x);
    let mut gradients = step.backward_output(&output, !all_saved.is_empty());
    for (earlier, (unit, saved)) in all_saved.iter().enumerate().rev() {
        let signals = Signals { global: gradients.input, ..Signals::default() };
        step.update(gradients);
        gradients = step.backward(*unit, saved, signals, earlier > 0);
    }
    step.update(gradients);
}
