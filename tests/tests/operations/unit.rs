//! All that lies between a unit's logits and their gradient, as training steps have it: a backend may do it at once.

use lfnn_core::program::{
    AccumulateRows, Align, AlignmentTarget, CountErrors, DType, Decision, EpochLeaders,
    LocalGradient, LocalLosses, Loss, MeanErrors, Reduction, Reference as Rule, SelectLeaders,
    WorkerErrors,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{Predictions, predictions};
use lfnn_tests::property::property;
use proptest::prelude::*;

/// As of the operations alone, in `losses.rs`.
const LOSSES: Tolerance = Tolerance { element: 5e-6, tensor: 3e-6, absolute: 3e-6 };

fn losses((of, seed): (Predictions, u64)) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = 2;
    let Predictions { batch, heads, loss } = of;
    // Some rows of the last batch hold no example; the second run is another step of an epoch.
    let count = 1 + case.source.below(batch as u32);
    let clock = case.clock(case.source.clone().below(2), 0, count);
    let z = case.input_between("z", &of.shape(), -4.0, 4.0);
    let target = of.target(&mut case);
    let output = case.output("output", &of.shape());
    let errors = case.output("errors", &of.errors_shape());
    let predictors = heads.predictors();
    let mean = case.output("mean", &[predictors]);
    let fault = case.whole("fault", &[1], vec![0]);
    let [all_errors, wrong, leads] =
        ["all errors", "wrong", "leads"].map(|name| case.input(name, &[predictors]));
    case.push(WorkerErrors { z, target, output, errors, heads, loss });
    case.push(MeanErrors { errors, mean, fault });
    case.push(AccumulateRows { x: errors, clock, total: all_errors });
    let decision = match loss {
        Loss::CrossEntropy { .. } => Some(Decision::Largest),
        Loss::Binary { one_vs_all, .. } => Some(Decision::Threshold { one_vs_all }),
        Loss::MeanSquared => None,
    };
    if let Some(decision) = decision {
        case.push(CountErrors { output, target, clock, wrong, heads, decision });
    }
    let leading = of.leader_count(&mut case);
    let (rows, by) = case.source.pick(&[(1, mean), (batch, errors)]);
    let (leaders, best) = if rows == 1 && case.source.coin() {
        let (leaders, best) = of.leaders(&mut case, 1, leading);
        let epoch_errors = case.input("epoch errors", &[predictors]);
        let (errors, count) = (mean, leading);
        case.push(EpochLeaders { errors, clock, epoch_errors, leaders, best, heads, count });
        (leaders, best)
    } else {
        let leaders = case.output("leaders", &[rows, predictors]);
        let best = case.output_of("best", DType::U32, &[rows, heads.nets]);
        case.push(SelectLeaders { errors: by, leaders, best, heads, count: leading });
        (leaders, best)
    };
    let (value, align) = case.source.pick(&[(output, Align::Output), (z, Align::Logits)]);
    let stream = Stream::new(Purpose::Reference, 1);
    let rule = case.source.pick(&[Rule::Best, Rule::Mean, Rule::Random(stream)]);
    let reference = case.output("reference", &of.reference_shape());
    case.push(AlignmentTarget { value, leaders, best, clock, reference, heads, rule });
    let reduction = case.source.pick(&[Reduction::Sum, Reduction::Mean]);
    let losses = case.output("losses", &[1, 2]);
    let all_losses = case.input("all losses", &[2]);
    case.push(LocalLosses { errors, value, leaders, reference, losses, heads, reduction });
    case.push(AccumulateRows { x: losses, clock, total: all_losses });
    case.push(AccumulateRows { x: leaders, clock, total: leads });
    let dz = case.output("dz", &of.shape());
    case.push(LocalGradient {
        z,
        output,
        target,
        leaders: Some(leaders),
        reference: Some(reference),
        dz,
        heads,
        loss,
        leader_weight: 0.7,
        follower_weight: 1.3,
        reduction,
        align,
    });
    case.agrees(LOSSES)
}

#[test]
pub(crate) fn losses_of_a_unit_agree() {
    property(512, (predictions(), any::<u64>()), losses);
}
