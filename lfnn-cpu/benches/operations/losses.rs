//! Losses of workers, who leads, and the gradient of the local losses.

use std::error::Error;

use lfnn_core::program::{
    AlignmentTarget, DType, FollowerLoss, LocalLoss, LocalLossGradient, Loss, MeanWorkerLoss,
    Predictions, Reduction, Reference, SelectLeaders, WorkerLoss,
};

use crate::case::{BATCH, Case, Suite};

const CLASSES: usize = 10;
/// Workers, leaders: the units of `mnist-s` and `cifar10-m`, and those of `mnist-fc`.
const UNITS: [[usize; 2]; 2] = [[4, 3], [32, 6]];

pub(crate) fn all(suite: &mut Suite) -> Result<(), Box<dyn Error>> {
    let loss = Loss::CrossEntropy { smoothing: 0.0 };
    for [workers, count] in UNITS {
        let predictions = Predictions { classifiers: 1, workers, classes: CLASSES };
        let shape = format!("{BATCH} × {workers} workers × {CLASSES}");
        let features = [BATCH, predictions.features()];

        let mut case = Case::default();
        let (z, target) = (case.input(&features), case.whole_below(&[BATCH], CLASSES as u32));
        let (output, losses) = (case.output(&features), case.output(&[BATCH, workers]));
        case.push(WorkerLoss { z, target, weights: None, output, losses, predictions, loss });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (losses, mean) = (case.input(&[BATCH, workers]), case.output(&[workers]));
        let nonfinite = case.output_of(DType::U32, &[1]);
        case.push(MeanWorkerLoss { losses, mean, nonfinite });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (losses, leaders) = (case.input(&[workers]), case.output(&[1, workers]));
        let best = case.output_of(DType::U32, &[1, 1]);
        case.push(SelectLeaders { losses, leaders, best, predictions, count });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (value, leaders) = (case.input(&features), case.between(&[1, workers], 1.0, 1.0));
        let (best, counter) = (case.whole_below(&[1, 1], workers as u32), case.counter());
        let (reference, rule) = (case.output(&[BATCH, CLASSES]), Reference::Best);
        case.push(AlignmentTarget { value, leaders, best, counter, reference, predictions, rule });
        suite.measure(&shape, case)?;

        let mut case = Case::default();
        let (z, output) = (case.input(&features), case.between(&features, 0.0, 0.2));
        let target = case.whole_below(&[BATCH], CLASSES as u32);
        // Half a leader: all of both losses' arithmetic.
        let leaders = case.between(&[1, workers], 0.5, 0.5);
        let reference = case.between(&[BATCH, CLASSES], 0.0, 0.2);
        let dz = case.output(&features);
        case.push(LocalLossGradient {
            z,
            output,
            target,
            weights: None,
            leaders,
            reference,
            dz,
            predictions,
            loss: LocalLoss { leader: 1.0, follower: 1.0 },
            worker_loss: loss,
            reduction: Reduction::Sum,
            follower: FollowerLoss::default(),
        });
        suite.measure(&shape, case)?;
    }
    Ok(())
}
