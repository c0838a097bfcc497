//! Random divisions of predictions into classifiers and workers, with losses, targets and leaders.

use lfnn_core::program::{Align, FollowerLoss, Loss, Predictions, TensorId};
use proptest::prelude::*;

use crate::harness::Case;

/// PredictionBatch of a batch and their loss.
#[derive(Clone, Copy, Debug)]
pub struct PredictionBatch {
    /// Rows.
    pub batch: usize,
    /// Classifiers, workers, classes.
    pub predictions: Predictions,
    /// ℓ.
    pub loss: Loss,
}

/// PredictionBatch of every loss, with one classifier or several, one worker or several, K = 1 and K > 1.
pub fn predictions() -> impl Strategy<Value = PredictionBatch> {
    let smoothing = || prop_oneof![Just(0.0), 0.0..0.5];
    let loss = prop_oneof![
        smoothing().prop_map(|smoothing| Loss::CrossEntropy { smoothing }),
        (any::<bool>(), smoothing())
            .prop_map(|(one_vs_all, smoothing)| Loss::Binary { one_vs_all, smoothing }),
        Just(Loss::MeanSquared),
    ];
    (1usize..12, 1usize..4, 1usize..7, 1usize..8, loss).prop_map(
        |(batch, classifiers, workers, classes, loss)| {
            let classes = if matches!(loss, Loss::Binary { .. }) { 1 } else { classes };
            PredictionBatch {
                batch,
                predictions: Predictions { classifiers, workers, classes },
                loss,
            }
        },
    )
}

impl PredictionBatch {
    /// The shape of logits and outputs.
    pub fn shape(&self) -> [usize; 2] {
        [self.batch, self.predictions.features()]
    }

    /// One of the losses that a follower may have.
    pub fn follower(&self, case: &mut Case) -> FollowerLoss {
        let distances = [Align::Output, Align::Logits, Align::kl(1.0), Align::kl(2.5)];
        let some = if self.loss == Loss::MeanSquared { 2 } else { 4 };
        let align = case.source.pick(&distances[..some]);
        FollowerLoss { align, labels: case.source.pick(&[0.0, 0.0, 0.3, 1.0]) }
    }

    /// The shape of the losses.
    pub fn losses_shape(&self) -> [usize; 2] {
        [self.batch, self.predictions.predictors()]
    }

    /// The shape of what followers align with.
    pub fn reference_shape(&self) -> [usize; 2] {
        [self.batch, self.predictions.outputs()]
    }

    /// A tensor of random targets.
    pub fn target(&self, case: &mut Case) -> TensorId {
        let labels = match self.loss {
            Loss::CrossEntropy { .. } => self.predictions.classes,
            // Also a label that is no classifier's.
            Loss::Binary { one_vs_all: true, .. } => self.predictions.classifiers + 1,
            Loss::Binary { one_vs_all: false, .. } => 2,
            Loss::MeanSquared => return case.input("target", &self.reference_shape()),
        };
        case.whole_below("target", &[self.batch], labels as u32)
    }

    /// Random weights of the classes, sometimes and with labels only.
    pub fn weights(&self, case: &mut Case) -> Option<TensorId> {
        let labels = match self.loss {
            Loss::CrossEntropy { .. } => self.predictions.classes,
            Loss::Binary { one_vs_all: true, .. } => self.predictions.classifiers + 1,
            Loss::Binary { one_vs_all: false, .. } => 2,
            Loss::MeanSquared => return None,
        };
        let is_weighted = case.source.pick(&[true, false]);
        is_weighted.then(|| case.input_between("class weights", &[labels], 0.0, 4.0))
    }

    /// A mask with `count` random leaders in each classifier of each of `rows` rows, and one of them for
    /// each to be the best.
    pub fn leaders(&self, case: &mut Case, rows: usize, count: usize) -> (TensorId, TensorId) {
        let Predictions { classifiers, workers, .. } = self.predictions;
        let (mut leaders, mut best) = (Vec::new(), Vec::new());
        for _ in 0..rows * classifiers {
            let mut roles: Vec<f32> = (0..workers).map(|n| f32::from(n < count)).collect();
            for last in (1..workers).rev() {
                roles.swap(last, case.source.index(last + 1));
            }
            let leading: Vec<u32> =
                (0..workers as u32).filter(|&n| roles[n as usize] == 1.0).collect();
            best.push(case.source.pick(&leading));
            leaders.extend(roles);
        }
        let leaders = case.real("leaders", &[rows, classifiers * workers], leaders);
        (leaders, case.whole("best", &[rows, classifiers], best))
    }

    /// 1 or the batch: leaders of the batch, or of each sample.
    pub fn leader_rows(&self, case: &mut Case) -> usize {
        case.source.pick(&[1, self.batch])
    }

    /// A number of leaders, from 1 to all workers.
    pub fn leader_count(&self, case: &mut Case) -> usize {
        1 + case.source.index(self.predictions.workers)
    }
}
