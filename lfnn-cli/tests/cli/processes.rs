//! A training among others: signals, launchers, lost logs, full disks, and two runs for one folder.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::{Place, send, wait};

#[cfg(unix)]
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for signal in ["HUP", "INT", "TERM"] {
        let place = Place::new();
        let program = env!("CARGO_BIN_EXE_lfnn-cli");
        let script = format!("trap '' {signal}; exec {program} train --out run --epochs 60 > log");
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", &script]).current_dir(place.path(".")).spawn().unwrap();
        wait(|| place.has("run/metrics.jsonl"));
        for _ in 0..2 {
            send(signal, &child);
        }
        assert!(child.wait().unwrap().success(), "{signal}: {}", place.text("log"));
        assert_eq!(place.json("run/summary.json")["epochs"], 60, "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_does_not_end_the_training() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["-q", "train", "--epochs", "2", "--out", "run"]);
    let ended = command.stdout(full).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert_eq!(
        err,
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
    assert_eq!(place.json("run/summary.json")["epochs"], 2);
}

#[cfg(unix)]
#[test]
fn a_log_that_can_no_longer_be_written_is_said_once_and_nothing_is_lost() {
    let place = Place::new();
    // No file may grow beyond 236 blocks of 512 bytes. The log is almost there; the run's files are far smaller.
    let program = env!("CARGO_BIN_EXE_lfnn-cli");
    place.write("log", vec![b'.'; 120_000]);
    place.write("tiny.yaml", TINY);
    let script = format!(
        "trap '' XFSZ; ulimit -f 236; exec {program} train --config tiny.yaml --out run >> log"
    );
    let ended =
        Command::new("sh").args(["-c", &script]).current_dir(place.path(".")).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    let note = "note: cannot write to standard output: File too large (os error 27); the work continues without it\n";
    assert!(err.starts_with(note), "{err}");
    assert_eq!(err.matches("continues").count(), 1, "{err}");
    assert_eq!(place.json("run/summary.json")["epochs"], 30, "{err}");
}

/// A network whose files are small.
const TINY: &str = "
recipe: tiny
dataset: {name: digits, validation: 100}
network: {units: [{layers: [flatten], workers: {neurons: {count: 1}}}]}
training: {batch_size: 64, epochs: 30, optimizer: {sgd: {lr: 0.1}}}
";

#[cfg(unix)]
#[test]
fn on_a_full_disk_the_last_checkpoint_stays_and_the_run_is_resumed_later() {
    let place = Place::new();
    let train = ["train", "--epochs", "4", "--limit-batches", "4"];
    place.ok(&[&train[..], &["--out", "whole"]].concat());
    let program = env!("CARGO_BIN_EXE_lfnn-cli");
    let size = place.bytes("whole/checkpoints/last.safetensors").len();
    let metrics = place.bytes("whole/metrics.jsonl").len();
    assert!(metrics > 4096 && size > metrics, "the limit below is one for the checkpoint");
    let script = format!(
        "trap '' XFSZ; ulimit -f {}; exec {program} {} --out run",
        size / 512 / 2,
        train.join(" ")
    );
    let ended =
        Command::new("sh").args(["-c", &script]).current_dir(place.path(".")).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(err.contains("checkpoints/best.safetensors: cannot write: File too large"), "{err}");
    assert_eq!(std::fs::read_dir(place.path("run/checkpoints")).unwrap().count(), 0);
    place.ok(&[&train[..], &["--out", "run", "--resume"]].concat());
    let last = |run: &str| place.bytes(&format!("{run}/checkpoints/last.safetensors"));
    assert!(last("run") == last("whole"));
}

#[test]
fn of_several_processes_that_a_launcher_starts_none_trains() {
    for (name, count) in
        [("OMPI_COMM_WORLD_SIZE", "2"), ("PMI_SIZE", "3"), ("SLURM_STEP_NUM_TASKS", "4")]
    {
        for command in [&["train", "--out", "run"][..], &["reproduce", "fig6", "--out", "run"]] {
            let place = Place::new();
            let ended = place.command(command).env(name, count).output().unwrap();
            assert_eq!(ended.status.code(), Some(2));
            assert_eq!(
                String::from_utf8(ended.stderr).unwrap(),
                format!(
                    "error: a launcher started {count} processes ({name}={count}), but training uses one process; \
                     start lfnn-cli without the launcher, or with a count of 1\n"
                )
            );
            assert!(!place.has("run"));
        }
    }
    let place = Place::new();
    let mut command = place.command(&["train", "--epochs", "1", "--out", "run"]);
    assert!(
        command.env("OMPI_COMM_WORLD_SIZE", "1").stdout(Stdio::null()).status().unwrap().success()
    );
}

#[test]
fn of_runs_that_start_at_once_in_one_folder_one_trains_and_its_record_is_its_own() {
    for round in 0..4 {
        let place = Place::new();
        let start = |seed: u64| {
            let seed = seed.to_string();
            let args = ["train", "--out", "run", "--epochs", "4", "--seed", &seed];
            place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let ended: Vec<_> = [1, 2, 3]
            .map(start)
            .into_iter()
            .map(|child| child.wait_with_output().unwrap())
            .collect();
        let winners: Vec<u64> = (1..)
            .zip(&ended)
            .filter(|(_, ended)| ended.status.success())
            .map(|(seed, _)| seed)
            .collect();
        let [seed] = winners[..] else { panic!("round {round}: {ended:?}") };
        for loser in ended.iter().filter(|ended| !ended.status.success()) {
            let err = String::from_utf8_lossy(&loser.stderr);
            assert!(
                err.contains("another process trains in this folder")
                    || err.contains("this folder already holds a run"),
                "{err}"
            );
        }
        assert_eq!(place.json("run/summary.json")["seed"], seed);
        assert!(place.text("run/config.yaml").contains(&format!("seed: {seed}")));
        place.ok(&["train", "--resume", "--out", "run"]);
    }
}

#[test]
fn a_configuration_that_an_editor_replaces_leaves_the_folder_locked() {
    let place = Place::new();
    let args = ["train", "--out", "run", "--epochs", "500"];
    let mut child = place.command(&args).stdout(Stdio::null()).spawn().unwrap();
    wait(|| place.has("run/metrics.jsonl"));
    std::fs::copy(place.path("run/config.yaml"), place.path("run/config.new")).unwrap();
    std::fs::rename(place.path("run/config.new"), place.path("run/config.yaml")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let second = place.run(&["train", "--resume", "--out", "run"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(second.code, Some(1));
    assert_eq!(second.err, "error: run: another process trains in this folder\n");
}
