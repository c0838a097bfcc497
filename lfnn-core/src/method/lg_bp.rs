//! Local greedy learning (Belilovsky et al. 2019): every unit backpropagates its own loss.
//!
//! `L = L_g^o + Σ_n ℓ_n`
//!
//! A unit minimises the sum (or mean, see `reduction`) of its workers' losses ℓ_n, which all learn from
//! the labels; the output layer minimises the global loss, and no derivative crosses from one unit to
//! another. This is LFNN-ℓ with every worker a leader.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::unit::Signals;

pub(super) const METHOD: Method = Method {
    name: "lg-bp",
    summary: "local greedy: every unit learns from its own workers' losses by backpropagation inside it",
    local: true,
    workers: Workers::AllOnLabels,
    gradient: Gradient::Backward,
    write: train_units,
};

/// Unit by unit its own workers' losses, then the output layer.
pub(super) fn train_units(step: &mut TrainingStep<'_, '_>) {
    let mut x = step.input();
    for unit in step.units() {
        let (saved, outputs) = step.forward_with_losses(unit, x);
        let local = Some(step.loss_gradient(outputs));
        let signals = Signals { local, ..Signals::default() };
        let gradients = step.backward(unit, &saved, signals, false);
        step.update(gradients);
        x = saved.output;
    }
    let output = step.forward_output(x);
    let gradients = step.backward_output(&output, false);
    step.update(gradients);
}
