//! The fuzzers' seeds go through the functions that the fuzzers call: a seed is of use only while it is accepted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use lfnn_cli::fuzzing;

/// Every file of a folder of this crate's, or beside it, is accepted.
fn all_accepted(folder: &str, accepts: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(accepts(&std::fs::read(&path).unwrap()), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{}", folder.display());
}

#[test]
fn configurations() {
    all_accepted("../fuzz/seeds/configuration", fuzzing::configuration);
    all_accepted("recipes", fuzzing::configuration);
}

#[test]
fn checkpoints() {
    all_accepted("../fuzz/seeds/checkpoint", fuzzing::checkpoint);
}

#[test]
fn steps() {
    all_accepted("../fuzz/seeds/step", fuzzing::step);
}
