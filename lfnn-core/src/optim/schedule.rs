//! Learning rates, step by step.

use std::f64::consts::PI;

use crate::config::ScheduleConfig;

/// The learning rate of step `step` (from 0) of `total`, where the largest is `lr` and an epoch has
/// `steps_per_epoch` steps.
pub fn learning_rate(
    schedule: &ScheduleConfig,
    lr: f64,
    step: usize,
    total: usize,
    steps_per_epoch: usize,
) -> f64 {
    let t = step as f64;
    match *schedule {
        ScheduleConfig::Constant => lr,
        ScheduleConfig::Step { epochs, gamma } => {
            let drops = step / steps_per_epoch.max(1) / epochs.max(1);
            lr * gamma.powi(i32::try_from(drops).unwrap_or(i32::MAX))
        }
        ScheduleConfig::Cosine { warmup_epochs, floor } => {
            let warmup = (warmup_epochs * steps_per_epoch as f64).round();
            after_warmup(lr, t, total, (warmup, floor), |share| 0.5 * (1.0 + (PI * share).cos()))
        }
        ScheduleConfig::Linear { warmup_epochs, floor } => {
            let warmup = (warmup_epochs * steps_per_epoch as f64).round();
            after_warmup(lr, t, total, (warmup, floor), |share| 1.0 - share)
        }
        ScheduleConfig::OneCycle { warmup, start_divisor, end_divisor } => {
            let start = lr / start_divisor;
            let end = start / end_divisor;
            let top = warmup * total as f64 - 1.0;
            let last = total as f64 - 1.0;
            if t <= top {
                return between(start, lr, t / top.max(1.0));
            }
            between(lr, end, ((t - top) / (last - top).max(1.0)).min(1.0))
        }
    }
}

/// A straight line up to `lr`, then a curve, which falls from 1 to 0, down to a share of `lr`, the floor.
fn after_warmup(
    lr: f64,
    t: f64,
    total: usize,
    (warmup, floor): (f64, f64),
    curve: impl Fn(f64) -> f64,
) -> f64 {
    if t < warmup {
        return lr * (t + 1.0) / warmup;
    }
    let share = (t - warmup) / (total as f64 - warmup).max(1.0);
    lr * (floor + (1.0 - floor) * curve(share.min(1.0)))
}

/// Half a cosine from `a` to `b`.
fn between(a: f64, b: f64, share: f64) -> f64 {
    b + (a - b) / 2.0 * (1.0 + (PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(schedule: &ScheduleConfig, total: usize, per_epoch: usize) -> Vec<f64> {
        (0..total).map(|step| learning_rate(schedule, 2.0, step, total, per_epoch)).collect()
    }

    #[test]
    fn a_step_schedule_drops_at_epoch_boundaries() {
        let schedule = ScheduleConfig::Step { epochs: 2, gamma: 0.5 };
        assert_eq!(curve(&schedule, 6, 1), [2.0, 2.0, 1.0, 1.0, 0.5, 0.5]);
    }

    #[test]
    fn a_cosine_warms_up_and_falls_to_its_floor() {
        let schedule = ScheduleConfig::Cosine { warmup_epochs: 2.0, floor: 0.0 };
        let rates = curve(&schedule, 12, 1);
        assert_eq!(rates[..3], [1.0, 2.0, 2.0]);
        assert!((rates[7] - 1.0).abs() < 1e-12, "half-way down at half the steps: {}", rates[7]);
        assert!(rates.windows(2).skip(2).all(|pair| pair[1] < pair[0]));
    }

    /// Values of `torch.optim.lr_scheduler.LinearLR(start_factor=1, end_factor=0, total_iters=8)`, a rate of 2.
    #[test]
    fn a_line_falls_to_zero_as_pytorchs() {
        let schedule = ScheduleConfig::Linear { warmup_epochs: 0.0, floor: 0.0 };
        assert_eq!(curve(&schedule, 8, 4), [2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn a_line_warms_up_and_falls_to_its_floor() {
        let schedule = ScheduleConfig::Linear { warmup_epochs: 1.0, floor: 0.5 };
        assert_eq!(curve(&schedule, 6, 2), [1.0, 2.0, 2.0, 1.75, 1.5, 1.25]);
    }

    /// Values of `torch.optim.lr_scheduler.OneCycleLR(max_lr=2, total_steps=10)`.
    #[test]
    fn one_cycle_starts_tops_and_ends_where_pytorch_does() {
        let schedule =
            ScheduleConfig::OneCycle { warmup: 0.3, start_divisor: 25.0, end_divisor: 1e4 };
        let rates = curve(&schedule, 10, 10);
        assert!((rates[0] - 0.08).abs() < 1e-12);
        assert!((rates[1] - 1.04).abs() < 1e-12);
        assert!((rates[2] - 2.0).abs() < 1e-12);
        assert!((rates[9] - 8e-6).abs() < 1e-12);
    }
}
