//! Feedback alignment (Lillicrap et al. 2016): backpropagation of `L = L_g` through fixed random matrices.
//!
//! Where `bp` multiplies a gradient by the transposed weight of a linear or convolutional layer, this
//! method multiplies by a matrix of the weight's shape. It is drawn once, from the distribution of the
//! weight's initial values, and never changes. Everything else is as in `bp`: with the weights themselves
//! as feedback it is `bp`. Activations are kept for the backward pass all the same.

use super::bp::backpropagate;
use super::{Gradient, Method, TrainingStep, Workers};

pub(super) const METHOD: Method = Method {
    name: "fa",
    summary: "feedback alignment: backpropagation through fixed random matrices",
    local: false,
    workers: Workers::Untrained,
    gradient: Gradient::Backward,
    write,
};

fn write(step: &mut TrainingStep<'_, '_>) {
    step.use_feedback();
    backpropagate(step);
}
