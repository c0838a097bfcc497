//! Weights of classes: what they are, and that a training follows them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::backend::Backend;
use lfnn_core::config::{
    ClassWeights, NetworkConfig, OptimizerConfig, Task, TrainingConfig, UnitConfig,
};
use lfnn_core::data::Dataset;
use lfnn_core::method::{BP, LFNN_L, METHODS, Method};
use lfnn_core::model::Model;
use lfnn_core::score::ClassScores;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_tests::reference::Reference;
use lfnn_tests::source::Source;
use ndarray::{Array1, Array2};

const ROWS: usize = 240;

/// Two clouds that overlap; a tenth of the points is of the second.
fn clouds() -> (Array2<f32>, Array1<u32>) {
    let mut source = Source::new(5);
    let labels = Array1::from_shape_fn(ROWS, |row| u32::from(row % 10 == 0));
    let noise = source.reals(ROWS * 2, -2.0, 2.0);
    let features = Array2::from_shape_fn((ROWS, 2), |(row, column)| {
        let center = if labels[row] == 1 { 1.0 } else { -1.0 };
        center + noise[row * 2 + column]
    });
    (features, labels)
}

fn network() -> NetworkConfig {
    NetworkConfig::new([
        UnitConfig::new().flatten().linear(8).relu().readout(4),
        UnitConfig::new().linear(8).relu().readout(4),
    ])
}

fn training(class_weights: Option<ClassWeights>) -> TrainingConfig {
    let training = TrainingConfig::new(24, 10, OptimizerConfig::adam(0.02));
    TrainingConfig { class_weights, ..training }
}

fn trained(
    backend: &dyn Backend,
    method: &'static Method,
    network: &NetworkConfig,
    class_weights: Option<ClassWeights>,
) -> Model {
    let ((features, labels), training) = (clouds(), training(class_weights));
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let setup = Setup::new(network, &training, method);
    let mut trainer = Trainer::new(backend, &setup, &data).unwrap();
    trainer.fit(|_| {}).unwrap();
    trainer.model().unwrap()
}

/// The errors of both classes, in percent.
fn errors(backend: &dyn Backend, model: &Model) -> [f64; 2] {
    let (features, labels) = clouds();
    let probabilities = model.on(backend, ROWS).unwrap().predict(features.view()).unwrap();
    let probabilities = probabilities.as_slice().unwrap();
    let scores = ClassScores::new(probabilities, labels.as_slice().unwrap(), 2).unwrap();
    [0, 1].map(|class| scores.classes[class].error.unwrap())
}

#[test]
fn balanced_weights_are_inverse_to_the_examples_of_a_class() {
    let factors = |classes, labels: &[u32]| {
        ClassWeights::BALANCED.factors(classes, labels.iter().copied()).unwrap()
    };
    assert_eq!(factors(3, &[0, 0, 0, 1, 1, 2]), [6.0 / 9.0, 1.0, 2.0]);
    // The mean over the examples is 1, whether each class has some or not.
    assert_eq!(factors(3, &[0, 0, 0, 2]), [4.0 / 6.0, 1.0, 2.0]);
    let each = ClassWeights::Each(vec![0.5, 3.0]);
    assert_eq!(each.factors(2, std::iter::empty()).unwrap(), [0.5, 3.0]);
}

#[test]
fn weights_of_one_change_no_byte() {
    let cpu = Cpu::new(Some(1)).unwrap();
    for method in METHODS {
        let ones = Some(ClassWeights::Each(vec![1.0; 2]));
        let [plain, weighted] = [None, ones].map(|w| trained(&cpu, method, &network(), w));
        assert_eq!(plain.state, weighted.state, "{}", method.name);
    }
}

#[test]
fn weights_move_the_errors_between_the_classes() {
    let (cpu, reference) = (Cpu::new(Some(1)).unwrap(), Reference);
    let tasks = [Task::Classification, Task::Binary];
    for (task, backend) in
        tasks.into_iter().flat_map(|task| [(task, &cpu as &dyn Backend), (task, &reference)])
    {
        let network = NetworkConfig { task, ..network() };
        for method in [LFNN_L, BP] {
            let of = |weights| errors(backend, &trained(backend, method, &network, weights));
            let [common, rare] = of(None);
            let [balanced_common, balanced_rare] = of(Some(ClassWeights::BALANCED));
            let about = (task, backend.name(), method.name);
            assert!(balanced_rare < rare - 5.0, "{about:?}: {rare} and {balanced_rare}");
            assert!(balanced_common > common, "{about:?}: {common} and {balanced_common}");
            // The common class does not count.
            let only_rare = of(Some(ClassWeights::Each(vec![0.0, 1.0])));
            assert_eq!(only_rare, [100.0, 0.0], "{about:?}");
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let cpu = Cpu::new(Some(1)).unwrap();
    let refused = |network: &NetworkConfig, weights: &[f64]| {
        let ((features, labels), training) =
            (clouds(), training(Some(ClassWeights::Each(weights.to_vec()))));
        let data = match network.task {
            Task::Regression => Dataset::regression(features.view(), features.view()),
            _ => Dataset::classification(features.view(), labels.view()),
        };
        let setup = Setup::new(network, &training, LFNN_L);
        Trainer::new(&cpu, &setup, &data.unwrap()).unwrap_err().to_string()
    };
    let start = "training.class_weights: ";
    let regression = NetworkConfig { task: Task::Regression, ..network() };
    for (network, weights, message) in [
        (network(), &[1.0; 3][..], "3 numbers, expected 2: one for each class"),
        (network(), &[1.0, -1.0], "-1, expected at least 0 and a finite number"),
        (network(), &[f64::NAN, 1.0], "NaN, expected at least 0 and a finite number"),
        (regression, &[1.0; 2], "a regression has no classes; expected null"),
    ] {
        assert_eq!(refused(&network, weights), format!("{start}{message}"));
    }
}
