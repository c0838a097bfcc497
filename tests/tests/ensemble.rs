//! Predictions of the output layer together with the workers of the last units, against their own predictions.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{
    HeadConfig, NetworkConfig, OptimizerConfig, Task, TrainingConfig, UnitConfig,
};
use lfnn_core::data::Dataset;
use lfnn_core::method::{BP, LFNN_L};
use lfnn_core::model::Model;
use lfnn_core::network::Network;
use lfnn_core::program::ProgramSet;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use ndarray::{Array1, Array2, Array3, Axis};

const ROWS: usize = 60;

fn features() -> Array2<f32> {
    Array2::from_shape_vec((ROWS, 6), Source::new(5).reals(ROWS * 6, -1.0, 1.0)).unwrap()
}

/// The sign of the first features, as so many classes.
fn labels(features: &Array2<f32>, classes: u32) -> Array1<u32> {
    features.map_axis(Axis(1), |row| (u32::from(row[0] > 0.0) + u32::from(row[1] > 0.3)) % classes)
}

/// Three units of different workers; those of one-vs-all networks are neurons.
fn network(task: Task) -> NetworkConfig {
    let unit = || UnitConfig::new().linear(8).relu();
    let units = if task == Task::OneVsAll {
        [
            UnitConfig::new().flatten().neurons(5),
            UnitConfig::new().neurons(3),
            UnitConfig::new().neurons(4),
        ]
    } else {
        let deep = HeadConfig::new(2).layer(lfnn_core::config::LayerConfig::linear(5));
        [
            UnitConfig::new().flatten().linear(8).relu().readout(4),
            unit().heads([deep, HeadConfig::new(1)]),
            unit().readout(1),
        ]
    };
    NetworkConfig::new(units).task(task)
}

fn trained(task: Task, data: &Dataset<'_>) -> Model {
    let (network, training) =
        (network(task), TrainingConfig::new(12, 3, OptimizerConfig::adam(0.02)));
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut trainer = Trainer::new(&cpu, &Setup::new(&network, &training, LFNN_L), data).unwrap();
    trainer.fit(|_| ()).unwrap();
    trainer.model().unwrap()
}

/// What `model` predicts with so many units voting.
fn together(model: &Model, units: usize, features: &Array2<f32>) -> Array2<f32> {
    let mut model = model.clone();
    model.description.network.output.ensemble = units;
    let cpu = Cpu::new(Some(1)).unwrap();
    model.on(&cpu, 16).unwrap().predict(features.view()).unwrap()
}

/// The mean over the output layer and the last units of what `of` makes of each prediction; a unit has the mean over
/// its workers.
fn mean_of(
    output: &Array2<f32>,
    workers: &[Array3<f32>],
    units: usize,
    of: impl Fn(f32) -> f32 + Copy,
) -> Array2<f32> {
    let mut sum = output.mapv(of);
    for unit in &workers[workers.len() - units..] {
        sum += &unit.mapv(of).mean_axis(Axis(1)).unwrap();
    }
    sum / (1 + units) as f32
}

fn close(found: &Array2<f32>, expected: &Array2<f32>) {
    assert_eq!(found.dim(), expected.dim());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} and {b}");
    }
}

/// Checks every number of voting units against what the members predict by themselves.
fn check(
    task: Task,
    data: &Dataset<'_>,
    combine: impl Fn(&Array2<f32>, &[Array3<f32>], usize) -> Array2<f32>,
) {
    let (model, features) = (trained(task, data), features());
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut alone = model.on(&cpu, 16).unwrap();
    let output = alone.predict(features.view()).unwrap();
    let workers = alone.predict_workers(features.view()).unwrap();
    for units in 0..=3 {
        let found = together(&model, units, &features);
        close(&found, &combine(&output, &workers, units));
        assert_eq!(found == output, units == 0, "the test itself: {task:?}, {units}");
    }
}

#[test]
fn classes_have_the_mean_log_probability() {
    let (features, labels) = (features(), labels(&features(), 3));
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    check(Task::Classification, &data, |output, workers, units| {
        let mut p = mean_of(output, workers, units, f32::ln).mapv(f32::exp);
        for mut row in p.rows_mut() {
            let sum = row.sum();
            row /= sum;
        }
        p
    });
}

#[test]
fn two_classes_have_the_mean_log_odds() {
    let (features, labels) = (features(), labels(&features(), 2));
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    check(Task::Binary, &data, |output, workers, units| {
        let second = output.column(1).to_owned().insert_axis(Axis(1));
        let odds = mean_of(&second, workers, units, |p| (p / (1.0 - p)).ln());
        let second = odds.mapv(|odds| 1.0 / (1.0 + (-odds).exp()));
        ndarray::concatenate![Axis(1), second.mapv(|p| 1.0 - p), second]
    });
}

#[test]
fn classifiers_vote_each_for_itself() {
    let (features, labels) = (features(), labels(&features(), 3));
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    check(Task::OneVsAll, &data, |output, workers, units| {
        let odds = mean_of(output, workers, units, |p| (p / (1.0 - p)).ln());
        odds.mapv(|odds| 1.0 / (1.0 + (-odds).exp()))
    });
}

#[test]
fn a_regression_has_the_mean() {
    let features = features();
    let values = features.map_axis(Axis(1), |row| 30.0 * row[0] - row[2]).insert_axis(Axis(1));
    let data = Dataset::regression(features.view(), values.view()).unwrap();
    check(Task::Regression, &data, |output, workers, units| mean_of(output, workers, units, |x| x));
}

#[test]
fn heads_that_vote_are_parameters_of_the_prediction() {
    let counts = |ensemble: usize| {
        let network = network(Task::Classification).ensemble(ensemble);
        let network = Network::new(&mut ProgramSet::new(), &network, &[1, 1, 6], 3);
        network.map(|network| network.parameter_counts())
    };
    let (alone, heads) = counts(0).unwrap();
    let (last, second) = (8 * 3 + 3, 2 * (8 * 5 + 5 + 5 * 3 + 3) + 8 * 3 + 3);
    assert_eq!(counts(1).unwrap(), (alone + last, heads - last));
    assert_eq!(counts(2).unwrap(), (alone + last + second, heads - last - second));
    assert_eq!(counts(3).unwrap(), (alone + heads, 0));
    let error = counts(4).unwrap_err().to_string();
    assert_eq!(error, "network.output.ensemble: 4, expected at most the 3 hidden units");
}

#[test]
fn workers_that_no_loss_trains_have_no_vote() {
    let (features, labels) = (features(), labels(&features(), 3));
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (network, training) = (
        network(Task::Classification).ensemble(1),
        TrainingConfig::new(12, 3, OptimizerConfig::adam(0.02)),
    );
    let cpu = Cpu::new(Some(1)).unwrap();
    let refused = Trainer::new(&cpu, &Setup::new(&network, &training, BP), &data);
    let error = refused.unwrap_err().to_string();
    assert_eq!(error, "network.output.ensemble: 1, but `bp` trains no workers");
}
