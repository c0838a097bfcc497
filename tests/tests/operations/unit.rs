//! All that lies between a unit's logits and their gradient, as training steps have it: a backend may do it at once.

use lfnn_core::program::{
    AccumulateRows, Align, AlignmentTarget, CountErrors, DType, Decision, EpochLeaders, LocalLoss,
    LocalLossGradient, LocalLosses, Loss, LossGradient, MeanWorkerLoss, Reduction,
    Reference as Rule, SelectLeaders, WorkerLoss,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{PredictionBatch, predictions};
use lfnn_tests::property::property;
use proptest::prelude::*;

/// As of the operations alone, in `losses.rs`.
const LOSSES: Tolerance = Tolerance { element: 5e-6, tensor: 3e-6, absolute: 3e-6 };

fn losses((of, seed): (PredictionBatch, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = 2;
    let PredictionBatch { batch, predictions, loss } = of;
    // Some rows of the last batch hold no example; the second run is another step of an epoch.
    let count = 1 + case.source.below(batch as u32);
    let counter = case.counter(case.source.clone().below(2), 0, count);
    let z = case.input_between("z", &of.shape(), -4.0, 4.0);
    let target = of.target(&mut case);
    let output = case.output("output", &of.shape());
    let worker_losses = case.output("worker losses", &of.losses_shape());
    let predictors = predictions.predictors();
    let mean = case.output("mean", &[predictors]);
    let nonfinite = case.whole("nonfinite", &[1], vec![0]);
    let [all_worker_losses, wrong, lead_counts] =
        ["all worker losses", "wrong", "lead counts"].map(|name| case.input(name, &[predictors]));
    let weights = of.weights(&mut case);
    case.push(WorkerLoss { z, target, weights, output, losses: worker_losses, predictions, loss });
    case.push(MeanWorkerLoss { losses: worker_losses, mean, nonfinite });
    case.push(AccumulateRows { x: worker_losses, counter, total: all_worker_losses });
    let decision = match loss {
        Loss::CrossEntropy { .. } => Some(Decision::Largest),
        Loss::Binary { one_vs_all, .. } => Some(Decision::Threshold { one_vs_all }),
        Loss::MeanSquared => None,
    };
    if let Some(decision) = decision {
        case.push(CountErrors { output, target, counter, wrong, predictions, decision });
    }
    let dz = case.output("dz", &of.shape());
    let reduction = case.source.pick(&[Reduction::Sum, Reduction::Mean]);
    if case.source.below(4) == 0 {
        // All workers learn from the targets, as in an output layer.
        case.push(LossGradient { z, output, target, weights, dz, predictions, loss, reduction });
        return case.agrees(LOSSES);
    }
    let leading = of.leader_count(&mut case);
    let (rows, by) = case.source.pick(&[(1, mean), (batch, worker_losses)]);
    let (leaders, best) = if rows == 1 && case.source.coin() {
        let (leaders, best) = of.leaders(&mut case, 1, leading);
        let epoch_losses = case.input("epoch losses", &[predictors]);
        let (losses, count) = (mean, leading);
        case.push(EpochLeaders {
            losses,
            counter,
            epoch_losses,
            leaders,
            best,
            predictions,
            count,
        });
        (leaders, best)
    } else {
        let leaders = case.output("leaders", &[rows, predictors]);
        let best = case.output_of("best", DType::U32, &[rows, predictions.classifiers]);
        case.push(SelectLeaders { losses: by, leaders, best, predictions, count: leading });
        (leaders, best)
    };
    let follower = of.follower(&mut case);
    let value = if follower.align == Align::Output { output } else { z };
    let stream = Stream::new(Purpose::Reference, 1);
    let rule = case.source.pick(&[Rule::Best, Rule::Mean, Rule::Random(stream)]);
    let reference = case.output("reference", &of.reference_shape());
    case.push(AlignmentTarget { value, leaders, best, counter, reference, predictions, rule });
    let losses = case.output("losses", &[1, 2]);
    let all_losses = case.input("all losses", &[2]);
    case.push(LocalLosses {
        worker_losses,
        value,
        leaders,
        reference,
        losses,
        predictions,
        reduction,
        follower,
    });
    case.push(AccumulateRows { x: losses, counter, total: all_losses });
    case.push(AccumulateRows { x: leaders, counter, total: lead_counts });
    case.push(LocalLossGradient {
        z,
        output,
        target,
        weights,
        leaders,
        reference,
        dz,
        predictions,
        loss: LocalLoss { leader: 0.7, follower: 1.3 },
        worker_loss: loss,
        reduction,
        follower,
    });
    case.agrees(LOSSES)
}

#[test]
fn losses_of_a_unit_agree() {
    property(512, (predictions(), any::<u64>()), losses);
}

properties! {
    losses_of_a_unit_agree;
}
