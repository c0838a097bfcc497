//! Frozen units: nothing of theirs changes or is computed for their training, and the global gradient passes through
//! them as through a fixed map.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use lfnn_core::config::{LeadershipConfig, NetworkConfig, TrainingConfig};
use lfnn_core::method::{BP, Gradient, METHODS, by_name};
use lfnn_core::program::{Operation, Part, Role};
use lfnn_core::train::{
    Images, Labels, Setup, State, StateData, StateTensor, StepProgram, StepTrace, Target,
    TraceInput, Trainer, trace_step,
};
use lfnn_cpu::Cpu;
use lfnn_tests::reference::Reference;
use lfnn_tests::source::Source;
use lfnn_tests::weights::weights as random_weights;
use serde_json::json;

const SHAPE: [usize; 3] = [8, 8, 2];
const CLASSES: usize = 3;
const COUNT: usize = 32;

/// A unit of each kind, with dropout, running statistics and similarity matching in the second.
fn network(frozen: &[usize]) -> NetworkConfig {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    let mut network: NetworkConfig = serde_json::from_value(json!({
        "units": [
            {"layers": [conv(8), {"batch_norm": {}}, "relu"],
             "workers": {"readout": {"count": 4, "grid": 2}}},
            {"layers": [conv(6), {"batch_norm": {}}, "relu", {"dropout": {"rate": 0.3}}],
             "workers": {"readout": {"count": 2, "grid": 2, "dropout": 0.2}},
             "similarity": {"weight": 1.0, "layers": [conv(3), {"batch_norm": {}}]},
             "transition": [{"max_pool": {"kernel": 2}}]},
            {"layers": [conv(4), {"batch_norm": {}}, "relu"],
             "workers": {"block": {"count": 2, "grid": 2}}},
            {"layers": ["flatten"], "workers": {"neurons": {"count": 4, "output_activation": "relu"}}}
        ]
    }))
    .unwrap();
    for unit in frozen {
        network.units[unit - 1].frozen = true;
    }
    network
}

fn training() -> TrainingConfig {
    serde_json::from_value(json!({
        "batch_size": 8, "epochs": 2, "optimizer": {"adamw": {"lr": 0.01, "weight_decay": 0.1}},
        "clip_norm": 5.0
    }))
    .unwrap()
}

fn with_setup<T>(network: &NetworkConfig, method: &str, use_it: impl FnOnce(&Setup<'_>) -> T) -> T {
    use_it(&Setup::new(network, &training(), by_name(method).unwrap()))
}

/// The states before and after an epoch.
fn epoch(network: &NetworkConfig, method: &str) -> [State; 2] {
    let mut source = Source::new(1);
    let labels: Vec<u32> = (0..COUNT as u32).map(|i| i % 3).collect();
    let size = COUNT * SHAPE.iter().product::<usize>();
    let pixels: Vec<u8> = (0..size).map(|_| source.below(256) as u8).collect();
    let images = Images {
        pixels: (&pixels).into(),
        labels: Labels::Classes(&labels),
        shape: SHAPE,
        classes: CLASSES,
    };
    let examples: Vec<u32> = (0..COUNT as u32).collect();
    with_setup(network, method, |setup| {
        let mut trainer =
            Trainer::from_images(&Cpu::new(Some(2)).unwrap(), setup, images, &examples).unwrap();
        let before = trainer.state().unwrap();
        while !trainer.epoch_is_done() {
            trainer.train_step().unwrap();
        }
        trainer.check_finite().unwrap();
        trainer.end_epoch().unwrap();
        [before, trainer.state().unwrap()]
    })
}

fn unit_of(name: &str) -> Option<usize> {
    name.strip_prefix("unit")?.split('.').next()?.parse().ok()
}

fn of_network(state: &State) -> impl Iterator<Item = &StateTensor> {
    state.tensors.iter().filter(|tensor| Role::of_saved(&tensor.name) == Some(Role::Parameter))
}

#[test]
fn in_every_method_an_epoch_changes_no_bit_of_a_frozen_unit_and_every_other_parameter() {
    for method in METHODS {
        for frozen in [&[2][..], &[1, 2], &[3, 4], &[1, 3], &[1, 2, 3, 4]] {
            let [before, after] = epoch(&network(frozen), method.name);
            for (before, after) in of_network(&before).zip(of_network(&after)) {
                let name = &before.name;
                let is_head = name.contains("readout") || name.contains("similarity");
                let fixed = unit_of(name).is_some_and(|unit| frozen.contains(&unit))
                    || is_head && !method.workers.learn();
                assert_eq!(before == after, fixed, "{}, {frozen:?}: {name}", method.name);
            }
            let optimised = after.tensors.iter().filter_map(|t| t.name.strip_prefix("optimizer/"));
            let has_frozen = |name: &str| unit_of(name).is_some_and(|unit| frozen.contains(&unit));
            assert!(!optimised.into_iter().any(has_frozen), "{}, {frozen:?}", method.name);
        }
    }
}

/// The operations of a training step, each with its part of the network, and the planned bytes of its temporaries.
fn step(network: &NetworkConfig, method: &str) -> (Vec<(Part, &'static str)>, usize) {
    let step =
        with_setup(network, method, |setup| StepProgram::new(setup, SHAPE, CLASSES)).unwrap();
    let program = &step.set.programs()[step.program.0];
    let names = program.ops().iter().map(Operation::name);
    (program.parts().iter().copied().zip(names).collect(), step.memory().step)
}

#[test]
fn a_local_method_computes_nothing_for_a_frozen_unit_but_its_output() {
    for method in METHODS.into_iter().filter(|method| method.local) {
        let (ops, _) = step(&network(&[2]), method.name);
        let of_unit: Vec<_> = ops.iter().filter(|(part, _)| *part == Part::Unit(2)).collect();
        let names: Vec<_> = of_unit.iter().map(|(_, name)| *name).collect();
        assert_eq!(
            names,
            ["Conv2d", "BatchNormInference", "Activate", "MaxPool"],
            "{}",
            method.name
        );
        let [trained, frozen] =
            [&[][..], &[1, 2]].map(|frozen| step(&network(frozen), method.name).1);
        assert!(frozen < trained, "{}: {frozen} and {trained} bytes", method.name);
    }
}

#[test]
fn a_global_gradient_ends_at_the_first_unit_that_trains() {
    for method in METHODS.into_iter().filter(|method| !method.local) {
        let names = |frozen: &[usize], unit: usize| -> Vec<&'static str> {
            let (ops, _) = step(&network(frozen), method.name);
            let of_unit = ops.into_iter().filter(|(part, _)| *part == Part::Unit(unit));
            of_unit.map(|(_, name)| name).collect()
        };
        let forward = ["Conv2d", "BatchNormInference", "Activate", "MaxPool"];
        assert_eq!(names(&[1, 2], 1), forward[..3], "{}", method.name);
        assert_eq!(names(&[1, 2], 2), forward, "{}", method.name);
        let through = names(&[2], 2);
        let carries: &[&str] = match method.gradient {
            // The error comes from the output layer to each unit that trains.
            Gradient::Direct => &[],
            Gradient::Backward => {
                &["MaxPoolGrad", "ActivateGrad", "BatchNormInference", "Conv2dInputGrad"]
            }
            Gradient::Forward(_) => {
                &["MaxPoolTangent", "ActivateGrad", "BatchNormInference", "Conv2d"]
            }
        };
        let expected: BTreeMap<&str, usize> =
            forward.iter().chain(carries).fold(BTreeMap::new(), |mut counts, name| {
                *counts.entry(*name).or_default() += 1;
                counts
            });
        let found = through.iter().fold(BTreeMap::new(), |mut counts, name| {
            *counts.entry(*name).or_default() += 1;
            counts
        });
        assert_eq!(found, expected, "{}", method.name);
    }
}

fn weights(network: &NetworkConfig) -> State {
    random_weights(network, &SHAPE, CLASSES, 0.5, &mut Source::new(3))
}

fn trace(method: &str, network: &NetworkConfig, weights: &State) -> StepTrace {
    let images = Source::new(7).reals(4 * 2 * 64, -1.0, 1.0);
    let leadership =
        LeadershipConfig { delta: 1.0, lambda1: 0.0, lambda2: 0.0, ..LeadershipConfig::default() };
    let input = TraceInput {
        network,
        leadership,
        label_smoothing: 0.0,
        class_weights: None,
        directions: 1,
        method: by_name(method).unwrap(),
        seed: 1,
        classes: CLASSES,
        images: &images,
        shape: &[4, 2, 8, 8],
        target: Target::Labels(&[0, 1, 2, 1]),
    };
    trace_step(&Reference, &input, weights).unwrap()
}

fn real(tensor: &StateTensor) -> &[f32] {
    match &tensor.data {
        StateData::Real(values) => values,
        StateData::U32(_) => panic!("`{}` is not real", tensor.name),
    }
}

fn close(a: f64, b: f64, largest: f64) -> bool {
    (a - b).abs() <= 1e-5 * largest.max(1e-3)
}

/// Weights of the network without the second unit's batch normalisation, which become those of its convolution:
/// `γ (W x + b − mean) / √(variance + ε) + β`.
fn folded(weights: &State) -> State {
    let of = |name: &str| real(weights.get(&format!("unit2.layer{name}")).unwrap()).to_vec();
    let [gamma, beta, mean, variance] =
        ["2.weight", "2.bias", "2.running_mean", "2.running_var"].map(of);
    let scale = |channel: usize| gamma[channel] / (variance[channel] + 1e-5).sqrt();
    let mut state = weights.clone();
    state.tensors.retain(|tensor| !tensor.name.starts_with("unit2.layer2."));
    for tensor in &mut state.tensors {
        let StateData::Real(values) = &mut tensor.data else { continue };
        let per_channel = values.len() / tensor.shape[0];
        match tensor.name.as_str() {
            "unit2.layer1.weight" => {
                for (at, value) in values.iter_mut().enumerate() {
                    *value *= scale(at / per_channel);
                }
            }
            "unit2.layer1.bias" => {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = scale(at) * (*value - mean[at]) + beta[at];
                }
            }
            _ => {}
        }
    }
    state
}

/// The oracle is a network without the normalisation and the dropout, all of whose units train.
#[test]
fn backpropagation_through_a_frozen_unit_is_that_through_its_layers_with_running_statistics() {
    let network = network(&[2]);
    let weights = weights(&network);
    let mut folds = network.clone();
    folds.units[1].frozen = false;
    folds.units[1].layers.remove(1);
    folds.units[1].layers.remove(2);
    let names = |state: &State| state.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    let frozen = trace("bp", &network, &weights);
    let oracle = trace("bp", &folds, &folded(&weights));
    let expected: Vec<&StateTensor> =
        oracle.gradients.tensors.iter().filter(|t| unit_of(&t.name) != Some(2)).collect();
    assert_eq!(names(&frozen.gradients).len(), expected.len());
    assert!((frozen.loss - oracle.loss).abs() < 1e-5);
    for expected in expected {
        let found = real(frozen.gradients.get(&expected.name).unwrap());
        let expected_values = real(expected);
        let largest = expected_values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        for (a, b) in found.iter().zip(expected_values) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            assert!(close(a, b, f64::from(largest)), "{}: {a} and {b}", expected.name);
        }
    }
    // Running statistics do not move.
    let running = frozen.buffers.get("unit2.layer2.running_mean").unwrap();
    assert_eq!(Some(running), weights.get("unit2.layer2.running_mean"));
}

/// Every worker leads, and there are no local losses that weigh anything.
#[test]
fn lfnn_with_the_global_loss_alone_is_backpropagation_through_frozen_units_too() {
    for frozen in [&[2][..], &[3, 4], &[1, 3]] {
        let mut network = network(frozen);
        network.units[1].similarity = None;
        let weights = weights(&network);
        let lfnn = trace("lfnn", &network, &weights);
        assert_eq!(lfnn.gradients, trace("bp", &network, &weights).gradients, "{frozen:?}");
        let numbers: Vec<usize> = lfnn.units.iter().map(|unit| unit.unit).collect();
        assert_eq!(numbers, (1..=4).filter(|unit| !frozen.contains(unit)).collect::<Vec<_>>());
    }
}

/// With directions v in the space of all parameters that train, the forward gradient is `(∇L · v) v`, and ∇L is
/// backpropagation's.
#[test]
fn tangents_pass_through_frozen_units() {
    for frozen in [&[2][..], &[3, 4], &[1, 3]] {
        let network = network(frozen);
        let weights = weights(&network);
        let (ours, bp) = (trace("fg-w", &network, &weights), trace("bp", &network, &weights));
        let mut derivative = 0.0;
        for gradient in &bp.gradients.tensors {
            let direction = ours.directions.get(&gradient.name).unwrap();
            let pairs = real(gradient).iter().zip(real(direction));
            derivative += pairs.map(|(g, v)| f64::from(*g) * f64::from(*v)).sum::<f64>();
        }
        assert_eq!(ours.directions.tensors.len(), bp.gradients.tensors.len());
        for gradient in &ours.gradients.tensors {
            let direction = ours.directions.get(&gradient.name).unwrap();
            for (g, v) in real(gradient).iter().zip(real(direction)) {
                let expected = derivative * f64::from(*v);
                assert!(
                    close(f64::from(*g), expected, derivative.abs()),
                    "{frozen:?}: {}",
                    gradient.name
                );
            }
        }
    }
}

#[test]
fn a_batch_of_one_is_no_variance_for_trained_normalisation_alone() {
    let network = |frozen: bool| -> NetworkConfig {
        let layers = json!(["flatten", {"linear": {"features": 8}}, {"batch_norm": {}}]);
        let readout = json!({"readout": {"count": 2}});
        serde_json::from_value(json!({
            "units": [{"layers": layers, "workers": readout, "frozen": frozen}]
        }))
        .unwrap()
    };
    let training = TrainingConfig { batch_size: 1, ..training() };
    let build = |frozen: bool| {
        let network = network(frozen);
        let setup = Setup::new(&network, &training, BP);
        StepProgram::new(&setup, SHAPE, CLASSES).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(build(false).unwrap_err().starts_with("training.batch_size: 1, expected at least 2"));
    assert_eq!(build(true), Ok(()));
}

#[test]
fn only_a_frozen_unit_says_so_in_its_configuration() {
    let written =
        |frozen: &[usize]| serde_json::to_value(network(frozen)).unwrap()["units"].clone();
    assert_eq!(written(&[2])[1]["frozen"], json!(true));
    assert!(written(&[2])[0].get("frozen").is_none());
}
