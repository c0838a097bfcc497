//! Local feedback alignment (Ren et al. 2022): every unit carries the gradient of its own loss back through fixed
//! random matrices.
//!
//! `L = L_g^o + Σ_n ℓ_n`
//!
//! The losses are those of `lg-bp`; inside a unit, and inside the output layer, a matrix of the shape of each weight
//! takes its place in the backward pass, as in `fa`. With the weights themselves as feedback it is `lg-bp`.

use super::lg_bp::train_units;
use super::{Gradient, Method, TrainingStep, Workers};

pub(super) const METHOD: Method = Method {
    name: "lg-fa",
    summary: "local feedback alignment: every unit's own loss, through fixed random matrices inside it",
    local: true,
    workers: Workers::AllOnLabels,
    gradient: Gradient::Backward,
    write,
};

fn write(step: &mut TrainingStep<'_, '_>) {
    step.use_feedback();
    train_units(step);
}
