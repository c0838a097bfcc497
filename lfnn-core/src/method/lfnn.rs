//! LFNN: the global loss for leaders, local losses for all workers (paper, Eq. 1).
//!
//! `L = L_g + λ₁ L^δ + λ₂ L^δ̄`
//!
//! A unit minimises `λ₁ L^δ + λ₂ L^δ̄` over its own parameters; no derivative of these losses leaves
//! the unit. The gradient of the global loss `L_g` reaches the output layer and the leaders: at each unit
//! it is set to zero at the outputs of followers before it enters the unit, so that it neither updates
//! them nor passes through them. With `gradient_through_followers` it passes through followers to earlier units,
//! and still does not update them.

use super::{Gradient, Method, TrainingStep, Workers};
use crate::program::LocalLoss;
use crate::unit::Signals;

pub(super) const METHOD: Method = Method {
    name: "lfnn",
    summary: "leader-follower network: leaders also learn from the backpropagated global loss (Eq. 1)",
    local: false,
    workers: Workers::LeadersAndFollowers,
    gradient: Gradient::Backward,
    write,
};

fn write(step: &mut TrainingStep<'_, '_>) {
    let settings = step.leadership();
    let local_loss = LocalLoss { leader: settings.lambda1, follower: settings.lambda2 };
    let mut x = step.input();
    let mut all_saved = Vec::new();
    for unit in step.units() {
        let (saved, leaders) = step.forward_and_select(unit, x);
        x = saved.output;
        all_saved.push((unit, saved, leaders));
    }
    let output = step.forward_output(x);
    let mut gradients = step.backward_output(&output, !all_saved.is_empty());
    for (earlier, (unit, saved, leaders)) in all_saved.iter().enumerate().rev() {
        let signals = Signals {
            local: step.local_loss_gradient(leaders, local_loss),
            global: gradients.input,
            leaders: (!leaders.all).then_some(leaders.mask),
            gradient_through_followers: settings.gradient_through_followers,
        };
        step.update(gradients);
        gradients = step.backward(*unit, saved, signals, earlier > 0);
    }
    step.update(gradients);
}
