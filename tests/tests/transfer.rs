//! Weights of a trained network in another one, networks that grow, and more epochs of a finished training.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{
    LayerConfig, NetworkConfig, OptimizerConfig, ScheduleConfig, TrainingConfig, UnitConfig,
};
use lfnn_core::data::Dataset;
use lfnn_core::method::LFNN_L;
use lfnn_core::train::{Matching, Normalization, Setup, ShapeMismatch, State, StateData, Trainer};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use ndarray::{Array1, Array4};

const ROWS: usize = 48;

/// Images of three classes that differ in brightness, under noise.
fn data() -> (Array4<f32>, Array1<u32>) {
    let mut source = Source::new(1);
    let noise = source.reals(ROWS * 6 * 6, -0.3, 0.3);
    let labels = Array1::from_shape_fn(ROWS, |row| (row % 3) as u32);
    let pixel = |(row, y, x, _): (usize, usize, usize, usize)| {
        (row % 3) as f32 / 3.0 + noise[(row * 6 + y) * 6 + x]
    };
    (Array4::from_shape_fn((ROWS, 6, 6, 1), pixel), labels)
}

/// Convolutional units, and then a unit of neurons on a vector of this length.
fn network(convolutions: usize, features: usize) -> NetworkConfig {
    let conv = || UnitConfig::new().conv(8, 3).batch_norm().relu().readout(4);
    let vector = UnitConfig::new().flatten().linear(features).relu().readout(2);
    NetworkConfig::new((0..convolutions).map(|_| conv()).chain([vector]))
}

fn training(epochs: usize, schedule: ScheduleConfig) -> TrainingConfig {
    let training = TrainingConfig::new(8, epochs, OptimizerConfig::adam(0.01));
    TrainingConfig { schedule, ..training }
}

/// A trainer of this network, from this seed.
fn trainer(network: &NetworkConfig, training: &TrainingConfig, seed: u64) -> Trainer {
    let (images, labels) = data();
    let data = Dataset::classification(images.view(), labels.view()).unwrap();
    let setup = Setup { seed, ..Setup::new(network, training, LFNN_L) };
    Trainer::new(&Cpu::new(Some(1)).unwrap(), &setup, &data).unwrap()
}

/// The state of a trained network.
fn trained(network: &NetworkConfig) -> State {
    let mut trainer = trainer(network, &training(2, ScheduleConfig::Constant), 1);
    trainer.fit(|_| ()).unwrap();
    trainer.state().unwrap()
}

fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    all.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_same_network_takes_all_weights_and_nothing_of_the_training() {
    let network = network(1, 12);
    let from = trained(&network);
    let mut to = trainer(&network, &training(2, ScheduleConfig::Constant), 2);
    let before = to.state().unwrap();
    let report = to.load_weights(&from, Matching::Exact).unwrap();
    assert!(report.is_exact());
    assert_eq!(report.to_string(), "14 tensors loaded");
    let after = to.state().unwrap();
    for tensor in &after.tensors {
        let source = if report.loaded.contains(&tensor.name) { &from } else { &before };
        assert_eq!(source.get(&tensor.name), Some(tensor));
    }
    assert!(report.loaded.contains(&"unit1.layer2.running_var".to_owned()));
}

#[test]
fn a_grown_network_begins_where_the_trained_one_is() {
    let small = network(2, 12);
    let (images, _) = data();
    let mut first = trainer(&small, &training(3, ScheduleConfig::Constant), 1);
    first.fit(|_| ()).unwrap();
    let trained = first.model().unwrap();

    let mut grown = small.clone();
    grown.units.push(UnitConfig::new().linear(20).relu().readout(4));
    grown.units[..3].iter_mut().for_each(|unit| unit.frozen = true);
    let mut second = trainer(&grown, &training(6, ScheduleConfig::Constant), 2);
    let initial = second.state().unwrap();
    let report = second.load_weights(&trained.state, Matching::ByName).unwrap();
    assert_eq!(
        report.missing,
        names([
            "unit4.layer1.weight",
            "unit4.layer1.bias",
            "unit4.readout.weight",
            "unit4.readout.bias"
        ])
    );
    assert_eq!(report.unused, names([]));
    let mismatch =
        ShapeMismatch { name: "output.weight".into(), found: vec![3, 12], expected: vec![3, 20] };
    assert_eq!(report.mismatched, [mismatch]);
    let text = report.to_string();
    let expected = "21 tensors loaded; missing in the saved state: `unit4.layer1.weight`, `unit4.layer1.bias`, \
                    `unit4.readout.weight` and 1 more; of another shape: `output.weight` has shape [3, 12], expected \
                    [3, 20]";
    assert_eq!(text, expected);
    let state = second.state().unwrap();
    for name in report.missing.iter().chain([&"output.weight".to_owned()]) {
        assert_eq!(state.get(name), initial.get(name));
    }

    // Its first workers predict what they predicted, before and after the new unit is trained.
    let cpu = Cpu::new(Some(1)).unwrap();
    let expected = trained.on(&cpu, 16).unwrap().predict_workers(images.view()).unwrap();
    second.fit(|_| ()).unwrap();
    let found =
        second.model().unwrap().on(&cpu, 16).unwrap().predict_workers(images.view()).unwrap();
    assert_eq!(found[..3], expected);
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let error = second.evaluate(&rows[..]).unwrap().error().unwrap();
    assert!(error < 10.0, "{error} %");
}

#[test]
fn exact_matching_names_all_that_does_not_match_and_loads_nothing() {
    let from = trained(&network(2, 12));
    let mut to = trainer(&network(1, 20), &training(2, ScheduleConfig::Constant), 2);
    let before = to.state().unwrap();
    let message = to.load_weights(&from, Matching::Exact).unwrap_err().to_string();
    for part in [
        "the saved state does not fit: not in this network: `unit2.layer1.bias`, `unit2.layer1.weight`",
        "`unit3.layer2.bias`",
        "`output.weight` has shape [3, 12], expected [3, 20]",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(to.state().unwrap(), before);
    let from = trained(&network(1, 12));
    let mut to = trainer(&network(2, 12), &training(2, ScheduleConfig::Constant), 2);
    let message = to.load_weights(&from, Matching::Exact).unwrap_err().to_string();
    let begin = "the saved state does not fit: missing in the saved state: `unit2.layer1.weight`, ";
    assert!(message.starts_with(begin), "{message}");
}

#[test]
fn a_state_that_cannot_serve_is_refused() {
    let network = network(1, 12);
    let mut from = trained(&network);
    let mut to = trainer(&network, &training(2, ScheduleConfig::Constant), 2);
    let before = to.state().unwrap();
    let other =
        trained(&NetworkConfig::new([]).output([LayerConfig::Flatten, LayerConfig::linear(9)]));
    let mut refusal =
        |state: &State, matching| to.load_weights(state, matching).unwrap_err().to_string();
    let message =
        "the saved state does not fit: none of its tensors has a name and a shape of this network";
    let mut nothing = other.clone();
    nothing.tensors.retain(|tensor| tensor.name != "output.bias");
    assert_eq!(refusal(&nothing, Matching::ByName), message);
    let weight = from.tensors.iter_mut().find(|t| t.name == "unit2.layer2.weight").unwrap();
    let StateData::Real(values) = &mut weight.data else { panic!("not real") };
    values[5] = f32::INFINITY;
    let message =
        "the saved state does not fit: `unit2.layer2.weight` holds a number that is not finite";
    assert_eq!(refusal(&from, Matching::ByName), message);
    assert_eq!(to.state().unwrap(), before);
}

#[test]
fn the_normalisation_of_inputs_is_loaded_where_asked_for() {
    let network = network(1, 12);
    let from = trained(&network);
    let (images, labels) = data();
    let data = Dataset::classification(images.view(), labels.view()).unwrap();
    let training = training(2, ScheduleConfig::Constant);
    let setup = Setup::new(&network, &training, LFNN_L)
        .normalized_by(Normalization { mean: vec![7.0], std: vec![3.0] });
    let mut to = Trainer::new(&Cpu::new(Some(1)).unwrap(), &setup, &data).unwrap();
    let own = to.state().unwrap();
    to.load_weights(&from, Matching::Exact).unwrap();
    assert_eq!(to.state().unwrap().get("input.scale"), own.get("input.scale"));
    to.load_normalization(&from).unwrap();
    for name in ["input.scale", "input.shift"] {
        assert_ne!(from.get(name), own.get(name));
        assert_eq!(to.state().unwrap().get(name), from.get(name));
    }
    let error = to.load_normalization(&State::default()).unwrap_err().to_string();
    assert!(error.contains("it lacks the tensor `input.s"), "{error}");
}

#[test]
fn more_epochs_of_a_finished_training_are_those_of_a_longer_one() {
    let network = network(1, 12);
    for schedule in [ScheduleConfig::Constant, ScheduleConfig::Step { epochs: 1, gamma: 0.5 }] {
        let mut long = trainer(&network, &training(4, schedule.clone()), 1);
        long.fit(|_| ()).unwrap();
        let mut first = trainer(&network, &training(2, schedule.clone()), 1);
        first.fit(|_| ()).unwrap();
        let finished = first.state().unwrap();

        first.set_epochs(4).unwrap();
        assert!(!first.is_finished());
        first.fit(|_| ()).unwrap();
        assert_eq!(first.state().unwrap(), long.state().unwrap(), "{schedule:?}");

        // In another trainer, which has more epochs from the beginning.
        let mut second = trainer(&network, &training(4, schedule.clone()), 1);
        second.restore(&finished).unwrap();
        second.fit(|_| ()).unwrap();
        assert_eq!(second.state().unwrap(), long.state().unwrap(), "{schedule:?}");
    }
}

#[test]
fn epochs_that_cannot_be_changed_are_an_error() {
    let network = network(1, 12);
    let mut cosine = trainer(&network, &training(2, ScheduleConfig::cosine()), 1);
    cosine.fit(|_| ()).unwrap();
    cosine.set_epochs(2).unwrap();
    let message = "training.epochs: 4, but the learning rates of the 12 steps so far were those of 2 epochs; expected \
                   a schedule that does not depend on the number of epochs, `constant` or `step`";
    assert_eq!(cosine.set_epochs(4).unwrap_err().to_string(), message);
    let mut constant = trainer(&network, &training(3, ScheduleConfig::Constant), 1);
    assert_eq!(
        constant.set_epochs(0).unwrap_err().to_string(),
        "training.epochs: 0, expected at least 1"
    );
    constant.fit_epoch().unwrap();
    constant.train_step().unwrap();
    let message = "training.epochs: 1, expected at least 2, which have begun";
    assert_eq!(constant.set_epochs(1).unwrap_err().to_string(), message);
    let message = "training.epochs: 4294967295 of 6 steps, expected at most 715827882";
    assert_eq!(constant.set_epochs(u32::MAX as usize).unwrap_err().to_string(), message);
    constant.set_epochs(2).unwrap();
    constant.fit(|_| ()).unwrap();
    assert_eq!(constant.epoch(), 2);
}
