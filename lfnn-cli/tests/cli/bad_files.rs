//! Data, checkpoints and disks that are missing, broken or full: each with its message, and exit
//! code 1 for what goes wrong while running.

use std::fs;

use super::support::{Place, SMALL, small_mnist};

const LAST: &str = "runs/digits-lfnn-l-1/checkpoints/last.safetensors";

#[test]
fn a_missing_data_folder_tells_how_to_get_the_data() {
    let place = Place::new();
    place.fails(
        1,
        &["train", "mnist-s", "--data-dir", "nowhere"],
        "nowhere/mnist: not found; expected the folder of mnist; `lfnn-cli data fetch mnist` \
         downloads it",
    );
    assert!(!place.has("runs/mnist-s-lfnn-l-1"));
}

#[test]
fn a_truncated_data_file_is_named() {
    let place = Place::new();
    small_mnist(&place, "data");
    let path = place.path("data/mnist/train-images-idx3-ubyte");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut args = vec!["train", "mnist-s", "--data-dir", "data"];
    args.extend(SMALL);
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(1));
    let start =
        "error: data/mnist/train-images-idx3-ubyte: truncated at 50191 bytes; expected 50192";
    assert!(ended.err.starts_with(start), "{}", ended.err);
}

#[test]
fn a_path_of_a_data_set_is_taken_and_its_absence_named() {
    let place = Place::new();
    place.fails(
        1,
        &["train", "mnist-s", "--set", "dataset.path=elsewhere"],
        "elsewhere: not found; expected the folder of mnist; `lfnn-cli data fetch mnist` downloads it",
    );
}

#[test]
fn an_image_folder_needs_a_path() {
    Place::new().fails(
        2,
        &["train", "digits", "--dry-run", "--set", "dataset.name=folder"],
        "dataset.path: found nothing; expected the path of a folder of images",
    );
}

#[test]
fn a_truncated_checkpoint_is_named() {
    let place = Place::new();
    place.train(&[]);
    let bytes = place.bytes(LAST);
    place.write(LAST, &bytes[..bytes.len() / 2]);
    let message = format!(
        "{LAST}: not a safetensors file, or a truncated one: incomplete metadata, file not fully \
         covered"
    );
    for args in [&["eval", LAST][..], &["predict", LAST, LAST], &["train", "--resume"]] {
        let ended = place.run(args);
        assert_eq!(ended.code, Some(1), "{args:?}");
        let start = format!("error: {LAST}: not a safetensors file, or a truncated one: ");
        assert!(ended.err.starts_with(&start), "{args:?}: {}, expected {message}", ended.err);
    }
}

#[test]
fn any_other_file_is_no_checkpoint() {
    let place = Place::new();
    place.write("text", "no tensors");
    let ended = place.run(&["eval", "text"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.starts_with("error: text: not a safetensors file"), "{}", ended.err);
    let vector = super::support::vectors().join("bp_block.safetensors");
    let vector = vector.to_str().unwrap();
    let message =
        "a safetensors file without the metadata `lfnn`, so not a checkpoint of this program";
    place.fails(1, &["eval", vector], &format!("{vector}: {message}"));
    place.fails(1, &["eval", "nothing"], "nothing: no such run or checkpoint");
    fs::create_dir(place.path("empty")).unwrap();
    place.fails(
        1,
        &["eval", "empty"],
        "empty: not a run's folder with a checkpoint; expected empty/checkpoints/last.safetensors",
    );
}

#[test]
fn the_checkpoint_of_another_network_is_refused() {
    let place = Place::new();
    place.train(&["--out", "one"]);
    place.train(&["--out", "two", "--set", "network.units.0.layers.0.conv.filters=8"]);
    fs::copy(
        place.path("two/checkpoints/last.safetensors"),
        place.path("one/checkpoints/last.safetensors"),
    )
    .unwrap();
    place.fails(
        1,
        &["train", "--resume", "--out", "one"],
        "one/checkpoints/last.safetensors: made with `network.units.0.layers.0.conv.filters` = 8, \
         but config.yaml says 16",
    );
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.write("file", "");
    place.fails(
        1,
        &["train", "--out", "file/run"],
        "file/run: cannot make the folder of the run: Not a directory (os error 20)",
    );
    place.fails(
        1,
        &["train", "--out", "file"],
        "file: cannot make the folder of the run: File exists (os error 17)",
    );
}

/// A limit on the size of files stands for a full disk: the write fails in the same place.
#[cfg(unix)]
#[test]
fn a_full_disk_stops_the_run_and_leaves_no_half_written_checkpoint() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_lfnn-cli");
    let script = format!("trap '' XFSZ; ulimit -f 100; exec '{program}' train --epochs 2");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: runs/digits-lfnn-l-1/checkpoints/best.safetensors: cannot write: File too large \
         (os error 27)\n"
    );
    let left = fs::read_dir(place.path("runs/digits-lfnn-l-1/checkpoints")).unwrap().count();
    assert_eq!(left, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_standard_output_that_is_full_is_an_error_and_one_that_is_closed_is_not() {
    let place = Place::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["recipes"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        err,
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.command(&["recipes", "mnist-s"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_loss_that_is_not_finite_stops_with_unit_and_worker() {
    let place = Place::new();
    let ended = place.run(&["train", "--epochs", "1", "--set", "training.optimizer.sgd.lr=1e30"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.starts_with("error: unit 1: the loss of worker 1 is not finite"),
        "{}",
        ended.err
    );
}

#[test]
fn images_to_predict_that_are_missing_or_broken_are_named() {
    let place = Place::new();
    place.train(&[]);
    place.write("broken.png", "no image");
    place.fails(
        1,
        &["predict", LAST, "nowhere.png"],
        "nowhere.png: cannot read: No such file or directory (os error 2)",
    );
    let ended = place.run(&["predict", LAST, "broken.png"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.starts_with("error: broken.png: cannot be decoded"), "{}", ended.err);
}
