//! Leader–follower learning in every unit, and backpropagation of the global loss into the last unit alone:
//! `L = L^δ + λ L^δ̄` for each unit, and `L_g` for the output layer and the last unit.

use lfnn_core::method::{Gradient, Method, TrainingStep, Workers};
use lfnn_core::program::LocalLoss;
use lfnn_core::unit::Signals;

/// The method, as `Setup::method` takes it.
pub(crate) const LAST_UNIT_GLOBAL: &Method = &Method {
    name: "last-unit-global",
    summary: "leader-follower network: the last unit also learns from the global loss",
    // A derivative passes from the output layer into a unit.
    local: false,
    workers: Workers::LeadersAndFollowers,
    gradient: Gradient::Backward,
    write,
};

fn write(step: &mut TrainingStep<'_, '_>) {
    let loss = LocalLoss { leader: 1.0, follower: step.leadership().lambda };
    let mut x = step.input();
    let units = step.units();
    for &unit in &units {
        let (saved, leaders) = step.forward_and_select(unit, x);
        x = saved.output;
        let mut signals = Signals::default();
        if Some(&unit) == units.last() {
            let output = step.forward_output(x);
            let gradients = step.backward_output(&output, true);
            signals.global = gradients.input;
            step.update(gradients);
        }
        signals.local = step.local_loss_gradient(&leaders, loss);
        let gradients = step.backward(unit, &saved, signals, false);
        step.update(gradients);
    }
}
