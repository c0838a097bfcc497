//! Forward gradients of the global loss: `(∇L_g · v) v` with `v ~ N(0, I)`, without a backward pass.
//!
//! One pass carries values and tangents forward, and a random direction v is added on the way, to the
//! parameters (Baydin et al. 2022) or to the outputs of the layers with parameters (Ren et al. 2022). The
//! pass ends with one number, the derivative `∇L_g · v` of the loss along v, and the mean of
//! `(∇L_g · v) v` is `∇L_g`. Its variance grows with the number of dimensions of v; see
//! `layer/perturb.rs` for what is taken per sample.
//!
//! With perturbed parameters no activation is kept: v is drawn again at the end. With perturbed outputs
//! the input of every layer is kept until the derivative is known.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::layer::Perturbation;

/// Directions in the space of the parameters.
pub(super) const WEIGHTS: Method = Method {
    name: "fg-w",
    summary: "forward gradient of the global loss along random changes of all weights",
    local: false,
    workers: Workers::Untrained,
    gradient: Gradient::Forward(Perturbation::Parameters),
    write: |step| write(step, Perturbation::Parameters),
};

/// Directions in the space of the layers' outputs.
pub(super) const ACTIVITIES: Method = Method {
    name: "fg-a",
    summary: "forward gradient of the global loss along random changes of all layers' outputs",
    local: false,
    workers: Workers::Untrained,
    gradient: Gradient::Forward(Perturbation::OUTPUTS),
    write: |step| write(step, Perturbation::OUTPUTS),
};

fn write(step: &mut TrainingStep<'_, '_>, perturb: Perturbation) {
    let mut x = (step.input(), step.still());
    let mut all_saved = Vec::new();
    for unit in step.units() {
        let (saved, tangents) = step.jvp_with_noise(unit, x, perturb);
        x = (saved.output, tangents);
        all_saved.push((unit, saved));
    }
    let (output, mut derivative) = step.jvp_with_noise_output(x, perturb);
    for (unit, saved) in &all_saved {
        let gradients = step.forward_gradient(*unit, saved, &mut derivative);
        step.update(gradients);
    }
    let gradients = step.forward_gradient_output(&output, &mut derivative);
    step.update(gradients);
}
