//! Forward gradients of local losses (Ren et al. 2022): no backward pass, and no derivative crosses a unit.
//!
//! Every unit has the loss of `lg-bp`, `L = Σ_n ℓ_n`, the sum (or mean) of its own workers' losses, and
//! takes `(∇L · v) v` along random directions v of its own; the output layer has the global loss.
//! Directions of few dimensions have less variance than those of a whole network (see `fg.rs`), and a
//! unit is updated before the next one begins.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::layer::Perturbation;

/// Directions in the space of the parameters.
pub(super) const WEIGHTS: Method = Method {
    name: "lg-fg-w",
    summary: "forward gradient of each unit's own loss along random changes of its weights",
    local: true,
    workers: Workers::AllOnLabels,
    gradient: Gradient::Forward(Perturbation::Parameters),
    write: |step| write(step, Perturbation::Parameters),
};

/// Directions in the space of the layers' outputs.
pub(super) const ACTIVITIES: Method = Method {
    name: "lg-fg-a",
    summary: "forward gradient of each unit's own loss along random changes of its layers' outputs",
    local: true,
    workers: Workers::AllOnLabels,
    gradient: Gradient::Forward(Perturbation::OUTPUTS),
    write: |step| write(step, Perturbation::OUTPUTS),
};

fn write(step: &mut TrainingStep<'_, '_>, perturb: Perturbation) {
    let mut x = step.input();
    for unit in step.units() {
        let (saved, gradients) = step.forward_gradient_of_losses(unit, x, perturb);
        step.update(gradients);
        x = saved.output;
    }
    let (saved, mut derivative) = step.jvp_with_noise_output((x, None), perturb);
    let gradients = step.forward_gradient_output(&saved, &mut derivative);
    step.update(gradients);
}
