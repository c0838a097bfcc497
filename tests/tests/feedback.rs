//! Feedback alignment: the matrices of the way back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::network::Network;
use lfnn_core::program::ProgramSet;
use lfnn_core::train::{
    Images, Labels, Normalization, Setup, State, StateData, StateTensor, StepTrace, Target,
    TraceInput, Trainer, trace_step,
};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use lfnn_tests::weights::weights as random_weights;
use serde_json::json;

const SHAPE: [usize; 3] = [8, 8, 2];
const CLASSES: usize = 3;

fn network() -> NetworkConfig {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    serde_json::from_value(json!({
        "units": [
            {"layers": [conv(8), {"batch_norm": {}}, "relu"],
             "workers": {"readout": {"count": 4, "grid": 2}}},
            {"layers": [{"residual": {"body": [conv(8), "tanh", conv(8)]}}, "relu"],
             "workers": {"block": {"count": 2, "grid": 2}}, "transition": ["flatten"]},
            {"workers": {"neurons": {"count": 4}}}
        ]
    }))
    .unwrap()
}

/// The feedback matrices of `fa`: every weight but the first layer's, and no readout's.
const FA: [&str; 6] = [
    "unit2.block1.layer1.body1.weight",
    "unit2.block1.layer1.body3.weight",
    "unit2.block2.layer1.body1.weight",
    "unit2.block2.layer1.body3.weight",
    "unit3.neurons.weight",
    "output.weight",
];

/// Those of `lg-fa`: every weight but the first layer's of a unit and of the output.
const LG_FA: [&str; 5] = [
    "unit1.readout.weight",
    "unit2.block1.layer1.body3.weight",
    "unit2.block1.readout.weight",
    "unit2.block2.layer1.body3.weight",
    "unit2.block2.readout.weight",
];

/// Those of `dfa`: one for the output of each unit.
const DFA: [&str; 3] = ["unit1.output", "unit2.output", "unit3.output"];

const METHODS: [(&str, &[&str]); 3] = [("fa", &FA), ("lg-fa", &LG_FA), ("dfa", &DFA)];

fn weights() -> State {
    random_weights(&network(), &SHAPE, CLASSES, 0.5, &mut Source::new(3))
}

fn step(method: &str, seed: u64, weights: &State) -> Result<StepTrace, String> {
    let images = Source::new(7).reals(4 * 2 * 64, -1.0, 1.0);
    let input = TraceInput {
        network: &network(),
        leadership: LeadershipConfig::default(),
        label_smoothing: 0.0,
        class_weights: None,
        method: by_name(method).unwrap(),
        seed,
        classes: CLASSES,
        images: &images,
        shape: &[4, 2, 8, 8],
        target: Target::Labels(&[0, 1, 2, 1]),
    };
    trace_step(&Cpu::new(Some(2)).unwrap(), &input, weights).map_err(|error| error.to_string())
}

/// The state with these feedback matrices.
fn with(weights: &State, feedback: impl IntoIterator<Item = StateTensor>) -> State {
    let mut state = weights.clone();
    state.tensors.extend(feedback.into_iter().map(|mut tensor| {
        tensor.name = format!("feedback/{}", tensor.name);
        tensor
    }));
    state
}

#[test]
fn with_the_weights_as_feedback_it_is_backpropagation_to_the_bit() {
    let weights = weights();
    let own = FEEDBACK.map(|name| weights.get(name).unwrap().clone());
    let ours = step("fa", 1, &with(&weights, own)).unwrap();
    let bp = step("bp", 1, &weights).unwrap();
    assert_eq!(ours.gradients, bp.gradients);
    assert_eq!(ours.logits, bp.logits);
    let drawn = step("fa", 1, &weights).unwrap();
    for tensor in &bp.gradients.tensors {
        // The bias before batch normalisation has no gradient, only rounding.
        let before_norm = tensor.name == "unit1.layer1.bias";
        let same = drawn.gradients.get(&tensor.name).unwrap() == tensor;
        assert_eq!(same, tensor.name.starts_with("output.") && !before_norm, "{}", tensor.name);
    }
}

#[test]
fn matrices_are_drawn_from_the_seed_like_initial_weights() {
    let weights = weights();
    let one = step("fa", 1, &weights).unwrap().feedback;
    let names: Vec<&str> = one.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let mut expected = FEEDBACK;
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    let other = step("fa", 2, &weights).unwrap().feedback;
    for (tensor, other) in one.tensors.iter().zip(&other.tensors) {
        let (StateData::Real(values), StateData::Real(others)) = (&tensor.data, &other.data) else {
            panic!("not real")
        };
        assert_eq!(tensor.shape, weights.get(&tensor.name).unwrap().shape);
        let bound = 1.0 / (tensor.shape[1..].iter().product::<usize>() as f32).sqrt();
        assert!(values.iter().all(|value| value.abs() <= bound), "{}", tensor.name);
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.8 * bound, "{}", tensor.name);
        assert_ne!(values, others, "{}", tensor.name);
    }
    // What was drawn can be given back.
    let again = step("fa", 9, &with(&weights, one.tensors.clone())).unwrap();
    assert_eq!(again.gradients, step("fa", 1, &weights).unwrap().gradients);
}

#[test]
fn matrices_that_do_not_fit_are_refused() {
    let weights = weights();
    let mut matrix = weights.get("output.weight").unwrap().clone();
    let message = step("bp", 1, &with(&weights, [matrix.clone()])).unwrap_err();
    let lacks = "a tensor `feedback/output.weight` that this network lacks";
    assert!(message.ends_with(lacks), "{message}");
    matrix.shape.push(1);
    let message = step("fa", 1, &with(&weights, [matrix])).unwrap_err();
    assert!(message.contains("`feedback/output.weight` has shape [3, 12, 1]"), "{message}");
}

#[test]
fn training_leaves_them_alone_and_saves_them() {
    let (network, size) = (network(), SHAPE.iter().product::<usize>());
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": 4, "epochs": 2, "optimizer": {"adamw": {"lr": 0.01, "weight_decay": 0.1}}
    }))
    .unwrap();
    let setup = Setup::new(&network, &training, by_name("fa").unwrap())
        .normalized_by(Normalization { mean: vec![0.5; 2], std: vec![0.3; 2] });
    let mut source = Source::new(5);
    let pixels: Vec<u8> = (0..12 * size).map(|_| source.below(256) as u8).collect();
    let labels: Vec<u32> = (0..12).map(|i| i % 3).collect();
    let images = Images {
        pixels: (&pixels).into(),
        labels: Labels::Classes(&labels),
        shape: SHAPE,
        classes: CLASSES,
    };
    let examples: Vec<u32> = (0..12).collect();
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut trainer = Trainer::from_images(&cpu, &setup, images, &examples).unwrap();
    let (parameters, _) = trainer.network().parameter_counts();
    let before = trainer.state().unwrap();
    for _ in 0..3 {
        trainer.train_step().unwrap();
    }
    let after = trainer.state().unwrap();
    let drawn = step("fa", 1, &weights()).unwrap().feedback;
    for name in FEEDBACK {
        let saved = format!("feedback/{name}");
        assert_eq!(before.get(&saved), after.get(&saved), "{name}");
        assert_ne!(before.get(name), after.get(name), "{name}");
        assert_eq!(after.get(&saved).unwrap().data, drawn.get(name).unwrap().data, "{name}");
    }
    let others = Network::new(&mut ProgramSet::new(), &network, &SHAPE, CLASSES).unwrap();
    let others = others.parameter_counts();
    assert_eq!(parameters, others.0);
}
