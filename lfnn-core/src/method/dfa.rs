//! Direct feedback alignment (Nøkland 2016): the error of the output layer reaches every unit through one fixed random
//! matrix.
//!
//! `∂L/∂y_u ≈ B_u e`, where y_u is the output of unit u and `e = ∂L_g/∂z`, with the logits z, is the error.
//!
//! From its output to its parameters a unit has the exact backward rules of its layers, and the output layer has its
//! exact gradient. Nothing passes backwards from one unit to another, and no unit needs the weights of later ones; but
//! all wait for the error. B_u is drawn once, `[features of y_u, logits]` and uniform in ±1/√logits, and never changes.
//! Classifiers of a one-vs-all task stay independent: each has its own error and its own part of B_u.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::unit::Signals;

pub(super) const METHOD: Method = Method {
    name: "dfa",
    summary: "direct feedback alignment: a fixed random matrix carries the output's error to each unit",
    local: false,
    workers: Workers::Untrained,
    gradient: Gradient::Direct,
    write,
};

fn write(step: &mut TrainingStep<'_, '_>) {
    let mut x = step.input();
    let mut all_saved = Vec::new();
    for unit in step.units() {
        let saved = step.forward(unit, x);
        x = saved.output;
        all_saved.push((unit, saved));
    }
    let output = step.forward_output(x);
    let error = step.output_error(&output);
    let gradients = step.backward_output(&output, false);
    step.update(gradients);
    for (unit, saved) in all_saved.iter().rev() {
        let signal = step.direct_feedback(*unit, error);
        let signals = Signals { global: Some(signal), ..Signals::default() };
        let gradients = step.backward(*unit, saved, signals, false);
        step.update(gradients);
    }
}
