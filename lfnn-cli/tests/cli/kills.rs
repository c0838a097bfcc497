//! Runs that are killed, at random moments and between any two file operations: when they are resumed they end with
//! the bytes of a run that was never killed.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::{Place, record};

/// Methods of every kind: local with leaders, global with leaders, backpropagation, forward gradients.
const METHODS: [&str; 4] = ["lfnn-l", "lfnn", "bp", "lg-fg-a"];

fn settings(method: &str) -> Vec<&str> {
    let mut args = vec!["train", "--method", method, "--tensorboard"];
    for set in ["checkpoints.every_batches=3", "checkpoints.keep_epochs=1"] {
        args.extend(["--set", set]);
    }
    args
}

/// What starts the run in `run`, or resumes it if there is one.
fn again<'a>(place: &Place, settings: &[&'a str]) -> Vec<&'a str> {
    let mut args = settings.to_vec();
    args.extend(["--out", "run"]);
    if place.has("run/config.yaml") {
        args.push("--resume");
    }
    args
}

fn assert_same_end(place: &Place, epochs: usize, context: &str) {
    for file in ["last", "best", &format!("epoch-{epochs:04}")] {
        let path = |run: &str| format!("{run}/checkpoints/{file}.safetensors");
        let (found, expected) = (place.bytes(&path("run")), place.bytes(&path("whole")));
        assert!(found == expected, "{context}: {file} has other bytes");
    }
    assert_eq!(record(place, "run"), record(place, "whole"), "{context}");
    for folder in ["run", "run/checkpoints"] {
        let names = |run: &str| {
            let folder = std::fs::read_dir(place.path(&folder.replace("run", run))).unwrap();
            let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names("run"), names("whole"), "{context}: other files");
    }
}

#[test]
fn a_run_killed_fifty_times_at_random_moments_ends_as_one_that_was_not() {
    for method in METHODS {
        let place = Place::new();
        let mut settings = settings(method);
        settings.extend(["--epochs", "3"]);
        let mut whole = settings.clone();
        whole.extend(["--out", "whole"]);
        place.ok(&whole);
        let mut moments = Vec::new();
        for _ in 0..50 {
            let args = again(&place, &settings);
            let mut child =
                place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let moment = Duration::from_micros(u64::from(now.subsec_nanos()) / 10 % 60_000);
            std::thread::sleep(moment);
            child.kill().unwrap();
            child.wait().unwrap();
            moments.push(moment.as_micros());
        }
        place.ok(&again(&place, &settings));
        assert_same_end(
            &place,
            3,
            &format!("{method}, killed after these microseconds: {moments:?}"),
        );
    }
}

/// The program ends itself before a file operation only in builds with debug assertions.
#[cfg(debug_assertions)]
#[test]
fn a_run_that_ends_before_any_of_its_file_operations_is_resumed_to_the_same_end() {
    for method in METHODS {
        let place = Place::new();
        let mut settings = settings(method);
        settings.extend(["--epochs", "2", "--limit-batches", "5"]);
        let mut whole = settings.clone();
        whole.extend(["--out", "whole"]);
        place.ok(&whole);
        for operation in 1.. {
            let mut command = place.command(&again(&place, &settings));
            command.env("LFNN_TEST_ABORT_AT_FILE_OPERATION", operation.to_string());
            let ended = command.output().unwrap();
            if ended.status.success() {
                assert!(operation > 50, "{method}: only {operation} file operations");
                break;
            }
            let context = format!("{method}, ended before file operation {operation}");
            assert_eq!(ended.status.code(), None, "{context}: {ended:?}");
            place.ok(&again(&place, &settings));
            assert_same_end(&place, 2, &context);
            std::fs::remove_dir_all(place.path("run")).unwrap();
        }
    }
}
