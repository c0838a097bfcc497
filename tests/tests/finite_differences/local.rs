//! The gradient of the local losses, with leaders and what followers align with held constant.

use lfnn_core::program::{
    Align, AlignmentTarget, DType, EpochLeaders, FollowerLoss, LocalLoss, LocalLossGradient,
    LocalLosses, LossGradient, MeanWorkerLoss, Reduction, Reference, SelectLeaders, TensorId,
    WorkerLoss,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::derivative::{Rules, Variable};
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{PredictionBatch, predictions};
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
    outputs: PredictionBatch,
    reduction: Reduction,
    follower: FollowerLoss,
    scope: Scope,
    rule: Reference,
    seed: u64,
}

fn settings() -> impl Strategy<Value = Setting> {
    let stream = Stream::new(Purpose::Reference, 9);
    (
        predictions(),
        prop_oneof![Just(Reduction::Sum), Just(Reduction::Mean)],
        prop_oneof![Just(Align::Output), Just(Align::Logits), (0.5..4.0).prop_map(Align::kl)],
        prop_oneof![Just(0.0), Just(1.0), 0.0..1.0],
        prop_oneof![Just(Scope::Batch), Just(Scope::Epoch), Just(Scope::Sample)],
        prop_oneof![Just(Reference::Best), Just(Reference::Mean), Just(Reference::Random(stream))],
        any::<u64>(),
    )
        .prop_map(|(outputs, reduction, align, labels, scope, rule, seed)| Setting {
            outputs,
            reduction,
            follower: FollowerLoss { align, labels },
            scope,
            rule,
            seed,
        })
}

/// Writes the selection of `count` leaders from the losses of a batch, and of what the followers
/// align with.
fn select(case: &mut Case, of: Setting, count: usize, losses: TensorId, value: TensorId) -> Chosen {
    let PredictionBatch { batch, predictions, .. } = of.outputs;
    let rows = if of.scope == Scope::Sample { batch } else { 1 };
    let counter = case.counter(0, 0, u32::MAX);
    let leaders = case.output("leaders", &[rows, predictions.predictors()]);
    let best = case.output_of("best", DType::U32, &[rows, predictions.classifiers]);
    let mean = case.output("mean", &[predictions.predictors()]);
    let nonfinite = case.whole("nonfinite", &[1], vec![0]);
    case.push(MeanWorkerLoss { losses, mean, nonfinite });
    match of.scope {
        Scope::Batch => {
            case.push(SelectLeaders { losses: mean, leaders, best, predictions, count })
        }
        Scope::Sample => case.push(SelectLeaders { losses, leaders, best, predictions, count }),
        Scope::Epoch => {
            let epoch_losses = case.input("epoch losses", &[predictions.predictors()]);
            case.push(EpochLeaders {
                losses: mean,
                counter,
                epoch_losses,
                leaders,
                best,
                predictions,
                count,
            });
        }
    }
    let reference = case.output("reference", &of.outputs.reference_shape());
    case.push(AlignmentTarget {
        value,
        leaders,
        best,
        counter,
        reference,
        predictions,
        rule: of.rule,
    });
    Chosen { leaders, reference }
}

/// What is held constant.
struct Chosen {
    leaders: TensorId,
    reference: TensorId,
}

/// Whose gradient is checked.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// That of the local losses of leaders and followers.
    Local,
    /// That of all workers' losses.
    OfAll,
}

/// Checks a gradient with these leaders.
fn check(of: Setting, count: usize, kind: Kind) -> Result<(), String> {
    let mut case = Case::new(of.seed);
    let PredictionBatch { predictions, loss, .. } = of.outputs;
    let follower = of.follower;
    let shape = of.outputs.shape();
    let z = case.input_between("z", &shape, -2.0, 2.0);
    let target = of.outputs.target(&mut case);
    let output = case.output("output", &shape);
    let worker_losses = case.output("worker losses", &of.outputs.losses_shape());
    let value = if follower.align == Align::Output { output } else { z };
    let class_weights = of.outputs.weights(&mut case);
    let evaluate = WorkerLoss {
        z,
        target,
        weights: class_weights,
        output,
        losses: worker_losses,
        predictions,
        loss,
    };

    case.push(evaluate.clone());
    let Chosen { leaders, reference } = select(&mut case, of, count, worker_losses, value);
    let before = case.finish()?;

    let losses = case.output("losses", &[1, 2]);
    case.push(evaluate.clone());
    let reduction = of.reduction;
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
    let forward = case.finish()?;

    // The weights of the two losses are the gradient of the weighted sum; without leaders there is one loss.
    let weights = match kind {
        Kind::Local => case.source.pick(&[[1.0, 1.0], [0.5, 2.0], [0.0, 1.0]]),
        Kind::OfAll => [1.0, 0.0],
    };
    let dz = case.output("dz", &shape);
    case.push(evaluate);
    match kind {
        Kind::Local => case.push(LocalLossGradient {
            z,
            output,
            target,
            weights: class_weights,
            leaders,
            reference,
            dz,
            predictions,
            loss: LocalLoss { leader: f64::from(weights[0]), follower: f64::from(weights[1]) },
            worker_loss: loss,
            reduction,
            follower,
        }),
        Kind::OfAll => {
            case.push(LossGradient {
                z,
                output,
                target,
                weights: class_weights,
                dz,
                predictions,
                loss,
                reduction,
            });
        }
    }
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
        check(of, 1 + index.index(of.outputs.predictions.workers), Kind::Local)
    });
}

#[test]
fn the_gradient_of_all_losses_is_that_of_the_leader_loss_when_all_lead() {
    property(128, settings(), |of| check(of, of.outputs.predictions.workers, Kind::OfAll));
}
