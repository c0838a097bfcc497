//! The examples of all crates run to their end, in which they check their results.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::process::Command;

#[test]
fn every_example_runs() {
    for package in ["lfnn-cpu", "lfnn-cuda"] {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("examples");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        // It needs NVIDIA's compiler, and has a script of its own.
        names.retain(|name| name != "check-kernels");
        names.sort();
        assert!(!names.is_empty());
        for name in names {
            let cargo = ["run", "--quiet", "--offline", "--package", package, "--example", &name];
            let output = Command::new(env!("CARGO")).args(cargo).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{package}, {name}: {error}");
        }
    }
}
