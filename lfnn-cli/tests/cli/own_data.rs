//! Tables and arrays of a user's own, and regression: trained, resumed and compared with scikit-learn.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use lfnn_core::method::METHODS;
use serde_json::Value;

use super::support::{Place, python, record};

const IRIS: &str = "../lfnn-cpu/examples/data/iris.csv";

/// A configuration for the table `t.csv` with its target `y`.
pub(crate) fn config(dataset: &str, task: &str) -> String {
    format!(
        "dataset: {{name: table, path: t.csv, target: y{dataset}}}
network:
  task: {task}
  units:
    - {{layers: [flatten, {{linear: {{features: 16}}}}, relu], workers: {{readout: {{count: 4}}}}}}
    - {{layers: [{{linear: {{features: 16}}}}, relu], workers: {{readout: {{count: 4}}}}}}
training: {{batch_size: 16, epochs: 4, optimizer: {{adam: {{lr: 0.01}}}}}}
"
    )
}

/// 120 rows whose target is a function of two columns of numbers and one of text.
pub(crate) fn rows(target: impl Fn(f64, f64, bool) -> String) -> String {
    let mut text = "a,b,kind,y\n".to_owned();
    for i in 0..120u32 {
        let (a, b, odd) = (f64::from(i * 37 % 120) / 20.0, f64::from(i * 71 % 120), i % 2 == 1);
        let kind = if odd { "odd" } else { "even" };
        writeln!(text, "{a},{b},{kind},{}", target(a, b, odd)).unwrap();
    }
    text
}

/// A target in units of its own.
pub(crate) fn price(a: f64, b: f64, odd: bool) -> String {
    (5000.0 + 300.0 * a - 10.0 * b + if odd { 200.0 } else { 0.0 }).to_string()
}

pub(crate) fn above(a: f64, b: f64, _: bool) -> String {
    if 20.0 * a + b > 120.0 { "above" } else { "below" }.into()
}

#[test]
fn a_table_trains_with_its_own_words_and_its_classes_are_counted() {
    let place = Place::new();
    place.write("t.csv", fs::read(IRIS).unwrap());
    place.write(
        "c.yaml",
        config(", validation: 20", "classification").replace("target: y", "target: species"),
    );
    let out = place.ok(&["train", "--config", "c.yaml", "--epochs", "20", "--out", "run"]);
    let data = "data: t.csv, 100 training, 20 validation and 30 test rows, 4 features, \
                3 classes (setosa, versicolor, virginica)\n";
    assert!(out.contains(data), "{out}");
    assert!(out.contains("  rows/s  ") && !out.contains("images"), "{out}");
    let summary = place.json("run/summary.json");
    assert!(summary["test_error"].as_f64().unwrap() < 15.0, "{summary}");
    let class = &summary["classes"][2];
    assert_eq!(class["name"], "virginica");
    let counts = ["train", "validation", "test"].map(|part| class[part].as_u64().unwrap());
    // 50 of each: a fifth is tested on, and 20 of 120 rows are held out.
    assert_eq!(counts[2], 10);
    assert_eq!(counts[0] + counts[1], 40);
    assert!((6..=7).contains(&counts[1]), "{counts:?}");
    // The same seed splits alike, another one does not.
    let digest = |seed: &str, out: &str| {
        place.ok(&[
            "train", "--config", "c.yaml", "--epochs", "1", "--seed", seed, "--out", out, "-q",
        ]);
        place.json(&format!("{out}/summary.json"))["data"].clone()
    };
    assert_eq!(digest("1", "one"), summary["data"]);
    assert_ne!(digest("2", "two"), summary["data"]);
    let plan = place.ok(&["train", "--config", "c.yaml", "--dry-run"]);
    assert!(
        plan.contains("t.csv: rows of 4 features, 3 classes, 100 to train on, 20 held out"),
        "{plan}"
    );
    assert!(plan.contains("training rows, in addition: "), "{plan}");
}

#[test]
fn every_method_trains_on_classes_on_two_classes_and_on_numbers() {
    let place = Place::new();
    let two = rows(above);
    let three = rows(|a, _, odd| if odd { "odd".into() } else { format!("{}", u8::from(a > 3.0)) });
    for (task, table, r2) in [
        ("classification", &three, false),
        ("binary", &two, false),
        ("one_vs_all", &three, false),
        ("regression", &rows(price), true),
    ] {
        place.write("t.csv", table);
        let of_neurons = "workers: {neurons: {count: 4}}";
        let config = config("", task);
        // One-vs-all networks have no other workers, and no shared layers with weights.
        let config = match task {
            "one_vs_all" => config
                .replace("workers: {readout: {count: 4}}", of_neurons)
                .replace("{linear: {features: 16}}, relu", "")
                .replace("flatten, ", "flatten"),
            _ => config,
        };
        place.write("c.yaml", config);
        for method in METHODS {
            let out = format!("{task}-{}", method.name);
            let ended = place.run(&[
                "train",
                "--config",
                "c.yaml",
                "-q",
                "--method",
                method.name,
                "--out",
                &out,
            ]);
            assert_eq!(ended.code, Some(0), "{out}: {}", ended.err);
            let summary = place.json(&format!("{out}/summary.json"));
            assert_eq!(summary.get("test_error").is_none(), r2, "{out}: {summary}");
            assert_eq!(summary.get("test_r2").is_some(), r2, "{out}: {summary}");
            assert_eq!(summary["values"].get("y").is_some(), r2, "{out}: {summary}");
            // It learned something: the loss is lower than at first.
            let text = place.text(&format!("{out}/metrics.jsonl"));
            let loss = |line: &str| {
                let row: Value = serde_json::from_str(line).unwrap();
                row["train"]["loss"].as_f64().unwrap()
            };
            let losses: Vec<f64> = text.lines().map(loss).collect();
            let exact = method.name != "fg-w" && method.name != "lg-fg-w";
            assert!(!exact || losses[3] < losses[0], "{out}: {losses:?}");
        }
    }
}

#[test]
fn a_regression_reports_its_own_units_and_resumes_to_the_same_bytes() {
    let place = Place::new();
    place.write("t.csv", rows(price));
    place.write("c.yaml", config(", validation: 16", "regression"));
    let train =
        ["--threads", "1", "train", "--config", "c.yaml", "--epochs", "60", "--tensorboard"];
    let ended = place.run(&[&train[..], &["--out", "whole"]].concat());
    let note = "note: text becomes one feature per category: `kind` (2)\n";
    assert_eq!((ended.code, &ended.err[..]), (Some(0), note));
    let out = ended.out;
    assert!(out.contains("1 value (y)\n"), "{out}");
    assert!(out.contains("  train R²  validation   test R²    rows/s  "), "{out}");
    assert!(!out.contains('%') || out.contains("as leader, %"), "{out}");
    let summary = place.json("whole/summary.json");
    let scores = |key: &str| summary["values"]["y"][key].as_f64().unwrap();
    assert!(scores("r2") > 0.9, "{summary}");
    assert!((scores("r2") - summary["test_r2"].as_f64().unwrap()).abs() < 1e-5, "{summary}");
    // Prices vary by hundreds, and so do errors.
    assert!(scores("mae") > 5.0 && scores("mae") < scores("mse").sqrt() + 1e-9, "{summary}");
    // The best epoch is that of the lowest validation loss.
    let rows: Vec<Value> = place
        .text("whole/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let loss = |row: &Value| row["validation"]["loss"].as_f64().unwrap();
    let best = rows.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
    assert_eq!(summary["best"]["epoch"], best["epoch"]);
    let csv = place.text("whole/metrics.csv");
    assert!(csv.starts_with("epoch,") && csv.contains(",test_r2,"), "{csv}");

    let mut child = place
        .command(&[&train[..], &["--out", "run"]].concat())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    super::support::wait(|| {
        let rows = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default();
        rows.lines().count() >= 3
    });
    child.kill().unwrap();
    child.wait().unwrap();
    place.ok(&["-q", "--threads", "1", "train", "--resume", "--out", "run"]);
    for file in ["last", "best"] {
        let bytes = |run: &str| place.bytes(&format!("{run}/checkpoints/{file}.safetensors"));
        assert!(bytes("run") == bytes("whole"), "{file}");
    }
    assert_eq!(record(&place, "run"), record(&place, "whole"));
    // A changed number to predict is another data set.
    let changed = place.text("t.csv").replacen("5", "6", 1);
    place.write("t.csv", changed);
    let ended = place.run(&["train", "--resume", "--out", "run"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("the data differs"), "{}", ended.err);
}

#[cfg(feature = "report")]
#[test]
fn curves_of_a_regression_are_drawn_beside_those_of_a_classification() {
    let place = Place::new();
    place.write("t.csv", rows(price));
    place.write("c.yaml", config("", "regression"));
    place.ok(&["train", "--config", "c.yaml", "-q", "--out", "values"]);
    place.write("t.csv", rows(above));
    place.write("c.yaml", config("", "binary"));
    place.ok(&["train", "--config", "c.yaml", "-q", "--out", "classes"]);
    place.ok(&["plot", "values", "classes", "--out", "charts"]);
    let svg = place.text("charts/curves.svg");
    for label in ["test R²", "test error, %", "training loss"] {
        assert!(svg.contains(label), "{label}");
    }
    // What a run does not measure is left out, not zero.
    place.ok(&["report", "values"]);
    let page = place.text("values/report.html");
    assert!(page.contains("Predicted values on the test data") && page.contains("test R²"));
    assert!(!page.contains("error, %"), "a regression has no error");
    place.ok(&["report", "classes"]);
    assert!(place.text("classes/report.html").contains("<td>above</td>"));
}

#[test]
fn arrays_train_as_images_and_as_features() {
    let place = Place::new();
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for i in 0..80u32 {
        // A bright left or right half.
        labels.push((i % 2) as u8);
        pixels.extend(
            (0..64u32)
                .map(|at| if (at % 8 < 4) == (i % 2 == 0) { 200 } else { (i * at % 50) as u8 }),
        );
    }
    let npy = |shape: &str, bytes: &[u8]| {
        let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        let text = format!("{text:<117}\n");
        [
            b"\x93NUMPY\x01\x00",
            &u16::try_from(text.len()).unwrap().to_le_bytes()[..],
            text.as_bytes(),
            bytes,
        ]
        .concat()
    };
    place.write("a/x_train.npy", npy("(80, 8, 8)", &pixels));
    place.write("a/y_train.npy", npy("(80,)", &labels));
    place.write(
        "c.yaml",
        "dataset: {name: arrays, path: a, test: 0.25, validation: 10}
network:
  units:
    - {layers: [{conv: {filters: 8, kernel: 3}}, relu], workers: {readout: {count: 2}}}
training: {batch_size: 10, epochs: 5, optimizer: {adam: {lr: 0.01}}}
",
    );
    let out = place.ok(&["train", "--config", "c.yaml", "--out", "run"]);
    let data =
        "data: a, 50 training, 10 validation and 20 test examples of 8×8×1, 2 classes (0, 1)\n";
    assert!(out.contains(data), "{out}");
    assert!(place.json("run/summary.json")["test_error"].as_f64().unwrap() < 20.0);
}

#[test]
fn keys_that_mean_nothing_for_the_data_set_are_errors_with_their_place() {
    let place = Place::new();
    place.write("t.csv", rows(above));
    place.write("c.yaml", config("", "binary"));
    let refused = |set: &str, message: &str| {
        place.fails(
            2,
            &["train", "--config", "c.yaml", "--set", set],
            &format!("--set {set}: {message}"),
        );
    };
    let nothing = |key: &str, instead: &str| {
        format!("dataset.{key}: means nothing for the data set `table`; it is for {instead}")
    };
    refused("dataset.image_size=[8,8]", &nothing("image_size", "the data set `folder`"));
    refused("dataset.permute_pixels=true", &nothing("permute_pixels", "images"));
    refused("dataset.augmentation.flip=true", &nothing("augmentation", "images"));
    refused("dataset.test=1.5", "dataset.test: 1.5, expected a share between 0 and 1, or a file");
    refused("dataset.test=[1]", "dataset.test: expected a share between 0 and 1, or a file");
    refused(
        "dataset.features={a: 1}",
        "dataset.features: expected the name of a column, or a list of names",
    );
    place.fails(
        2,
        &["train", "--set", "dataset.target=y"],
        "--set dataset.target=y: dataset.target: means nothing for the data set `digits`; it is for the data set \
         `table`",
    );
    let without = config("", "binary").replace(", target: y", "");
    place.write("d.yaml", without);
    place.fails(
        2,
        &["train", "--config", "d.yaml"],
        "d.yaml, line 1, column 10: dataset.target: missing; expected the column of the table to predict",
    );
    for (key, value) in [("target", "z"), ("features", "[a, z]")] {
        let args = ["train", "--config", "c.yaml", "--set", &format!("dataset.{key}={value}")];
        let message =
            format!("dataset.{key}: found `z`; expected a column of t.csv: a, b, kind, y");
        place.fails(2, &args, &message);
    }
    assert!(!place.has("runs/c-lfnn-l-1"));
}

/// Writes `train.csv` and `test.csv`, and prints the error in percent (R² in a regression) of scikit-learn's network
/// of two layers of 64 on the second, the mean of three seeds.
const SCIKIT_LEARN: &str = "
import csv, sys, warnings
import numpy as np
from sklearn import datasets
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
warnings.filterwarnings('ignore')
name = sys.argv[1]
if name == 'friedman':
    X, y = datasets.make_friedman1(20000, n_features=8, noise=1.0, random_state=0)
elif name == 'diabetes':
    X, y = datasets.load_diabetes(return_X_y=True, scaled=False)
else:
    X, y = getattr(datasets, 'load_' + name)(return_X_y=True)
regression = name in ('friedman', 'diabetes')
parts = train_test_split(X, y, test_size=0.25, random_state=0, stratify=None if regression else y)
X_train, X_test, y_train, y_test = parts
for part, (features, target) in {'train': (X_train, y_train), 'test': (X_test, y_test)}.items():
    with open(part + '.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow([f'x{i}' for i in range(X.shape[1])] + ['y'])
        for row, value in zip(features, target):
            writer.writerow([repr(float(x)) for x in row] + [repr(float(value)) if regression else f'class {value}'])
scaler = StandardScaler().fit(X_train)
mean, std = y_train.mean(), y_train.std()
scores = []
for seed in range(3):
    if regression:
        model = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=100, random_state=seed)
        model.fit(scaler.transform(X_train), (y_train - mean) / std)
        scores.append(r2_score(y_test, model.predict(scaler.transform(X_test)) * std + mean))
    else:
        model = MLPClassifier(hidden_layer_sizes=(64, 64), max_iter=300, random_state=seed)
        model.fit(scaler.transform(X_train), y_train)
        scores.append(100 - 100 * accuracy_score(y_test, model.predict(scaler.transform(X_test))))
print(np.mean(scores))
";

/// The network of the same size, on the same split: an error at most a point above scikit-learn's, R² at most 0.03
/// below it.
fn compare(name: &str, task: &str, epochs: &str) {
    let Some(python) = python("sklearn") else {
        eprintln!("skipped: no Python with scikit-learn (LFNN_TEST_PYTHON names one)");
        return;
    };
    let place = Place::new();
    let run = Command::new(python)
        .args(["-c", SCIKIT_LEARN, name])
        .current_dir(place.path("."))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let theirs: f64 = String::from_utf8(run.stdout).unwrap().trim().parse().unwrap();
    place.write(
        "c.yaml",
        format!(
            "dataset: {{name: table, path: train.csv, test: test.csv, target: y}}
network:
  task: {task}
  units:
    - {{layers: [flatten, {{linear: {{features: 64}}}}, relu], workers: {{readout: {{count: 4}}}}}}
    - {{layers: [{{linear: {{features: 64}}}}, relu], workers: {{readout: {{count: 4}}}}}}
training:
  {{batch_size: 32, epochs: {epochs}, optimizer: {{adamw: {{lr: 3e-3, weight_decay: 0.01}}}},
   schedule: {{one_cycle: {{}}}}}}
"
        ),
    );
    let is_regression = task == "regression";
    let score = |seed: &str| {
        place.ok(&["train", "--config", "c.yaml", "-q", "--seed", seed, "--out", seed]);
        let summary = place.json(&format!("{seed}/summary.json"));
        let score =
            if is_regression { &summary["values"]["y"]["r2"] } else { &summary["test_error"] };
        score.as_f64().unwrap()
    };
    let ours = ["1", "2", "3"].map(score).iter().sum::<f64>() / 3.0;
    eprintln!("{name}: {ours:.4}, scikit-learn {theirs:.4}");
    assert!(Path::exists(&place.path("3/checkpoints/last.safetensors")));
    if is_regression {
        assert!(ours > theirs - 0.03, "{name}: R² {ours}, scikit-learn's {theirs}");
    } else {
        assert!(ours < theirs + 1.0, "{name}: error {ours} %, scikit-learn's {theirs} %");
    }
}

#[test]
fn breast_cancer_is_told_as_by_scikit_learn() {
    compare("breast_cancer", "classification", "30");
}

#[test]
fn irises_are_told_as_by_scikit_learn() {
    compare("iris", "classification", "100");
}

#[test]
fn diabetes_is_predicted_as_by_scikit_learn() {
    compare("diabetes", "regression", "30");
}

#[test]
fn twenty_thousand_rows_are_predicted_as_by_scikit_learn() {
    compare("friedman", "regression", "20");
}
