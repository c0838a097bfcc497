//! Runs that are interrupted, by Ctrl-C or by force, and go on: they end with the same bytes as one
//! that was not.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::{Place, send, small_mnist, wait};

const SETTINGS: [&str; 5] = ["train", "--epochs", "12", "--set", "checkpoints.every_batches=7"];

/// Handled as Ctrl-C's INT is. A shell makes its background jobs ignore INT, and so the programs that tests start
/// there.
#[cfg(unix)]
const INTERRUPT: &str = "TERM";

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut all = SETTINGS.to_vec();
    all.extend(more);
    all
}

/// Starts a run and waits until it has trained this many epochs and a moment that nobody chose.
fn start(place: &Place, args: &[&str], epochs: usize) -> Child {
    let child = place.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let rows = || std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default();
    wait(|| rows().lines().count() >= epochs);
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
        send(INTERRUPT, &child);
        let ended = child.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(130), "{err}");
        assert!(err.starts_with("stopped and saved "), "{err}");
        let program = env!("CARGO_BIN_EXE_lfnn-cli");
        let resume = format!("to resume:\n  {program} train --resume --out run\n");
        assert!(err.ends_with(&resume), "{err}");
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
    assert!(out.contains("resuming "), "{out}");
    same_end(&place, &whole);
}

#[test]
fn resume_takes_the_newest_default_folder_whichever_were_deleted() {
    let place = Place::new();
    let finished = |folder: &str| {
        let out = place.ok(&["train", "--resume"]);
        let expected = format!("folder: {folder}\nrun already finished\n");
        assert!(out.contains(&expected), "{out}");
    };
    place.train(&[]);
    place.train(&[]);
    finished("runs/digits-lfnn-l-1-2");
    std::fs::remove_dir_all(place.path("runs/digits-lfnn-l-1")).unwrap();
    finished("runs/digits-lfnn-l-1-2");
    place.train(&[]);
    finished("runs/digits-lfnn-l-1-3");
    // A folder without a run, and names that only look alike, are no runs.
    for name in ["digits-lfnn-l-1-7", "digits-lfnn-l-1-x", "digits-lfnn-l-12"] {
        std::fs::create_dir(place.path(&format!("runs/{name}"))).unwrap();
    }
    finished("runs/digits-lfnn-l-1-3");
}

#[cfg(unix)]
#[test]
fn the_command_that_resumes_a_run_can_be_typed_as_it_is_printed() {
    let place = Place::new();
    small_mnist(&place, "my data");
    let command = [
        "--backend",
        "cpu",
        "--threads",
        "1",
        "train",
        "mnist-s",
        "--data-dir",
        "my data",
        "--out",
        "it's a run",
        "--epochs",
        "500",
        "--set",
        "dataset.validation=0",
        "--set",
        "training.batch_size=16",
    ];
    let child =
        place.command(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait(|| place.has("it's a run/metrics.jsonl"));
    send(INTERRUPT, &child);
    let err = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    let printed = err.lines().last().unwrap().trim();
    assert!(
        printed.ends_with(
            "--backend cpu --threads 1 train --resume --out \"it's a run\" --data-dir 'my data'"
        ),
        "{printed}"
    );
    // It is resumed, and stopped again.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {printed}")]).current_dir(place.path("."));
    let child = shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    send(INTERRUPT, &child);
    let ended = child.wait_with_output().unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{out}");
    assert!(out.contains("resuming "), "{out}");
}

#[test]
fn resume_without_a_checkpoint_begins_at_the_beginning() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let whole = place.bytes("run/checkpoints/last.safetensors");
    std::fs::remove_file(place.path("run/checkpoints/last.safetensors")).unwrap();
    let out = place.ok(&["train", "--resume", "--out", "run"]);
    assert!(out.contains("no checkpoint yet; the run starts from its first epoch"), "{out}");
    assert!(place.bytes("run/checkpoints/last.safetensors") == whole);
}

#[test]
fn resume_refuses_other_settings_and_folders_without_a_run() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.fails(
        2,
        &["train", "--resume", "--out", "run", "--epochs", "20"],
        "run: `training.epochs` is 2 in this run, but the command line sets 20; a run is resumed with its own \
         settings, because others would change its result (leave the option out, or start a new run)",
    );
    place.fails(
        2,
        &["train", "--resume", "--out", "nowhere"],
        "nowhere: no run to resume (there is no config.yaml)",
    );
    place.fails(
        2,
        &["train", "--resume", "--seed", "5"],
        "runs/digits-lfnn-l-5: no run to resume; --out names another folder",
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
