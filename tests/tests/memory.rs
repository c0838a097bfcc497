//! What a step has to keep until the end of it, by method: the planned memory of a step against the
//! depth of the network.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{NetworkConfig, TrainingConfig};
use lfnn_core::method::{by_name, names};
use lfnn_core::train::{Normalization, Setup, StepProgram};
use serde_json::{Value, json};

/// Bytes of the temporaries of a training step.
fn step(method: &'static str, units: Value) -> usize {
    let network: NetworkConfig = serde_json::from_value(json!({ "units": units })).unwrap();
    let training: TrainingConfig = serde_json::from_value(
        json!({"batch_size": 16, "epochs": 1, "optimizer": {"adam": {"lr": 0.01}}}),
    )
    .unwrap();
    let setup = Setup::new(&network, &training, by_name(method).unwrap())
        .normalized_by(Normalization { mean: vec![0.0], std: vec![1.0] });
    StepProgram::new(&setup, [10, 10, 1], 5).unwrap().memory().step
}

fn layers(count: usize) -> Vec<Value> {
    let conv = json!({"conv": {"filters": 10, "kernel": 3, "padding": 1}});
    vec![[conv, json!({"batch_norm": {}}), json!("relu")]; count].concat()
}

/// A network of this many units, each of one convolution.
fn units(count: usize) -> Value {
    let readout = json!({"readout": {"count": 2, "grid": 2}});
    vec![json!({"layers": layers(1), "workers": readout}); count].into()
}

/// A network of one unit with this many convolutions.
fn block(count: usize) -> Value {
    json!([{"layers": layers(count), "workers": {"block": {"grid": 2}}}])
}

/// Which methods need more memory for twelve than for four.
fn growing(of: fn(usize) -> Value) -> Vec<&'static str> {
    let grows = |name: &&'static str| {
        let (few, many) = (step(name, of(4)), step(name, of(12)));
        assert!(many == few || many > 2 * few, "{name}: {few} and {many}");
        many != few
    };
    names().into_iter().filter(grows).collect()
}

#[test]
fn with_more_units_only_methods_that_wait_for_the_end_need_more_memory() {
    assert_eq!(growing(units), ["bp", "lfnn", "fa", "fg-a", "dfa"]);
}

#[test]
fn with_more_layers_in_a_unit_only_perturbed_weights_need_no_more_memory() {
    let all = names();
    let expected: Vec<_> = all.into_iter().filter(|name| !name.ends_with("fg-w")).collect();
    assert_eq!(growing(block), expected);
}
