//! A folder to run the program in, and data sets small enough for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A folder of its own in which the program runs.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, to be run inside.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lfnn-cli"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("LFNN_DATA_DIR").env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let output = self.command(args).output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the program, which must succeed, and gives its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{args:?}\n{}", ended.out);
        ended.out
    }

    /// Runs the program, which must fail with this code and this error.
    pub(crate) fn fails(&self, code: i32, args: &[&str], error: &str) {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(code), "{args:?}\n{}\n{}", ended.out, ended.err);
        assert_eq!(ended.err, format!("error: {error}\n"), "{args:?}");
    }

    /// Trains the digits in a moment and gives the standard output.
    pub(crate) fn train(&self, args: &[&str]) -> String {
        let mut all = vec!["train", "--epochs", "2", "--limit-batches", "6"];
        all.extend(args);
        self.ok(&all)
    }

    /// Reads a file.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Reads a file as text.
    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of JSON.
    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// Whether something is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

/// Sends a signal to a process.
#[cfg(unix)]
pub(crate) fn send(signal: &str, process: &std::process::Child) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args([format!("-{signal}"), id]).status().unwrap().success());
}

/// Waits until something is so.
pub(crate) fn wait(until: impl Fn() -> bool) {
    let begin = Instant::now();
    while !until() {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing in a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a run has recorded, but for times and memory: its metrics and its summary.
pub(crate) fn record(place: &Place, run: &str) -> Vec<serde_json::Value> {
    let text = place.text(&format!("{run}/metrics.jsonl"));
    let mut all: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    all.push(place.json(&format!("{run}/summary.json")));
    let timed = ["seconds", "images_per_second", "peak_memory_bytes"];
    for value in &mut all {
        value.as_object_mut().unwrap().retain(|key, _| !timed.contains(&key.as_str()));
    }
    // The same numbers to the last digit, without the columns of times and memory.
    let csv = place.text(&format!("{run}/metrics.csv"));
    for line in csv.lines() {
        let columns: Vec<&str> = line.split(',').collect();
        all.push(serde_json::json!([&columns[..2], &columns[5..]]));
    }
    all
}

/// MNIST's files with a few images below `root`.
pub(crate) fn small_mnist(place: &Place, root: &str) {
    for (prefix, count) in [("train", 64u32), ("t10k", 20)] {
        let mut images = vec![0, 0, 8, 3];
        for extent in [count, 28, 28] {
            images.extend(extent.to_be_bytes());
        }
        images.extend((0..count as usize * 784).map(|i| (i * 7 % 251) as u8));
        let mut labels = vec![0, 0, 8, 1];
        labels.extend(count.to_be_bytes());
        labels.extend((0..count).map(|i| (i % 10) as u8));
        place.write(&format!("{root}/mnist/{prefix}-images-idx3-ubyte"), images);
        place.write(&format!("{root}/mnist/{prefix}-labels-idx1-ubyte"), labels);
    }
}

/// What makes a recipe for MNIST fit `small_mnist`.
pub(crate) const SMALL: [&str; 6] =
    ["--set", "dataset.validation=10", "--set", "training.batch_size=16", "--epochs", "1"];

/// A Python that has these modules: the one named, or the usual one.
pub(crate) fn python(modules: &str) -> Option<String> {
    let named = std::env::var("LFNN_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&named).args(["-c", &format!("import {modules}")]).output();
    has.is_ok_and(|output| output.status.success()).then_some(named)
}

/// Saved vectors of whole training steps.
pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}
