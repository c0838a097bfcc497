//! A run's record is true: numbers keep their last digit, damage is noticed, and data is that of the run.

use std::fs;

use super::support::{Place, record, small_mnist, wait};

fn last(place: &Place, run: &str) -> Vec<u8> {
    place.bytes(&format!("{run}/checkpoints/last.safetensors"))
}

/// Trains `whole` with these arguments, and `run` too, which is killed after this many epochs and resumed.
fn killed_and_resumed(place: &Place, args: &[&str], epochs: usize) {
    place.ok(&[args, &["--out", "whole"]].concat());
    let mut child = place.command(&[args, &["--out", "run"]].concat()).spawn().unwrap();
    wait(|| {
        let rows = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default();
        rows.lines().count() >= epochs
    });
    child.kill().unwrap();
    child.wait().unwrap();
    place.ok(&["-q", "--threads", "1", "train", "--resume", "--out", "run"]);
}

#[test]
fn a_loss_that_needs_its_last_digit_survives_being_resumed() {
    let place = Place::new();
    let args = [
        "--threads",
        "1",
        "-q",
        "train",
        "--seed",
        "6",
        "--epochs",
        "12",
        "--set",
        "training.schedule=constant",
        "--set",
        "training.optimizer.adamw.lr=0.03",
    ];
    killed_and_resumed(&place, &args, 9);
    assert!(last(&place, "run") == last(&place, "whole"));
    assert_eq!(record(&place, "run"), record(&place, "whole"));
}

#[test]
fn a_learning_rate_of_seventeen_digits_can_be_resumed() {
    let place = Place::new();
    let rate = "training.optimizer.adamw.lr=0.0024352369618492894";
    let args = ["-q", "--threads", "1", "train", "--epochs", "6", "--set", rate];
    killed_and_resumed(&place, &args, 2);
    assert!(last(&place, "run") == last(&place, "whole"));
    assert!(place.text("run/config.yaml").contains("0.0024352369618492894"));
}

#[test]
fn resuming_a_finished_run_changes_no_byte_of_its_folder() {
    let place = Place::new();
    place.train(&["--out", "run", "--tensorboard"]);
    let files = || -> Vec<(String, Vec<u8>)> {
        let names = [
            "config.yaml",
            "metrics.jsonl",
            "metrics.csv",
            "origin.json",
            "summary.json",
            "events.out.tfevents.0.lfnn",
            "checkpoints/last.safetensors",
            "checkpoints/best.safetensors",
        ];
        names.map(|name| (name.to_owned(), place.bytes(&format!("run/{name}")))).to_vec()
    };
    let before = files();
    place.ok(&["train", "--resume", "--out", "run", "--tensorboard"]);
    for (before, after) in before.iter().zip(files()) {
        assert!(*before == after, "{} has changed", before.0);
    }
}

#[test]
fn a_bit_that_a_disk_has_flipped_in_a_weight_is_noticed_by_every_command() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.write("one.pgm", [&b"P5\n8 8\n255\n"[..], &[7; 64]].concat());
    let path = "run/checkpoints/last.safetensors";
    let mut bytes = place.bytes(path);
    let at = bytes.len() - 1000;
    bytes[at] ^= 4;
    place.write(path, bytes);
    let error = format!(
        "{path}: the checksum does not match the content: the file was damaged after it was written; take another \
         copy of it, or another checkpoint of the run"
    );
    place.fails(1, &["eval", "run"], &error);
    place.fails(1, &["predict", "run", "one.pgm"], &error);
    place.fails(1, &["export", "run", "--format", "onnx"], &error);
    place.fails(1, &["train", "--resume", "--out", "run"], &error);
    // The advice works.
    fs::copy(place.path("run/checkpoints/best.safetensors"), place.path(path)).unwrap();
    place.ok(&["train", "--resume", "--out", "run"]);
}

#[test]
fn a_damaged_line_of_the_metrics_costs_that_line_alone_and_is_said() {
    let place = Place::new();
    let train = ["train", "--epochs", "4", "--limit-batches", "4"];
    place.ok(&[&train[..], &["--out", "run"]].concat());
    let text = place.text("run/metrics.jsonl");
    let mut lines: Vec<String> = text.lines().map(|line| line.to_owned() + "\n").collect();
    lines[1] = lines[1].replace("\"epoch\":2", "\"epoch\"\u{7f}2");
    place.write("run/metrics.jsonl", lines.concat());
    fs::remove_file(place.path("run/summary.json")).unwrap();

    let ended = place.run(&["train", "--resume", "--out", "run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let notes: Vec<&str> = ended.err.lines().collect();
    assert_eq!(notes.len(), 2, "{}", ended.err);
    assert!(notes[0].starts_with("note: run/metrics.jsonl: line 2 is damaged ("), "{}", notes[0]);
    assert!(notes[0].ends_with("; the file as it was is now run/metrics.jsonl.damaged-1"));
    assert_eq!(notes[1], "note: run/metrics.jsonl: the metrics of these epochs are missing: 2");
    assert_eq!(place.text("run/metrics.jsonl.damaged-1"), lines.concat());
    // The other lines are as they were, and the summary counts what was trained.
    lines.remove(1);
    assert_eq!(place.text("run/metrics.jsonl"), lines.concat());
    assert_eq!(place.text("run/metrics.csv").lines().count(), 4);
    assert_eq!(place.json("run/summary.json")["examples"], 4 * 4 * 32);
}

#[test]
fn whoever_only_reads_damaged_metrics_is_told_the_line() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let text = place.text("run/metrics.jsonl").replacen("{\"epoch\"", "{epoch\"", 1);
    place.write("run/metrics.jsonl", text);
    let ended = place.run(&["plot", "run"]);
    assert_eq!(ended.code, Some(1));
    let begin = "error: run/metrics.jsonl, line 1: not a row of metrics: ";
    assert!(ended.err.starts_with(begin), "{}", ended.err);
}

#[test]
fn metrics_that_are_missing_at_their_end_are_said_to_be_missing() {
    let place = Place::new();
    place.ok(&["train", "--epochs", "4", "--limit-batches", "4", "--out", "run"]);
    let text = place.text("run/metrics.jsonl");
    let kept: String = text.lines().take(2).map(|line| line.to_owned() + "\n").collect();
    place.write("run/metrics.jsonl", kept + "{\"epoch\":3,\"lear");
    fs::remove_file(place.path("run/summary.json")).unwrap();
    let ended = place.run(&["train", "--resume", "--out", "run"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.err,
        "note: run/metrics.jsonl: the metrics of these epochs are missing: 3, 4\n"
    );
    let summary = place.json("run/summary.json");
    assert_eq!(summary["examples"], 4 * 4 * 32);
    assert_eq!((&summary["epochs"], &summary["test_error"]), (&4.into(), &serde_json::Value::Null));
}

/// A run on `small_mnist` that stopped after an epoch of two.
fn stopped_on_mnist(place: &Place) -> Vec<&'static str> {
    small_mnist(place, "data");
    let mut args = vec!["train", "mnist-s", "--data-dir", "data", "--out", "run", "--epochs", "2"];
    args.extend(["--set", "dataset.validation=10", "--set", "training.batch_size=16"]);
    let mut command = place.command(&args);
    // Within the second epoch's save.
    command.env("LFNN_TEST_ABORT_AT_FILE_OPERATION", "51");
    assert!(!command.output().unwrap().status.success());
    assert!(place.has("run/checkpoints/last.safetensors") && !place.has("run/summary.json"));
    vec!["train", "--resume", "--out", "run"]
}

#[cfg(debug_assertions)]
#[test]
fn a_run_is_not_resumed_on_other_data() {
    let place = Place::new();
    let mut resume = stopped_on_mnist(&place);
    let images = "data/mnist/train-images-idx3-ubyte";
    let mut bytes = place.bytes(images);
    bytes[5000] ^= 1;
    place.write(images, &bytes);
    resume.extend(["--data-dir", "data"]);
    let ended = place.run(&resume);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.starts_with(
            "error: run: the data differs from the data that the run started with: its digest is "
        ),
        "{}",
        ended.err
    );
    // To evaluate it is possible, with a note.
    let ended = place.run(&["eval", "run", "--data-dir", "data"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let note =
        "note: this is not the data of the run: images, labels or their order have changed\n";
    assert_eq!(ended.err, note);
    bytes[5000] ^= 1;
    place.write(images, bytes);
    place.ok(&resume);
    place.ok(&["eval", "run", "--data-dir", "data"]);
}

#[cfg(debug_assertions)]
#[test]
fn data_that_has_moved_is_found_where_it_is_now() {
    let place = Place::new();
    let mut resume = stopped_on_mnist(&place);
    fs::rename(place.path("data/mnist"), place.path("elsewhere")).unwrap();
    let mut lost = resume.clone();
    lost.extend(["--data-dir", "data"]);
    assert_eq!(place.run(&lost).code, Some(1));
    resume.extend(["--set", "dataset.path=elsewhere"]);
    place.ok(&resume);
    assert!(place.text("run/config.yaml").contains("path: elsewhere"));
    // From now on it is known.
    place.ok(&["train", "--resume", "--out", "run"]);
    place.ok(&["eval", "run"]);
    fs::rename(place.path("elsewhere"), place.path("again")).unwrap();
    place.ok(&["eval", "run", "--data", "again"]);
}

#[test]
fn numbers_that_are_not_finite_end_the_training_and_are_never_saved() {
    let place = Place::new();
    let args = ["train", "--out", "run", "--epochs", "3", "--set", "training.optimizer.adamw=null"];
    let ended =
        place.run(&[&args[..5], &["--set", "training.optimizer={sgd: {lr: 1e10}}"]].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(ended.err.contains("not finite"), "{}", ended.err);
    for name in ["last", "best"] {
        assert!(!place.has(&format!("run/checkpoints/{name}.safetensors")), "{name}");
    }
    assert!(!place.has("run/metrics.jsonl"), "a row of an epoch that was not saved");
}

#[test]
fn what_killed_processes_left_is_removed_when_the_run_is_resumed() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    for left_over in ["run/.writing-x1y2z3", "run/checkpoints/.writing-Ab9"] {
        place.write(left_over, [0; 5000]);
        place.ok(&["train", "--resume", "--out", "run"]);
        assert!(!place.has(left_over), "{left_over}");
    }
}
