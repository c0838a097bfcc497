//! What a program may ask of the library that cannot be: an error that says so, before any device looks at it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::train::{
    DataLayout, Evaluator, Images, Labels, Normalization, Pixels, PredictionProgram, Setup, State,
    StateData, StateTensor, Target, TraceInput, TrainError, Trainer, trace_step,
};
use lfnn_cpu::Cpu;
use serde_json::{Value, json};

const SHAPE: [usize; 3] = [2, 2, 1];
const COUNT: usize = 12;

/// Images of three classes.
struct Data {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Data {
    fn new() -> Self {
        Self {
            pixels: (0..COUNT * 4).map(|i| (i * 37 % 256) as u8).collect(),
            labels: (0..COUNT as u32).map(|i| i % 3).collect(),
        }
    }

    fn images(&self) -> Images<'_> {
        let labels = Labels::Classes(&self.labels);
        Images { pixels: (&self.pixels).into(), labels, shape: SHAPE, classes: 3 }
    }
}

fn network(units: Value) -> NetworkConfig {
    serde_json::from_value(json!({ "units": units })).unwrap()
}

fn plain() -> NetworkConfig {
    network(json!([{"layers": ["flatten"], "workers": {"neurons": {"count": 2}}}]))
}

fn training(batch: usize) -> TrainingConfig {
    let text = json!({"batch_size": batch, "epochs": 2, "optimizer": {"sgd": {"lr": 0.1}}});
    serde_json::from_value(text).unwrap()
}

fn normal() -> Normalization {
    Normalization { mean: vec![0.5], std: vec![0.3] }
}

fn trainer(
    network: &NetworkConfig,
    batch: usize,
    normalization: Normalization,
) -> Result<Trainer, String> {
    let (data, training) = (Data::new(), training(batch));
    let setup =
        Setup::new(network, &training, by_name("lfnn-l").unwrap()).normalized_by(normalization);
    let examples: Vec<u32> = (0..COUNT as u32).collect();
    let cpu = Cpu::new(Some(1)).unwrap();
    Trainer::from_images(&cpu, &setup, data.images(), &examples).map_err(|error| error.to_string())
}

#[test]
fn numbers_that_are_not_finite_are_refused_with_their_example() {
    let (network, training) = (plain(), training(4));
    let setup = Setup::new(&network, &training, by_name("lfnn-l").unwrap()).normalized_by(normal());
    let (cpu, data) = (Cpu::new(Some(1)).unwrap(), Data::new());
    let mut reals = vec![0.5f32; COUNT * 4];
    reals[4 * 7 + 2] = f32::NAN;
    let images = Images { pixels: Pixels::Reals(&reals), ..data.images() };
    let error = Trainer::from_images(&cpu, &setup, images, &[0, 1, 2, 3]).unwrap_err().to_string();
    assert!(error.contains("image 7 has a value of NaN, expected a finite number"), "{error}");
    let images = Images { pixels: Pixels::Reals(&reals[1..]), ..data.images() };
    let error = Trainer::from_images(&cpu, &setup, images, &[0, 1, 2, 3]).unwrap_err().to_string();
    assert!(error.contains("47 values are not 12 images of shape [2, 2, 1]"), "{error}");
}

#[test]
fn an_index_of_no_image_is_an_error_with_the_index_and_the_count() {
    let mut trainer = trainer(&plain(), 4, normal()).unwrap();
    let message = "image 9999 of 12: expected an index below 12";
    let error = trainer.evaluate(&[0, 9999]).unwrap_err();
    assert!(matches!(error, TrainError::NoImage { index: 9999, count: 12 }), "{error}");
    assert_eq!(error.to_string(), message);
    assert_eq!(trainer.worker_outputs(&[9999]).unwrap_err().to_string(), message);
    let more = trainer.evaluate(&[0; 13]).unwrap_err();
    assert!(matches!(more, TrainError::Indices { found: 13, images: 12 }), "{more}");
    assert_eq!(more.to_string(), "13 indices, expected at most the 12 images");

    let (cpu, data, state) = (Cpu::new(Some(1)).unwrap(), Data::new(), trainer.state().unwrap());
    let mut evaluator = Evaluator::new(&cpu, &plain(), data.images(), &state, 4, true).unwrap();
    assert_eq!(evaluator.evaluate(&[9999]).unwrap_err().to_string(), message);
    assert_eq!(
        evaluator.predict(&[11, 12]).unwrap_err().to_string(),
        "image 12 of 12: expected an index below 12"
    );
    assert_eq!(evaluator.predict(&[11]).unwrap().len(), 1);
    let some = [11, 0, 3, 5, 7, 2, 1];
    let (metrics, outputs) = evaluator.evaluate_with_predictions(&some).unwrap();
    assert_eq!(outputs, evaluator.predict(&some).unwrap());
    assert_eq!(metrics.loss().to_bits(), evaluator.evaluate(&some).unwrap().loss().to_bits());

    let (training, network) = (training(4), plain());
    let setup = Setup::new(&network, &training, by_name("bp").unwrap()).normalized_by(normal());
    let error = Trainer::from_images(&cpu, &setup, data.images(), &[0, 1, 2, 12]).unwrap_err();
    assert!(matches!(error, TrainError::NoImage { index: 12, count: 12 }), "{error}");
}

#[test]
fn a_label_of_no_class_is_an_error_when_a_step_is_inspected() {
    let input = TraceInput {
        network: &plain(),
        leadership: LeadershipConfig::default(),
        label_smoothing: 0.0,
        class_weights: None,
        directions: 1,
        method: by_name("lfnn-l").unwrap(),
        seed: 1,
        classes: 3,
        images: &[0.5; 8],
        shape: &[2, 1, 2, 2],
        target: Target::Labels(&[2, 3]),
    };
    let cpu = Cpu::new(Some(1)).unwrap();
    let message = trace_step(&cpu, &input, &State::default()).unwrap_err().to_string();
    assert_eq!(message, "example 1 has label 3, expected below 3");
    let few = TraceInput { target: Target::Labels(&[2]), ..input };
    let error = trace_step(&cpu, &few, &State::default()).unwrap_err();
    assert!(matches!(error, TrainError::Targets { found: 1, expected: 2 }), "{error}");
    let odd = TraceInput { shape: &[usize::MAX, 2, 2, 2], ..input };
    assert!(trace_step(&cpu, &odd, &State::default()).is_err());
}

#[test]
fn steps_and_epochs_beyond_the_last_one_are_errors() {
    let mut trainer = trainer(&plain(), 4, normal()).unwrap();
    for epoch in 1..=2 {
        for done in 0..3 {
            let error = trainer.end_epoch().unwrap_err().to_string();
            let message = format!(
                "only {done} of the 3 steps of epoch {epoch} are done: the epoch cannot end yet"
            );
            assert_eq!(error, message);
            trainer.train_step().unwrap();
        }
        let message = format!("all 3 steps of epoch {epoch} are done: end the epoch first");
        assert_eq!(trainer.train_step().unwrap_err().to_string(), message);
        assert_eq!(trainer.profile_step().unwrap_err().to_string(), message);
        assert_eq!(trainer.step_in_epoch(), 3, "nothing was done");
        trainer.end_epoch().unwrap();
    }
    let message = "the training is finished: all 2 epochs are done";
    assert!(trainer.is_finished());
    assert_eq!(trainer.train_step().unwrap_err().to_string(), message);
    assert_eq!(trainer.profile_step().unwrap_err().to_string(), message);
    assert_eq!(trainer.end_epoch().unwrap_err().to_string(), message);
    assert_eq!(trainer.evaluate(&[0]).unwrap().examples, 1, "it can be evaluated all the same");
}

#[test]
fn a_normalisation_that_cannot_be_is_an_error() {
    let refusal = |mean: &[f32], std: &[f32]| {
        let normalization = Normalization { mean: mean.to_vec(), std: std.to_vec() };
        trainer(&plain(), 4, normalization).unwrap_err()
    };
    assert_eq!(
        refusal(&[0.5, 0.5], &[0.3]),
        "normalization.mean: 2 numbers, expected 1: one for each channel"
    );
    assert_eq!(
        refusal(&[0.5], &[]),
        "normalization.std: 0 numbers, expected 1: one for each channel"
    );
    for std in [0.0, -0.0, -0.3, f32::NAN, f32::INFINITY, 1e-45] {
        let message = refusal(&[0.5], &[std]);
        let expected = format!("normalization.std: {std}, expected a finite number above 0");
        assert_eq!(message, expected);
    }
    assert_eq!(refusal(&[f32::NAN], &[0.3]), "normalization.mean: NaN, expected a finite number");
}

#[test]
fn one_value_for_a_batch_normalisation_is_a_mistake_of_the_batch_size() {
    let units =
        |layers: Value| network(json!([{"layers": layers, "workers": {"readout": {"count": 1}}}]));
    let on_vector = units(json!(["flatten", {"linear": {"features": 4}}, {"batch_norm": {}}]));
    let message = trainer(&on_vector, 1, normal()).unwrap_err();
    let expected = "training.batch_size: 1, expected at least 2: the batch normalisation at \
                    network.units[0].layers[2] sees one value of a channel in each example, and the variance of one \
                    value is 0";
    assert_eq!(message, expected);
    let body = json!([{"conv": {"filters": 1, "kernel": 2}}, {"batch_norm": {}}]);
    let shortcut = json!([{"avg_pool": {"kernel": 2}}]);
    let on_position = units(json!([{"residual": {"body": body, "shortcut": shortcut}}]));
    let message = trainer(&on_position, 1, normal()).unwrap_err();
    assert!(message.starts_with("training.batch_size: 1, expected at least 2"), "{message}");
    assert!(message.contains("network.units[0].layers[0].residual.body[1]"), "{message}");
    for network in [on_vector, on_position] {
        trainer(&network, 2, normal()).unwrap();
    }
    let on_image = units(json!([{"conv": {"filters": 1, "kernel": 1}}, {"batch_norm": {}}]));
    trainer(&on_image, 1, normal()).unwrap();
}

#[test]
fn a_state_is_held_against_the_network_before_memory_is_asked_for() {
    let (cpu, data) = (Cpu::new(Some(1)).unwrap(), Data::new());
    let state = trainer(&plain(), 4, normal()).unwrap().state().unwrap();
    // The last of them is beyond any machine's memory.
    for features in [5, 2_000_000_000] {
        let other = network(json!([
            {"layers": ["flatten", {"linear": {"features": features}}], "workers": {"readout": {"count": 1}}}
        ]));
        let error = Evaluator::new(&cpu, &other, data.images(), &state, 4, true).unwrap_err();
        assert!(matches!(error, TrainError::State(_)), "{error}");
        let message = PredictionProgram::new(&other, DataLayout::of_bytes(SHAPE, 3, 1), false)
            .unwrap()
            .parameters(&state)
            .unwrap_err();
        assert!(message.contains("it lacks the tensor"), "{message}");
    }
    let blocks = network(json!([
        {"layers": [{"conv": {"filters": 1, "kernel": 1}}], "workers": {"block": {"count": 1u64 << 40}}}
    ]));
    let error = Evaluator::new(&cpu, &blocks, data.images(), &state, 4, true).unwrap_err();
    assert!(error.to_string().starts_with("network.units[0].workers.block.count: "), "{error}");

    let mut short = state.clone();
    let tensor = short.tensors.iter_mut().find(|tensor| tensor.name == "output.bias").unwrap();
    *tensor = StateTensor { data: StateData::Real(vec![0.0; 2]), ..tensor.clone() };
    let error = Evaluator::new(&cpu, &plain(), data.images(), &short, 4, true).unwrap_err();
    let message = "the saved state does not fit: `output.bias` holds 2 numbers, expected 3";
    assert_eq!(error.to_string(), message);
}
