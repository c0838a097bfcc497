//! Feedback alignment: the matrices that carry gradients back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

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
        directions: 1,
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

/// Whose gradients do not depend on any matrix: `exact` says it of a name.
fn is_backpropagation(method: &str, names: &[&str], of: &str, exact: fn(&str) -> bool) {
    let weights = weights();
    let own = names.iter().map(|name| weights.get(name).unwrap().clone());
    let ours = step(method, 1, &with(&weights, own)).unwrap();
    let exactly = step(of, 1, &weights).unwrap();
    assert_eq!(ours.gradients, exactly.gradients);
    assert_eq!(ours.logits, exactly.logits);
    let drawn = step(method, 1, &weights).unwrap();
    for tensor in &exactly.gradients.tensors {
        let same = drawn.gradients.get(&tensor.name).unwrap() == tensor;
        assert_eq!(same, exact(&tensor.name), "{method}: {}", tensor.name);
    }
}

#[test]
fn with_the_weights_as_feedback_it_is_backpropagation_to_the_bit() {
    is_backpropagation("fa", &FA, "bp", |name| name.starts_with("output."));
}

#[test]
fn with_the_weights_as_feedback_inside_units_it_is_local_backpropagation_to_the_bit() {
    let exact = |name: &str| {
        name.contains("readout") || name.starts_with("unit3.") || name.starts_with("output.")
    };
    is_backpropagation("lg-fa", &LG_FA, "lg-bp", exact);
}

/// `y = tanh(W x + b)` in each of two units and the softmax of the output layer, in f64 from the definition.
#[test]
fn direct_feedback_gives_a_unit_the_error_times_its_matrix() {
    const ROWS: usize = 4;
    let unit = |features: usize| {
        json!({"layers": [{"linear": {"features": features}}, "tanh"],
               "workers": {"readout": {"count": 1}}})
    };
    let network: NetworkConfig =
        serde_json::from_value(json!({"units": [unit(5), unit(4)]})).unwrap();
    let images = Source::new(7).reals(ROWS * 6, -1.0, 1.0);
    let labels = [0, 1, 2, 1];
    let input = TraceInput {
        network: &network,
        leadership: LeadershipConfig::default(),
        label_smoothing: 0.0,
        class_weights: None,
        directions: 1,
        method: by_name("dfa").unwrap(),
        seed: 2,
        classes: CLASSES,
        images: &images,
        shape: &[ROWS, 6],
        target: Target::Labels(&labels),
    };
    let weights = random_weights(&network, &[6], CLASSES, 0.5, &mut Source::new(3));
    let seen = trace_step(&Cpu::new(Some(1)).unwrap(), &input, &weights).unwrap();
    let real = |state: &State, name: &str| -> Vec<f64> {
        let StateData::Real(values) = &state.get(name).unwrap().data else { panic!("not real") };
        values.iter().map(|&value| f64::from(value)).collect()
    };
    // Rows of `matrix`, each times `x`.
    let times = |matrix: &[f64], x: &[f64]| -> Vec<f64> {
        let row = |row: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum();
        matrix.chunks(x.len()).map(row).collect()
    };
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let product = times(&real(&weights, &format!("{name}.weight")), x);
        let bias = real(&weights, &format!("{name}.bias"));
        product.iter().zip(bias).map(|(a, b)| a + b).collect()
    };
    let mut expected: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (row, &label) in labels.iter().enumerate() {
        let mut x: Vec<f64> = images[row * 6..][..6].iter().map(|&x| f64::from(x)).collect();
        let mut layers = Vec::new();
        for name in ["unit1.layer1", "unit2.layer1"] {
            let y: Vec<f64> = linear(name, &x).into_iter().map(f64::tanh).collect();
            layers.push((name, std::mem::replace(&mut x, y.clone()), y));
        }
        let powers: Vec<f64> = linear("output", &x).into_iter().map(f64::exp).collect();
        let sum: f64 = powers.iter().sum();
        let error = |(class, power): (usize, f64)| {
            (power / sum - f64::from(u8::from(class == label as usize))) / ROWS as f64
        };
        let error: Vec<f64> = powers.into_iter().enumerate().map(error).collect();
        let mut deltas = vec![("output", x, error.clone())];
        for (unit, (name, x, y)) in layers.into_iter().enumerate() {
            let signal = times(&real(&seen.feedback, &format!("unit{}.output", unit + 1)), &error);
            let delta = signal.iter().zip(&y).map(|(s, y)| s * (1.0 - y * y)).collect();
            deltas.push((name, x, delta));
        }
        for (name, x, delta) in deltas {
            let dweight: Vec<f64> =
                delta.iter().flat_map(|d| x.iter().map(move |x| d * x)).collect();
            for (kind, part) in [("weight", dweight), ("bias", delta)] {
                let sum = expected.entry(format!("{name}.{kind}")).or_default();
                sum.resize(part.len(), 0.0);
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
    }
    assert_eq!(seen.gradients.tensors.len(), expected.len());
    for (name, expected) in &expected {
        let found = real(&seen.gradients, name);
        assert!(expected.iter().any(|value| value.abs() > 1e-3), "{name}");
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} and {b}");
        }
    }
}

/// Classifiers of a one-vs-all task hear of their own error alone.
#[test]
fn direct_feedback_keeps_classifiers_independent() {
    let network: NetworkConfig = serde_json::from_value(json!({"task": "one_vs_all", "units": [
        {"layers": ["flatten"], "workers": {"neurons": {"count": 4}}}, {"workers": {"neurons": {"count": 2}}}
    ]}))
    .unwrap();
    let images = Source::new(7).reals(4 * 2 * 64, -1.0, 1.0);
    let gradients = |weights: &State| {
        let input = TraceInput {
            network: &network,
            leadership: LeadershipConfig::default(),
            label_smoothing: 0.0,
            class_weights: None,
            directions: 1,
            method: by_name("dfa").unwrap(),
            seed: 1,
            classes: CLASSES,
            images: &images,
            shape: &[4, 2, 8, 8],
            target: Target::Labels(&[0, 1, 2, 1]),
        };
        trace_step(&Cpu::new(Some(1)).unwrap(), &input, weights).unwrap().gradients
    };
    let weights = random_weights(&network, &SHAPE, CLASSES, 0.5, &mut Source::new(3));
    let mut moved = weights.clone();
    let output = moved.tensors.iter_mut().find(|tensor| tensor.name == "output.bias").unwrap();
    let StateData::Real(bias) = &mut output.data else { panic!("not real") };
    bias[CLASSES - 1] += 1.0;
    let (before, after) = (gradients(&weights), gradients(&moved));
    for (before, after) in before.tensors.iter().zip(&after.tensors) {
        let (StateData::Real(old), StateData::Real(new)) = (&before.data, &after.data) else {
            panic!("not real")
        };
        let own = old.len() / CLASSES * (CLASSES - 1);
        assert_eq!(old[..own], new[..own], "{}", before.name);
        assert_ne!(old[own..], new[own..], "{}", before.name);
    }
}

#[test]
fn matrices_are_drawn_from_the_seed_like_initial_weights() {
    let weights = weights();
    for (method, names) in METHODS {
        let one = step(method, 1, &weights).unwrap().feedback;
        let mut found: Vec<&str> = one.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        found.sort_unstable();
        let mut expected = names.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let other = step(method, 2, &weights).unwrap().feedback;
        for (tensor, other) in one.tensors.iter().zip(&other.tensors) {
            let (StateData::Real(values), StateData::Real(others)) = (&tensor.data, &other.data)
            else {
                panic!("not real")
            };
            match weights.get(&tensor.name) {
                Some(weight) => assert_eq!(tensor.shape, weight.shape),
                None => assert_eq!(tensor.shape[1..], [CLASSES], "{}", tensor.name),
            }
            let bound = 1.0 / (tensor.shape[1..].iter().product::<usize>() as f32).sqrt();
            assert!(values.iter().all(|value| value.abs() <= bound), "{}", tensor.name);
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert!(largest > 0.8 * bound, "{}", tensor.name);
            assert_ne!(values, others, "{}", tensor.name);
        }
        // What was drawn can be given back.
        let again = step(method, 9, &with(&weights, one.tensors.clone())).unwrap();
        assert_eq!(again.gradients, step(method, 1, &weights).unwrap().gradients);
    }
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
    for (method, names) in METHODS {
        are_left_alone_and_saved(method, names);
    }
}

fn are_left_alone_and_saved(method: &str, names: &[&str]) {
    let (network, size) = (network(), SHAPE.iter().product::<usize>());
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": 4, "epochs": 2, "optimizer": {"adamw": {"lr": 0.01, "weight_decay": 0.1}}
    }))
    .unwrap();
    let setup = Setup::new(&network, &training, by_name(method).unwrap())
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
    let drawn = step(method, 1, &weights()).unwrap().feedback;
    for name in names {
        let saved = format!("feedback/{name}");
        assert_eq!(before.get(&saved), after.get(&saved), "{name}");
        if before.get(name).is_some() {
            assert_ne!(before.get(name), after.get(name), "{name}");
        }
        assert_eq!(after.get(&saved).unwrap().data, drawn.get(name).unwrap().data, "{name}");
    }
    let others = Network::new(&mut ProgramSet::new(), &network, &SHAPE, CLASSES).unwrap();
    let others = others.parameter_counts();
    assert_eq!(parameters, others.0);
}
