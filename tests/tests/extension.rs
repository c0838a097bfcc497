//! Layers and methods of a program of its own, from outside the crates: those of the examples.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{
    LayerConfig, LeadershipConfig, NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig,
};
use lfnn_core::data::Dataset;
use lfnn_core::layer::{BuildLayer, Built, LayerBuilder, ResidualConfig};
use lfnn_core::method::{BP, LFNN_L, METHODS, Method};
use lfnn_core::model::Model;
use lfnn_core::network::Network;
use lfnn_core::program::{ProgramSet, influences};
use lfnn_core::train::{
    Matching, Setup, State, StateData, StepProgram, StepTrace, Target, TraceInput, Trainer,
    trace_step,
};
use lfnn_cpu::Cpu;
use lfnn_tests::reference::Reference;
use lfnn_tests::source::Source;
use lfnn_tests::weights::weights as random_weights;
use ndarray::{Array1, Array4};

#[path = "../../lfnn-cpu/examples/own_layer/dense.rs"]
mod dense;
#[path = "../../lfnn-cpu/examples/own_method/method.rs"]
mod method;

use dense::DenseConfig;
use method::LAST_UNIT_GLOBAL;

const SHAPE: [usize; 3] = [6, 6, 2];

fn dense(filters: usize) -> LayerConfig {
    let body = vec![LayerConfig::conv(filters, 3), LayerConfig::Tanh];
    LayerConfig::custom("dense", DenseConfig(body))
}

/// The layer in a unit, in a residual sum, behind the workers, and in front of the output.
fn network() -> NetworkConfig {
    let residual = LayerConfig::residual([dense(3), LayerConfig::conv(5, 1)]);
    NetworkConfig::new([
        UnitConfig::new().layer(dense(2)).layer(dense(1)).readout(5),
        UnitConfig::new().layer(residual).relu().readout(5).max_pool(2),
    ])
    .output([dense(2)])
}

fn trace(method: &'static Method, network: &NetworkConfig) -> StepTrace {
    let weights = random_weights(network, &SHAPE, 3, 0.5, &mut Source::new(3));
    let input = TraceInput {
        network,
        leadership: LeadershipConfig { delta: 0.5, ..LeadershipConfig::default() },
        label_smoothing: 0.0,
        class_weights: None,
        directions: 1,
        method,
        seed: 1,
        classes: 3,
        images: &Source::new(7).reals(4 * 2 * 36, -1.0, 1.0),
        shape: &[4, 2, 6, 6],
        target: Target::Labels(&[0, 1, 2, 1]),
    };
    trace_step(&Reference, &input, &weights).unwrap()
}

fn trained(network: &NetworkConfig, method: &'static Method) -> Trainer {
    let mut source = Source::new(1);
    let labels = Array1::from_shape_fn(40, |row| (row % 3) as u32);
    let images = Array4::from_shape_fn((40, 6, 6, 2), |(row, ..)| {
        (row % 3) as f32 + source.between(-0.5, 0.5) as f32
    });
    let data = Dataset::classification(images.view(), labels.view()).unwrap();
    let training = TrainingConfig::new(8, 2, OptimizerConfig::adam(0.005));
    let setup = Setup::new(network, &training, method);
    let mut trainer = Trainer::new(&Cpu::new(Some(1)).unwrap(), &setup, &data).unwrap();
    trainer.fit(|_| ()).unwrap();
    trainer
}

#[test]
fn a_layer_of_ones_own_is_wherever_a_layer_is() {
    let network = network();
    let built = Network::new(&mut ProgramSet::new(), &network, &SHAPE, 3).unwrap();
    let names: Vec<&str> = built.parameters().iter().map(|p| p.tensor.name.as_str()).collect();
    for name in
        ["unit1.layer2.body1.weight", "unit2.layer1.body1.body1.weight", "output.layer1.body1.bias"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(
        built.units()[0].describe_layers(),
        "dense (conv 3×3, 2, tanh), dense (conv 3×3, 1, tanh)"
    );
    for method in METHODS {
        let trainer = trained(&network, method);
        assert!(trainer.state().unwrap().not_finite().is_none(), "{}", method.name);
    }
}

/// A configuration of the crate's own is a layer of the program's own as well.
#[test]
fn a_layer_of_ones_own_has_the_gradients_of_the_same_layer_of_the_crates() {
    let body = || vec![LayerConfig::conv(2, 3), LayerConfig::Relu];
    let own = ResidualConfig { body: body(), shortcut: Vec::new() };
    let with = |layer: LayerConfig| {
        NetworkConfig::new([
            UnitConfig::new().layer(layer).readout(2),
            UnitConfig::new().conv(4, 3).readout(2),
        ])
    };
    let (ours, theirs) =
        (with(LayerConfig::custom("sum", own)), with(LayerConfig::residual(body())));
    for method in METHODS {
        assert_eq!(trace(method, &ours), trace(method, &theirs), "{}", method.name);
    }
}

#[test]
fn a_network_with_a_layer_of_ones_own_is_used_but_not_written() {
    let network = network();
    assert_eq!(network, network.clone());
    assert_ne!(dense(2), dense(2));
    let message = "`dense` is a layer of the program's own, which no file holds";
    assert_eq!(serde_json::to_string(&network).unwrap_err().to_string(), message);
    let mut trainer = trained(&network, LFNN_L);
    let model = trainer.model().unwrap();
    let rows: Vec<u32> = (0..40).collect();
    let loss = trainer.evaluate(&rows[..]).unwrap().loss();
    assert!(loss.is_finite());
    let error = model.write(Vec::new()).unwrap_err().to_string();
    assert_eq!(error, format!("the model cannot be written: {message}"));
    // Its weights are kept without it.
    let mut other = trained(&network, BP);
    other.load_weights(&model.state, Matching::Exact).unwrap();
    assert!((other.evaluate(&rows[..]).unwrap().loss() - loss).abs() < 1e-6);
    assert!(Model::read(&b"{}"[..]).is_err());
}

#[test]
fn what_a_layer_of_ones_own_refuses_is_named_with_its_path() {
    let refusal = |layer: LayerConfig| {
        let network = NetworkConfig::new([UnitConfig::new().conv(2, 3).layer(layer).readout(2)]);
        Network::new(&mut ProgramSet::new(), &network, &SHAPE, 3).unwrap_err().to_string()
    };
    let strided = LayerConfig::custom("dense", DenseConfig(vec![LayerConfig::max_pool(2)]));
    let message = "network.units[0].layers[1]: dense: the body makes [3, 3, 2] of [6, 6, 2]";
    assert_eq!(refusal(strided), message);
    let inner = LayerConfig::custom("dense", DenseConfig(vec![LayerConfig::conv(0, 3)]));
    let message = refusal(inner);
    assert!(message.starts_with("network.units[0].layers[1][0]: 0 filters"), "{message}");

    struct Nothing;
    impl BuildLayer for Nothing {
        fn build(&self, _: &mut LayerBuilder<'_>, _: &[usize]) -> Built {
            Err("no layer at all".into())
        }
    }
    let message = "network.units[0].layers[1]: nothing: no layer at all";
    assert_eq!(refusal(LayerConfig::custom("nothing", Nothing)), message);
}

fn values<'a>(state: &'a State, name: &str) -> &'a [f32] {
    match &state.get(name).unwrap().data {
        StateData::Real(values) => values,
        StateData::U32(_) => panic!("`{name}` is not real"),
    }
}

#[test]
fn a_method_of_ones_own_has_the_gradients_that_its_equation_says() {
    let conv = || UnitConfig::new().conv(4, 3).relu().readout(2);
    let network = NetworkConfig::new([conv(), conv(), conv()]);
    let [ours, local, global] =
        [LAST_UNIT_GLOBAL, LFNN_L, BP].map(|method| trace(method, &network).gradients);
    assert_eq!(ours.tensors.len(), local.tensors.len());
    for tensor in &ours.tensors {
        let name = tensor.name.as_str();
        let (found, expected) = (values(&ours, name), values(&local, name));
        if !name.starts_with("unit3.layer") {
            assert_eq!(found, expected, "{name}");
            continue;
        }
        for ((a, b), c) in found.iter().zip(expected).zip(values(&global, name)) {
            assert!((a - (b + c)).abs() < 1e-5, "{name}: {a} and {b} + {c}");
        }
    }
}

/// A method's claim to be local can be proved of its program, as those of the crate are.
#[test]
fn a_method_of_ones_own_can_be_followed_through_its_program() {
    let conv = || UnitConfig::new().conv(4, 3).relu().readout(2);
    let network = NetworkConfig::new([conv(), conv()]);
    let training = TrainingConfig::new(8, 2, OptimizerConfig::adam(0.005));
    let setup = Setup::new(&network, &training, LAST_UNIT_GLOBAL);
    let step = StepProgram::new(&setup, SHAPE, 3).unwrap();
    let program = &step.set.programs()[step.program.0];
    let id = |name: &str| step.parameters.iter().find(|p| p.tensor.name == name).unwrap().id;
    let depends = |of: &str, on: &str| influences(program, id(of)).contains(&id(on));
    assert!(depends("unit2.layer1.weight", "output.weight"));
    assert!(!depends("unit1.layer1.weight", "output.weight"));
    assert!(!depends("unit1.layer1.weight", "unit2.layer1.weight"));
}

#[test]
fn a_method_of_ones_own_trains_with_frozen_units() {
    let conv = || UnitConfig::new().conv(4, 3).relu().readout(2);
    let network = NetworkConfig::new([conv(), conv().frozen(), conv().frozen()]);
    let trainer = trained(&network, LAST_UNIT_GLOBAL);
    let state = trainer.state().unwrap();
    let optimised = |name: &str| state.get(&format!("optimizer/{name}.first_moment")).is_some();
    assert!(optimised("unit1.layer1.weight") && optimised("output.weight"));
    assert!(!optimised("unit2.layer1.weight") && !optimised("unit3.layer1.weight"));
}
