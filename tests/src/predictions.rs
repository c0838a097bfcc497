//! Random divisions of predictions into nets and workers, with losses, targets and leaders.

use lfnn_core::program::{Heads, Loss, TensorId};
use proptest::prelude::*;

use crate::harness::Case;

/// Predictions of a batch and their loss.
#[derive(Clone, Copy, Debug)]
pub struct Predictions {
    /// Rows.
    pub batch: usize,
    /// Nets, workers, width.
    pub heads: Heads,
    /// The error.
    pub loss: Loss,
}

/// Predictions of every loss, with one net or several, one worker or several, K = 1 and K > 1.
pub fn predictions() -> impl Strategy<Value = Predictions> {
    let smoothing = || prop_oneof![Just(0.0), 0.0..0.5];
    let loss = prop_oneof![
        smoothing().prop_map(|smoothing| Loss::CrossEntropy { smoothing }),
        (any::<bool>(), smoothing())
            .prop_map(|(one_vs_all, smoothing)| Loss::Binary { one_vs_all, smoothing }),
        Just(Loss::MeanSquared),
    ];
    (1usize..12, 1usize..4, 1usize..7, 1usize..8, loss).prop_map(
        |(batch, nets, workers, width, loss)| {
            let width = if matches!(loss, Loss::Binary { .. }) { 1 } else { width };
            Predictions { batch, heads: Heads { nets, workers, width }, loss }
        },
    )
}

impl Predictions {
    /// The shape of logits and outputs.
    pub fn shape(&self) -> [usize; 2] {
        [self.batch, self.heads.features()]
    }

    /// The shape of the errors.
    pub fn errors_shape(&self) -> [usize; 2] {
        [self.batch, self.heads.predictors()]
    }

    /// The shape of what followers align with.
    pub fn reference_shape(&self) -> [usize; 2] {
        [self.batch, self.heads.nets * self.heads.width]
    }

    /// A tensor of random targets.
    pub fn target(&self, case: &mut Case) -> TensorId {
        let classes = match self.loss {
            Loss::CrossEntropy { .. } => self.heads.width,
            // Also a label that is no net's.
            Loss::Binary { one_vs_all: true, .. } => self.heads.nets + 1,
            Loss::Binary { one_vs_all: false, .. } => 2,
            Loss::MeanSquared => return case.input("target", &self.reference_shape()),
        };
        case.whole_below("target", &[self.batch], classes as u32)
    }

    /// A mask with `count` random leaders in each net of each of `rows` rows, and one of them for
    /// each to be the best.
    pub fn leaders(&self, case: &mut Case, rows: usize, count: usize) -> (TensorId, TensorId) {
        let Heads { nets, workers, .. } = self.heads;
        let (mut leaders, mut best) = (Vec::new(), Vec::new());
        for _ in 0..rows * nets {
            let mut roles: Vec<f32> = (0..workers).map(|n| f32::from(n < count)).collect();
            for last in (1..workers).rev() {
                roles.swap(last, case.source.index(last + 1));
            }
            let leading: Vec<u32> =
                (0..workers as u32).filter(|&n| roles[n as usize] == 1.0).collect();
            best.push(case.source.pick(&leading));
            leaders.extend(roles);
        }
        let leaders = case.real("leaders", &[rows, nets * workers], leaders);
        (leaders, case.whole("best", &[rows, nets], best))
    }

    /// 1 or the batch: leaders of the batch, or of each sample.
    pub fn leader_rows(&self, case: &mut Case) -> usize {
        case.source.pick(&[1, self.batch])
    }

    /// A number of leaders, from 1 to all workers.
    pub fn leader_count(&self, case: &mut Case) -> usize {
        1 + case.source.index(self.heads.workers)
    }
}
