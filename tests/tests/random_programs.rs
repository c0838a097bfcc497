//! Whole random programs on the CPU backend, on the emulated CUDA backend and on the reference.
//!
//! A program is a training step of a random network: a few units, each a random chain of layers with
//! workers at its end, a local loss and an optimiser, and all tangents. What tests of single
//! operations cannot see shows here: memory that is used again too early, operations fused or run in
//! the wrong order, results that depend on the number of threads.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::program::{
    AdamStep, AdvanceStepCounter, AlignmentTarget, ClipFactor, DType, FollowerLoss, LocalLoss,
    LocalLossGradient, LocalLosses, Loss, MeanWorkerLoss, Predictions, Reduction,
    Reference as Rule, SelectLeaders, SgdStep, TensorId, WorkerLoss,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::chain::{self, Chain, Kinks, Signal};
use lfnn_tests::harness::Case;
use lfnn_tests::parity;
use lfnn_tests::predictions::PredictionBatch;
use lfnn_tests::property::property;
use lfnn_tests::under_test::{on_emulator, on_gpu};
use proptest::prelude::*;

/// Units, layers in each, the shape of the input and a seed.
type Network = (usize, usize, Vec<usize>, u64);

fn temporary(case: &mut Case, shape: &[usize]) -> TensorId {
    case.temporary("temporary", DType::Real, shape)
}

/// A unit: layers, workers, the local loss and the gradients. Gives what the next unit reads.
fn unit(case: &mut Case, chain: &mut Chain, layers: usize, counter: TensorId) -> Signal {
    for _ in 0..layers {
        chain.extend(case);
    }
    let features = chain.output;
    let batch = case.shape(features.value)[0];
    let predictions = Predictions { classifiers: 1, workers: 1 + case.source.index(4), classes: 3 };
    let loss = Loss::CrossEntropy { smoothing: 0.1 };
    let of = PredictionBatch { batch, predictions, loss };
    let tangent = case.output("tangent of the logits", &of.shape());
    let z = Signal { tangent, ..chain::signal(case, &of.shape()) };
    chain.read_out(case, z);
    chain.forward.drain(..).for_each(|op| case.push(op));
    chain.tangent.drain(..).for_each(|op| case.push(op));

    let (target, output) = (of.target(case), temporary(case, &of.shape()));
    let worker_losses = temporary(case, &of.losses_shape());
    let weights = of.weights(case);
    case.push(WorkerLoss {
        z: z.value,
        target,
        weights,
        output,
        losses: worker_losses,
        predictions,
        loss,
    });
    let mean = case.output("mean losses", &[predictions.predictors()]);
    let nonfinite = case.whole("nonfinite", &[1], vec![0]);
    case.push(MeanWorkerLoss { losses: worker_losses, mean, nonfinite });
    let leaders = temporary(case, &[1, predictions.predictors()]);
    let best = case.temporary("best", DType::U32, &[1, 1]);
    let count = of.leader_count(case);
    case.push(SelectLeaders { losses: mean, leaders, best, predictions, count });
    let reference = temporary(case, &of.reference_shape());
    let stream = Stream::new(Purpose::Reference, 0);
    let rule = case.source.pick(&[Rule::Best, Rule::Mean, Rule::Random(stream)]);
    case.push(AlignmentTarget {
        value: output,
        leaders,
        best,
        counter,
        reference,
        predictions,
        rule,
    });
    let losses = case.output("losses", &[1, 2]);
    let reduction = case.source.pick(&[Reduction::Sum, Reduction::Mean]);
    case.push(LocalLosses {
        worker_losses,
        value: output,
        leaders,
        reference,
        losses,
        predictions,
        reduction,
        follower: FollowerLoss::default(),
    });
    case.push(LocalLossGradient {
        z: z.value,
        output,
        target,
        weights,
        leaders,
        reference,
        dz: z.gradient,
        predictions,
        loss: LocalLoss { leader: 1.0, follower: 0.7 },
        worker_loss: loss,
        reduction,
        follower: FollowerLoss::default(),
    });
    chain.backward().into_iter().for_each(|op| case.push(op));
    update(case, chain, counter);
    features
}

/// An optimiser step on every parameter of a chain.
fn update(case: &mut Case, chain: &Chain, counter: TensorId) {
    let rates = case.input_between("rates", &[2], 0.01, 0.05);
    let gradients = chain.parameters.iter().map(|parameter| parameter.gradient).collect();
    let clipped = temporary(case, &[1]);
    case.push(ClipFactor { gradients, factor: clipped, max_norm: 1.0 });
    let adam = case.source.coin();
    for parameter in &chain.parameters {
        let shape = case.shape(parameter.value);
        let first = case.input("first", &shape);
        let (gradient, factor, parameter) = (parameter.gradient, Some(clipped), parameter.value);
        if adam {
            let second = case.input_between("second", &shape, 0.5, 1.0);
            let (betas, epsilon, weight_decay, decoupled) = ([0.9, 0.99], 1e-8, 0.01, true);
            case.push(AdamStep {
                gradient,
                rates,
                counter,
                factor,
                parameter,
                first,
                second,
                betas,
                epsilon,
                weight_decay,
                decoupled,
            });
        } else {
            let (velocity, momentum, nesterov, weight_decay) = (Some(first), 0.9, true, 0.01);
            case.push(SgdStep {
                gradient,
                rates,
                counter,
                factor,
                parameter,
                velocity,
                momentum,
                nesterov,
                weight_decay,
            });
        }
    }
}

/// The training step of a random network, run twice.
fn training_step((units, layers, shape, seed): Network) -> Case {
    let mut case = Case::new(seed);
    case.runs = 2;
    let counter = case.any_counter();
    let mut x = chain::input(&mut case, &shape);
    for _ in 0..units {
        let mut chain = Chain::new(x, counter, Kinks::Allowed);
        let features = unit(&mut case, &mut chain, layers, counter);
        // The next unit reads the value; the gradient that it writes goes nowhere.
        let shape = case.shape(features.value);
        x = Signal { gradient: temporary(&mut case, &shape), ..features };
    }
    case.push(AdvanceStepCounter { counter });
    case
}

fn small() -> impl Strategy<Value = Network> {
    let shapes = prop_oneof![
        (2usize..5, 1usize..12).prop_map(|(batch, features)| vec![batch, features]),
        (2usize..4, 1usize..8, 1usize..8, 1usize..5).prop_map(|(b, h, w, c)| vec![b, h, w, c]),
    ];
    (1usize..4, 0usize..5, shapes, any::<u64>())
}

/// Batches and images for which a backend uses its threads.
fn larger() -> impl Strategy<Value = Network> {
    let shapes = prop_oneof![Just(vec![256, 200]), Just(vec![32, 24, 24, 16])];
    (1usize..4, 1usize..5, shapes, any::<u64>())
}

#[test]
fn random_training_steps_agree_with_the_reference() {
    property(256, small(), |network| parity::agrees(&training_step(network)));
}

#[test]
fn larger_random_training_steps_agree_with_the_reference() {
    property(12, larger(), |network| parity::agrees(&training_step(network)));
}

/// One case in eight on the emulator, none of the larger ones.
#[test]
fn random_training_steps_agree_on_the_emulator() {
    on_emulator(8, random_training_steps_agree_with_the_reference);
}

#[test]
fn random_training_steps_agree_on_a_gpu() {
    on_gpu(|| {
        random_training_steps_agree_with_the_reference();
        larger_random_training_steps_agree_with_the_reference();
        the_number_of_threads_changes_no_bit();
    });
}

#[test]
fn the_order_of_emulated_threads_changes_no_bit() {
    on_emulator(8, || {
        property(64, small(), |network| parity::is_deterministic(&training_step(network)));
    });
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    property(64, small(), |network| parity::is_deterministic(&training_step(network)));
    property(24, larger(), |network| parity::is_deterministic(&training_step(network)));
}
