//! Feedback alignment (Lillicrap et al. 2016): backpropagation whose way back is random and fixed.
//!
//! Where `bp` multiplies a gradient by the transposed weight of a linear or convolutional layer, a
//! matrix of the weight's shape stands in its place. It is drawn once, from the distribution of the
//! weight's initial values, and stays. Everything else is as in `bp`, and with the weights themselves
//! as feedback it is `bp`. No weight has to be known twice, but activations have to wait for the way
//! back all the same.

use super::bp::propagate_back;
use super::{Method, TrainingStep};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Fa;

impl Method for Fa {
    fn name(&self) -> &'static str {
        "fa"
    }

    fn describe(&self) -> &'static str {
        "feedback alignment: backpropagation through fixed random matrices"
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
        step.use_feedback();
        propagate_back(step);
    }
}
