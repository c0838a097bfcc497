//! The gradient of the local losses, with leaders and what followers align with held constant.

use lfnn_core::program::{
    Align, AlignmentTarget, DType, EpochLeaders, LocalGradient, LocalLosses, MeanErrors, Reduction,
    Reference, SelectLeaders, TensorId, WorkerErrors,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::derivative::{Rules, Variable};
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{Predictions, predictions};
use lfnn_tests::property::property;
use proptest::prelude::*;

/// Over what leaders are selected.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    Batch,
    Epoch,
    Sample,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    predictions: Predictions,
    reduction: Reduction,
    align: Align,
    scope: Scope,
    rule: Reference,
    seed: u64,
}

fn settings() -> impl Strategy<Value = Setting> {
    let stream = Stream::new(Purpose::Reference, 9);
    (
        predictions(),
        prop_oneof![Just(Reduction::Sum), Just(Reduction::Mean)],
        prop_oneof![Just(Align::Output), Just(Align::Logits)],
        prop_oneof![Just(Scope::Batch), Just(Scope::Epoch), Just(Scope::Sample)],
        prop_oneof![Just(Reference::Best), Just(Reference::Mean), Just(Reference::Random(stream))],
        any::<u64>(),
    )
        .prop_map(|(predictions, reduction, align, scope, rule, seed)| Setting {
            predictions,
            reduction,
            align,
            scope,
            rule,
            seed,
        })
}

/// Writes the selection of `count` leaders from the errors of a batch, and of what the followers
/// align with.
fn select(case: &mut Case, of: Setting, count: usize, errors: TensorId, value: TensorId) -> Chosen {
    let Predictions { batch, heads, .. } = of.predictions;
    let rows = if of.scope == Scope::Sample { batch } else { 1 };
    let clock = case.clock(0, 0, u32::MAX);
    let leaders = case.output("leaders", &[rows, heads.predictors()]);
    let best = case.output_of("best", DType::U32, &[rows, heads.nets]);
    let mean = case.output("mean", &[heads.predictors()]);
    let fault = case.whole("fault", &[1], vec![0]);
    case.push(MeanErrors { errors, mean, fault });
    match of.scope {
        Scope::Batch => case.push(SelectLeaders { errors: mean, leaders, best, heads, count }),
        Scope::Sample => case.push(SelectLeaders { errors, leaders, best, heads, count }),
        Scope::Epoch => {
            let epoch_errors = case.input("epoch_errors", &[heads.predictors()]);
            case.push(EpochLeaders {
                errors: mean,
                clock,
                epoch_errors,
                leaders,
                best,
                heads,
                count,
            });
        }
    }
    let reference = case.output("reference", &of.predictions.reference_shape());
    case.push(AlignmentTarget { value, leaders, best, clock, reference, heads, rule: of.rule });
    Chosen { leaders, reference }
}

/// What is held constant.
struct Chosen {
    leaders: TensorId,
    reference: TensorId,
}

/// Checks the gradient with these leaders; where `all` lead, also without naming them.
fn check(of: Setting, count: usize, name_leaders: bool) -> Result<(), String> {
    let mut case = Case::new(of.seed);
    let Predictions { heads, loss, .. } = of.predictions;
    let shape = of.predictions.shape();
    let z = case.input_between("z", &shape, -2.0, 2.0);
    let target = of.predictions.target(&mut case);
    let output = case.output("output", &shape);
    let errors = case.output("errors", &of.predictions.errors_shape());
    let value = if of.align == Align::Output { output } else { z };
    let evaluate = WorkerErrors { z, target, output, errors, heads, loss };

    case.push(evaluate.clone());
    let Chosen { leaders, reference } = select(&mut case, of, count, errors, value);
    let before = case.finish()?;

    let losses = case.output("losses", &[1, 2]);
    case.push(evaluate.clone());
    let reduction = of.reduction;
    case.push(LocalLosses { errors, value, leaders, reference, losses, heads, reduction });
    let forward = case.finish()?;

    // The weights of the two losses are the gradient of the weighted sum.
    let weights = case.source.pick(&[[1.0, 1.0], [0.5, 2.0], [0.0, 1.0]]);
    let dz = case.output("dz", &shape);
    case.push(evaluate);
    case.push(LocalGradient {
        z,
        output,
        target,
        leaders: name_leaders.then_some(leaders),
        reference: name_leaders.then_some(reference),
        dz,
        heads,
        loss,
        leader_weight: f64::from(weights[0]),
        follower_weight: f64::from(weights[1]),
        reduction,
        align: of.align,
    });
    let backward = case.finish()?;

    let rules = Rules {
        forward,
        backward,
        tangent: None,
        variables: vec![Variable { value: z, gradient: dz, tangent: None }],
        y: losses,
        dy: case.real("weights", &[1, 2], weights.to_vec()),
    };
    rules.check(&case, Some(before))
}

#[test]
fn the_local_gradient_is_that_of_the_local_losses() {
    property(384, (settings(), any::<prop::sample::Index>()), |(of, index)| {
        check(of, 1 + index.index(of.predictions.heads.workers), true)
    });
}

#[test]
fn without_leaders_all_workers_lead() {
    property(128, settings(), |of| check(of, of.predictions.heads.workers, false));
}
