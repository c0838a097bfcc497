//! LFNN-ℓ: every unit learns from the losses of its own workers (paper, Eq. 2).
//!
//! `L = L_g^o + L^δ + λ L^δ̄`
//!
//! A unit minimises `L^δ + λ L^δ̄` over its own parameters, the output layer minimises the global loss
//! `L_g^o`, and no derivative crosses from one unit to another. A unit is updated before the next one
//! begins, so its activations need not be kept.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::program::LocalLoss;
use crate::unit::Signals;

pub(super) const METHOD: Method = Method {
    name: "lfnn-l",
    summary: "leader-follower network without backpropagation: every unit learns from local losses (Eq. 2)",
    local: true,
    workers: Workers::LeadersAndFollowers,
    gradient: Gradient::Backward,
    write,
};

fn write(step: &mut TrainingStep<'_, '_>) {
    let settings = step.leadership();
    let local_loss = LocalLoss { leader: 1.0, follower: settings.lambda };
    let mut x = step.input();
    for unit in step.units() {
        let (saved, leaders) = step.forward_and_select(unit, x);
        let local = step.local_loss_gradient(&leaders, local_loss);
        let signals = Signals { local, ..Signals::default() };
        let gradients = step.backward(unit, &saved, signals, false);
        step.update(gradients);
        x = saved.output;
    }
    let output = step.forward_output(x);
    let gradients = step.backward_output(&output, false);
    step.update(gradients);
}
