//! LFNN: the global gradient for leaders, local losses for all (paper, Eq. 1).
//!
//! `L = L_g + λ₁ L^δ + λ₂ L^δ̄`: the local terms stay in their unit. The global gradient reaches the
//! output layer and the leaders: at each unit it is set to zero on what followers hand on, before it
//! enters the unit, so that it neither updates them nor passes through them. With
//! `followers_relay` it passes through them to earlier units, still without updating them.

use super::{Method, TrainingStep};
use crate::unit::Signals;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Lfnn;

impl Method for Lfnn {
    fn name(&self) -> &'static str {
        "lfnn"
    }

    fn describe(&self) -> &'static str {
        "leader-follower network: leaders also learn from the backpropagated global loss (Eq. 1)"
    }

    fn is_local(&self) -> bool {
        false
    }

    fn workers_learn(&self) -> bool {
        true
    }

    fn has_leaders(&self) -> bool {
        true
    }

    fn write(&self, step: &mut TrainingStep<'_, '_>) {
        let settings = step.leadership();
        let mut x = step.input();
        let mut records = Vec::new();
        for unit in step.units() {
            let (record, leaders) = step.forward_and_select(unit, x);
            x = record.output;
            records.push((record, leaders));
        }
        let output = step.forward_output(x);
        let mut gradients = step.backward_output(&output, !records.is_empty());
        for (unit, (record, leaders)) in records.iter().enumerate().rev() {
            let signals = Signals {
                local: step.local_gradient(leaders, settings.lambda1, settings.lambda2),
                global: gradients.input,
                leaders: (!leaders.all).then_some(leaders.mask),
                followers_relay: settings.followers_relay,
            };
            step.update(gradients);
            gradients = step.backward(unit, record, signals, unit > 0);
        }
        step.update(gradients);
    }
}
