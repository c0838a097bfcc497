//! The fuzzers' seeds go through the functions that the fuzzers call: a seed is of use only while it is accepted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use lfnn_cli::fuzzing;

/// Every file of a folder of this crate's, or beside it, is accepted.
fn all_accepted(folder: &str, accepts: impl Fn(&[u8]) -> bool) {
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
    // A folder of images is the user's own, so a recipe for one names none.
    let is_for_own_images = |text: &[u8]| String::from_utf8_lossy(text).contains("name: folder");
    all_accepted("recipes", move |text| is_for_own_images(text) || fuzzing::configuration(text));
}

#[test]
fn checkpoints() {
    all_accepted("../fuzz/seeds/checkpoint", fuzzing::checkpoint);
}

#[test]
fn steps() {
    all_accepted("../fuzz/seeds/step", fuzzing::step);
}
