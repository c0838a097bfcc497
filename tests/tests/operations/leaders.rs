//! Who leads and who follows whom: the same choices, whatever the ties.

use lfnn_core::program::{
    AdvanceStepCounter, AlignmentTarget, DType, EpochLeaders, MaskFollowers, Reference,
    SelectLeaders,
};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::predictions::{PredictionBatch, predictions};
use lfnn_tests::property::property;
use proptest::prelude::*;

/// A mean over a few leaders.
const MEANS: Tolerance = Tolerance::sums(1e-6);

/// Few values, so that ties are common; their sums are exact. −0 equals 0, and what is not a number
/// counts as infinite.
const LOSSES: [f32; 8] = [0.0, -0.0, 0.25, 0.5, 1.0, 2.0, f32::NAN, f32::INFINITY];

pub(crate) type Setting = (PredictionBatch, u64);

fn settings() -> impl Strategy<Value = Setting> {
    (predictions(), any::<u64>())
}

pub(crate) fn select((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let rows = of.leader_rows(&mut case);
    let predictors = of.predictions.predictors();
    let values = case.source.picks(rows * predictors, &LOSSES);
    // Mean losses have one axis.
    let shape = if rows == 1 { vec![predictors] } else { vec![rows, predictors] };
    let op = SelectLeaders {
        losses: case.real("losses", &shape, values),
        leaders: case.output("leaders", &[rows, predictors]),
        best: case.output_of("best", DType::U32, &[rows, of.predictions.classifiers]),
        predictions: of.predictions,
        count: of.leader_count(&mut case),
    };
    case.push(op);
    case.agrees(Tolerance::EXACT)
}

/// Several steps, from the first or a later one of the first or a later epoch.
pub(crate) fn epoch((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    case.runs = 1 + case.source.index(3);
    let (epoch, step) = (case.source.below(3), case.source.pick(&[0, 0, 1, 5]));
    let counter = case.counter(epoch, step, u32::MAX);
    let predictors = of.predictions.predictors();
    let losses = case.source.picks(predictors, &LOSSES);
    let earlier = case.source.picks(predictors, &LOSSES);
    let count = of.leader_count(&mut case);
    let (leaders, best) = of.leaders(&mut case, 1, count);
    let op = EpochLeaders {
        losses: case.real("losses", &[predictors], losses),
        counter,
        epoch_losses: case.real("epoch losses", &[predictors], earlier),
        leaders,
        best,
        predictions: of.predictions,
        count,
    };
    case.push(op);
    case.push(AdvanceStepCounter { counter });
    case.agrees(Tolerance::EXACT)
}

pub(crate) fn alignment((of, seed): Setting) -> Result<(), String> {
    let mut case = Case::new(seed);
    let value = case.input("value", &of.shape());
    let (rows, count) = (of.leader_rows(&mut case), of.leader_count(&mut case));
    let (leaders, best) = of.leaders(&mut case, rows, count);
    let counter = case.any_counter();
    let reference = case.output("reference", &of.reference_shape());
    let stream = Stream::new(Purpose::Reference, case.source.below(1 << 24));
    let rule = case.source.pick(&[Reference::Best, Reference::Mean, Reference::Random(stream)]);
    case.push(AlignmentTarget {
        value,
        leaders,
        best,
        counter,
        reference,
        predictions: of.predictions,
        rule,
    });
    case.agrees(MEANS)
}

/// On features, and on images whose channels fall to the workers.
pub(crate) fn mask((of, space, per_worker, seed): Masked) -> Result<(), String> {
    let mut case = Case::new(seed);
    let mut shape = space;
    shape.insert(0, of.batch);
    shape.push(of.predictions.predictors() * per_worker);
    let (rows, count) = (of.leader_rows(&mut case), of.leader_count(&mut case));
    let (leaders, _) = of.leaders(&mut case, rows, count);
    let x = case.input("x", &shape);
    let y = case.output("y", &shape);
    case.push(MaskFollowers { x, leaders, y });
    case.agrees(Tolerance::EXACT)
}

/// PredictionBatch, axes between the batch and the channels, channels of a worker, a seed.
pub(crate) type Masked = (PredictionBatch, Vec<usize>, usize, u64);

fn masked() -> impl Strategy<Value = Masked> {
    let space = prop_oneof![
        Just(vec![]),
        (1usize..6, 1usize..6).prop_map(|(height, width)| vec![height, width]),
    ];
    (predictions(), space, 1usize..9, any::<u64>())
}

#[test]
fn the_same_workers_lead() {
    property(512, settings(), select);
}

#[test]
fn leaders_of_an_epoch_agree() {
    property(512, settings(), epoch);
}

#[test]
fn followers_follow_the_same_leader() {
    property(512, settings(), alignment);
}

#[test]
fn followers_are_masked() {
    property(256, masked(), mask);
}

properties! {
    the_same_workers_lead of SelectLeaders;
    leaders_of_an_epoch_agree of EpochLeaders;
    followers_follow_the_same_leader of AlignmentTarget, narrow;
    followers_are_masked of MaskFollowers, narrow;
}
