//! The fuzzers' seeds go through the functions that the fuzzers call, so that these are tested where nobody fuzzes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use lfnn_cli::fuzzing;

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap();
    let seeds: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{}", folder.display());
    seeds
}

#[test]
fn configurations() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let recipes = std::fs::read_dir(recipes).unwrap().map(|entry| entry.unwrap().path());
    for path in seeds("configuration").into_iter().chain(recipes) {
        fuzzing::configuration(&std::fs::read(path).unwrap());
    }
}

#[test]
fn checkpoints() {
    for path in seeds("checkpoint") {
        fuzzing::checkpoint(&std::fs::read(path).unwrap());
    }
}

#[test]
fn steps() {
    for path in seeds("step") {
        fuzzing::step(&std::fs::read(path).unwrap());
    }
}
