//! Runs that are interrupted, by Ctrl-C or by force, and go on: they end with the same bytes as one
//! that was not.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::support::Place;

const SETTINGS: [&str; 5] = ["train", "--epochs", "12", "--set", "checkpoints.every_batches=7"];

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut all = SETTINGS.to_vec();
    all.extend(more);
    all
}

/// Starts a run and waits until it has trained this many epochs and a moment that nobody chose.
fn start(place: &Place, args: &[&str], epochs: usize) -> Child {
    let child = place.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    let rows = || std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default();
    while rows().lines().count() < epochs {
        assert!(begin.elapsed() < Duration::from_secs(60), "no epoch in a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_micros(u64::from(now.subsec_nanos()) % 50_000));
    child
}

fn uninterrupted(place: &Place) -> Vec<u8> {
    place.ok(&args(&["--out", "whole"]));
    place.bytes("whole/checkpoints/last.safetensors")
}

fn same_end(place: &Place, whole: &[u8]) {
    assert!(place.bytes("run/checkpoints/last.safetensors") == whole, "other bytes at the end");
    assert_eq!(
        place.bytes("run/checkpoints/best.safetensors"),
        place.bytes("whole/checkpoints/best.safetensors")
    );
    let epochs = |out: &str| -> Vec<(u64, f64)> {
        let text = place.text(&format!("{out}/metrics.jsonl"));
        let row = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["epoch"].as_u64().unwrap(), row["train"]["loss"].as_f64().unwrap())
        };
        text.lines().map(row).collect()
    };
    assert_eq!(epochs("run"), epochs("whole"));
    let csv = place.text("run/metrics.csv");
    assert_eq!(csv.lines().count(), 13, "a head and a line for each epoch:\n{csv}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_tells_how_to_go_on_and_loses_nothing() {
    let place = Place::new();
    let whole = uninterrupted(&place);
    let mut command = args(&["--out", "run"]);
    for epochs in [1, 4] {
        let child = start(&place, &command, epochs);
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let ended = child.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(130), "{err}");
        assert!(err.starts_with("stopped and saved "), "{err}");
        assert!(err.ends_with("to go on:\n  lfnn-cli train --resume --out run\n"), "{err}");
        command = vec!["train", "--resume", "--out", "run"];
    }
    place.ok(&command);
    same_end(&place, &whole);
}

#[test]
fn a_run_that_was_killed_goes_on_from_its_last_checkpoint() {
    let place = Place::new();
    let whole = uninterrupted(&place);
    let mut command = args(&["--out", "run"]);
    for epochs in [1, 3] {
        let mut child = start(&place, &command, epochs);
        child.kill().unwrap();
        child.wait().unwrap();
        command = args(&["--resume", "--out", "run"]);
    }
    let out = place.ok(&command);
    assert!(out.contains("goes on "), "{out}");
    same_end(&place, &whole);
}

#[test]
fn resume_takes_the_newest_default_folder_and_a_finished_run_says_so() {
    let place = Place::new();
    place.train(&[]);
    place.train(&[]);
    assert!(place.has("runs/digits-lfnn-l-1-2/summary.json"));
    let out = place.ok(&["train", "--resume"]);
    assert!(
        out.contains("folder: runs/digits-lfnn-l-1-2\nthis run is finished already\n"),
        "{out}"
    );
}

#[test]
fn resume_without_a_checkpoint_begins_at_the_beginning() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let whole = place.bytes("run/checkpoints/last.safetensors");
    std::fs::remove_file(place.path("run/checkpoints/last.safetensors")).unwrap();
    place.ok(&["train", "--resume", "--out", "run"]);
    assert!(place.bytes("run/checkpoints/last.safetensors") == whole);
}

#[test]
fn resume_refuses_other_settings_and_folders_without_a_run() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.fails(
        2,
        &["train", "--resume", "--out", "run", "--epochs", "20"],
        "run: `training.epochs` is 2 in this run, but 20 is asked for; a run goes on with its own \
         settings, because others would change its result (leave the option out, or start a new \
         run)",
    );
    place.fails(
        2,
        &["train", "--resume", "--out", "nowhere"],
        "nowhere: there is no run to go on with (no config.yaml)",
    );
    place.fails(
        2,
        &["train", "--resume", "--seed", "5"],
        "runs/digits-lfnn-l-5: there is no run to go on with; --out names one",
    );
    place.ok(&["train", "--resume", "--out", "run", "--epochs", "2"]);
}

#[test]
fn two_processes_do_not_train_in_one_folder() {
    let place = Place::new();
    let mut child = start(&place, &args(&["--out", "run", "--set", "training.epochs=500"]), 1);
    let ended = place.run(&["train", "--resume", "--out", "run"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.err, "error: run: another process trains in this folder\n");
}
