//! Runs that begin with the weights of another, and more epochs of a finished run.

use lfnn_core::model::Model;
use lfnn_core::train::State;

use super::support::Place;

const LAST: &str = "checkpoints/last.safetensors";

fn state(place: &Place, run: &str) -> State {
    Model::read(&*place.bytes(&format!("{run}/{LAST}"))).unwrap().state
}

fn config(place: &Place, run: &str) -> String {
    place.text(&format!("{run}/config.yaml"))
}

/// Trained for two epochs at a constant rate.
fn train(place: &Place, args: &[&str]) -> String {
    let constant = ["--set", "training.schedule=constant"];
    place.train(&[&constant, args].concat())
}

#[test]
fn frozen_units_keep_the_weights_of_another_run_and_the_record_says_so() {
    let place = Place::new();
    train(&place, &["--out", "first"]);
    let from = state(&place, "first");
    let grow = ["--set", "network.units.2.layers.0.conv.filters=32", "--seed", "2"];
    let out = train(
        &place,
        &[&grow[..], &["--out", "second", "--init", "first", "--freeze", "1-2"]].concat(),
    );
    // Of another shape are five tensors of the third unit's layers, its readout's weight, and that of the output.
    let expected = "init: 16 tensors of first\n  7 begin anew (7 of another shape); 0 of the checkpoint not used\n";
    assert!(out.contains(expected), "{out}");
    let to = state(&place, "second");
    for name in
        ["unit1.layer1.weight", "unit1.layer2.running_mean", "unit2.readout.weight", "input.scale"]
    {
        assert_eq!(to.get(name), from.get(name), "{name}");
    }
    assert_ne!(to.get("unit3.readout.bias"), from.get("unit3.readout.bias"));
    assert!(to.get("optimizer/unit2.layer1.weight.first_moment").is_none());
    let text = config(&place, "second");
    let digest = text.lines().find_map(|line| line.trim().strip_prefix("sha256: ")).unwrap();
    assert_eq!((digest.len(), text.matches("frozen: true").count()), (64, 2), "{text}");
    assert!(place.ok(&["eval", "second"]).contains("test: 355 images"));

    // The record is enough for the same run again, and no other file serves.
    let again = ["train", "--config", "second/config.yaml", "--out", "third"];
    place.ok(&again);
    assert_eq!(state(&place, "third"), to);
    train(&place, &["--seed", "3", "--out", "other"]);
    std::fs::copy(place.path(&format!("other/{LAST}")), place.path(&format!("first/{LAST}")))
        .unwrap();
    let ended = place.run(&["train", "--config", "second/config.yaml", "--out", "fourth"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains(&format!("but `init.sha256` is {digest}")), "{}", ended.err);
    assert!(!place.has("fourth"));
}

#[test]
fn all_units_of_a_smaller_network_freeze_and_a_run_resumes_without_the_checkpoint() {
    let place = Place::new();
    let units = "network.units=[{layers: [flatten, {linear: {features: 16}}, relu], workers: {readout: {count: 4}}}]";
    train(&place, &["--set", units, "--out", "small"]);
    let grown = "network.units=[{layers: [flatten, {linear: {features: 16}}, relu], workers: {readout: {count: 4}}}, \
                 {layers: [{linear: {features: 16}}, relu], workers: {readout: {count: 4}}}]";
    let grow = ["--set", grown, "--init", "small", "--freeze", "all"];
    for method in ["lfnn-l", "bp"] {
        let (whole, part) = (format!("whole-{method}"), format!("part-{method}"));
        let start = |out: &str, epochs: &str| {
            let more = ["--method", method, "--out", out, "--epochs", epochs];
            let train = ["train", "--limit-batches", "6", "--set", "training.schedule=constant"];
            place.ok(&[&train[..], &grow, &more].concat())
        };
        start(&whole, "4");
        start(&part, "2");
        let small = place.path("small");
        std::fs::rename(&small, place.path("moved")).unwrap();
        place.ok(&["train", "--resume", "--out", &part, "--epochs", "4"]);
        std::fs::rename(place.path("moved"), &small).unwrap();
        assert!(
            place.bytes(&format!("{part}/{LAST}")) == place.bytes(&format!("{whole}/{LAST}")),
            "{method}"
        );
        assert_eq!(config(&place, &part), config(&place, &whole));
        assert_eq!(place.text(&format!("{part}/metrics.jsonl")).lines().count(), 4);
        let text = config(&place, &whole);
        assert_eq!(text.matches("frozen: true").count(), 1, "{text}");
    }
}

#[test]
fn epochs_change_only_where_the_learning_rates_so_far_do_not() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let error = "run: `training.epochs` is 2 in this run, but the command line sets 4; a run is resumed with its own \
                 settings, because others would change its result (leave the option out, or start a new run)";
    place.fails(2, &["train", "--resume", "--out", "run", "--epochs", "4"], error);
    train(&place, &["--out", "constant"]);
    let ended = place.run(&["train", "--resume", "--out", "constant", "--epochs", "1"]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("`training.epochs` is 2 in this run"), "{}", ended.err);
}

#[test]
fn what_cannot_be_a_beginning_is_refused() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let error = "nowhere: no such run or checkpoint";
    place.fails(1, &["train", "--init", "nowhere", "--out", "new"], error);
    let error = "--freeze: unit 4 of 3";
    place.fails(2, &["train", "--init", "run", "--freeze", "2-4", "--out", "new"], error);
    let one = place.run(&["train", "--init", "run", "--freeze", "x"]);
    assert_eq!(one.code, Some(2));
    assert!(one.err.contains("expected numbers of units from 1, such as `1`"), "{}", one.err);
    assert_eq!(place.run(&["train", "--freeze", "1"]).code, Some(2));
    assert_eq!(place.run(&["train", "--init", "run", "--resume"]).code, Some(2));
    assert!(!place.has("new"));
}
