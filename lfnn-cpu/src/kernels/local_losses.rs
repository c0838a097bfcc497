//! The leader loss and the follower loss, for the metrics.

use lfnn_core::program::{Align, FollowerLoss, Predictions, Reduction, Temperature};

use super::loss_gradients::{Softened, leading};
use crate::memory::{Input, Output};
use crate::work::{Kernel, Workspace, kernel};

kernel! {
    LocalLosses {
        worker_losses: Input<f32>,
        value: Input<f32>,
        leaders: Input<f32>,
        reference: Input<f32>,
        losses: Output<f32>,
    }
    with |op, bind| {
        predictions: Predictions = op.predictions,
        reduction: Reduction = op.reduction,
        follower: FollowerLoss = op.follower,
    }
}

impl Kernel for LocalLosses {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let Predictions { classifiers, workers, classes } = self.predictions;
        let (worker_losses, value) = (self.worker_losses.get(), self.value.get());
        let (leaders, reference) = (self.leaders.get(), self.reference.get());
        let batch = worker_losses.len() / (classifiers * workers);
        let per_sample = leaders.len() != classifiers * workers || batch == 1;
        let mut losses = [0.0f64; 2];
        for row in 0..batch * classifiers {
            let (example, classifier) = (row / classifiers, row % classifiers);
            let leaders_row = if per_sample { example } else { 0 };
            let leaders = &leaders[(leaders_row * classifiers + classifier) * workers..];
            let leaders = &leaders[..workers];
            let worker_losses = &worker_losses[row * workers..][..workers];
            let values = value[row * workers * classes..].chunks_exact(classes);
            let reference = &reference[row * classes..][..classes];
            let mut sums = [0.0f64; 2];
            for ((&leads, &loss), value) in leaders.iter().zip(worker_losses).zip(values) {
                if leads != 0.0 {
                    sums[0] += f64::from(loss);
                } else {
                    let FollowerLoss { align, labels } = self.follower;
                    sums[1] += (1.0 - labels) * distance(align, reference, value);
                    if labels != 0.0 {
                        sums[1] += labels * f64::from(loss);
                    }
                }
            }
            let count = leading(leaders);
            let counts = match self.reduction {
                Reduction::Sum => [1, 1],
                Reduction::Mean => [count.max(1), (workers - count).max(1)],
            };
            for ((loss, sum), count) in losses.iter_mut().zip(sums).zip(counts) {
                *loss += sum / count as f64;
            }
        }
        for (to, loss) in self.losses.get().iter_mut().zip(losses) {
            *to = (loss / batch as f64) as f32;
        }
    }
}

/// `d(leader, own)` of a follower.
fn distance(align: Align, leader: &[f32], own: &[f32]) -> f64 {
    let Align::Kl(Temperature { temperature }) = align else {
        let sum: f32 = own.iter().zip(leader).map(|(v, r)| (r - v) * (r - v)).sum();
        return f64::from(sum) / own.len() as f64;
    };
    let (of_leader, of_own) =
        (Softened::new(leader, temperature as f32), Softened::new(own, temperature as f32));
    let term = |leader: f32, own: f32| {
        let (leader, own) = (of_leader.log(leader), of_own.log(own));
        f64::from(leader.exp() * (leader - own))
    };
    let sum: f64 = leader.iter().zip(own).map(|(&leader, &own)| term(leader, own)).sum();
    let other = if own.len() == 1 { term(0.0, 0.0) } else { 0.0 };
    temperature * temperature * (sum + other)
}
