//! Networks trained on a user's own data, used: `eval`, `predict` and `export` on tables and arrays.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::own_data::{above, config, price, rows};
use super::support::{Place, python};

/// A run on a table of this target.
fn trained(task: &str, table: &str) -> Place {
    let place = Place::new();
    place.write("t.csv", table);
    place.write("c.yaml", config("", task));
    place.ok(&["train", "--config", "c.yaml", "--epochs", "40", "-q", "--out", "run"]);
    place
}

/// The numbers of a column of CSV.
fn column(csv: &str, name: &str) -> Vec<f64> {
    let mut lines = csv.lines();
    let at = lines.next().unwrap().split(',').position(|head| head == name).unwrap();
    lines.map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

/// The rows without their last column.
fn without_target(table: &str) -> String {
    table.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + "\n").collect()
}

#[test]
fn numbers_are_predicted_and_evaluated_in_their_own_units() {
    let place = trained("regression", &rows(price));
    // The columns in another order, without the one to predict.
    let turned = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        format!("{},{},{}\n", cells[2], cells[1], cells[0])
    };
    let table = place.text("t.csv");
    place.write("new.csv", table.lines().map(turned).collect::<String>());
    let out = place.ok(&["predict", "run", "new.csv"]);
    let (predicted, expected) = (column(&out, "y"), column(&table, "y"));
    assert_eq!(predicted.len(), 120);
    let mse = predicted.iter().zip(&expected).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / 120.0;

    // A file that is not the run's is evaluated whole; the order of its rows does not matter.
    let mut lines: Vec<&str> = table.lines().collect();
    lines[1..].reverse();
    place.write("other.csv", lines.join("\n"));
    let evaluated: Value =
        serde_json::from_str(&place.ok(&["eval", "run", "--data", "other.csv", "--json"])).unwrap();
    assert_eq!((&evaluated["split"], &evaluated["examples"]), (&"data".into(), &120.into()));
    let found = evaluated["values"]["y"]["mse"].as_f64().unwrap();
    assert!((found - mse).abs() < 1e-3 * mse, "{found} and {mse}");
    let mean = expected.iter().sum::<f64>() / 120.0;
    let variance = expected.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 120.0;
    let r2 = evaluated["values"]["y"]["r2"].as_f64().unwrap();
    assert!((r2 - (1.0 - mse / variance)).abs() < 1e-3 && r2 > 0.9, "{r2}");

    // The run's own file in another place has its parts.
    place.write("moved.csv", &table);
    let text = place.ok(&["eval", "run", "--data", "moved.csv"]);
    assert!(text.contains("\ntest: 24 rows, loss 0."), "{text}");
    assert!(text.contains("\ntest      R²  mean squared error  mean absolute error\ny "), "{text}");
    let summary = place.json("run/summary.json");
    let evaluated: Value = serde_json::from_str(&place.ok(&["eval", "run", "--json"])).unwrap();
    let score = |value: &Value| value["values"]["y"]["mae"].as_f64().unwrap();
    assert!((score(&summary) - score(&evaluated)).abs() < 1e-3 * score(&summary), "{evaluated}");
    let ended = place.run(&["eval", "run", "--data", "other.csv", "--split", "train"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("this is not the data of the run"), "{}", ended.err);
}

#[test]
fn classes_are_scored_on_request() {
    let place = trained("binary", &rows(above));
    let plain: Value = serde_json::from_str(&place.ok(&["eval", "run", "--json"])).unwrap();
    assert!(plain.get("scores").is_none());
    let scored: Value =
        serde_json::from_str(&place.ok(&["eval", "run", "--json", "--scores"])).unwrap();
    let scores = &scored["scores"];
    assert_eq!(scores["error"], scored["error"]);
    assert_eq!(scores["names"], serde_json::json!(["above", "below"]));
    assert!(scores["auc"].as_f64().unwrap() > 0.8, "{scores}");
    assert!(scores["top5_error"].is_null());
    let counts: u64 = (0..2)
        .flat_map(|row| (0..2).map(move |column| (row, column)))
        .map(|(row, column)| scores["confusion"][row][column].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 24);
    let text = place.ok(&["eval", "run", "--scores"]);
    assert!(
        text.contains("examples of each class (row) by the predicted class (column)"),
        "{text}"
    );
    assert!(text.contains("AUC ") && text.contains(" (of below)"), "{text}");
    let table = text.split_once("\n\n").unwrap().1;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn files_that_cannot_be_read_do_not_keep_the_others_from_being_answered() {
    let place = trained("binary", &rows(above));
    let table = without_target(&place.text("t.csv"));
    place.write("a.csv", table.lines().take(3).collect::<Vec<_>>().join("\n"));
    place.write("bad.csv", "a,b,kind\n1,x,odd\n");
    place.write("b.csv", "b,a,kind,more\n100,5,odd,?\n");
    let ended = place.run(&["predict", "run", "a.csv", "bad.csv", "missing.csv", "b.csv"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.err,
        "error: bad.csv: line 2, column `b` is `x`; expected a number\n\
         error: missing.csv: cannot read: No such file or directory (os error 2)\n"
    );
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[0], "file,y,probability,p_above,p_below");
    assert_eq!(lines.len(), 4, "{}", ended.out);
    assert!(
        lines[1].starts_with("a.csv,below,") && lines[3].starts_with("b.csv,above,"),
        "{}",
        ended.out
    );
    let ended = place.run(&["predict", "run", "a.csv", "bad.csv", "--json"]);
    assert_eq!(ended.code, Some(1));
    let values: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (values.len(), &values[1]["row"], &values[1]["class"]),
        (3, &2.into(), &"below".into())
    );
    assert_eq!(values[0]["probabilities"][1]["class"], "below");
    assert_eq!(values[2]["error"], "bad.csv: line 2, column `b` is `x`; expected a number");

    let mut child = place
        .command(&["predict", "run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&place.bytes("a.csv")).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, place.ok(&["predict", "run", "a.csv"]));
    assert_eq!(text.lines().next(), Some("y,probability,p_above,p_below"));
}

#[test]
fn a_folder_of_images_is_predicted_and_evaluated() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let pixel = |value: u8| image::GrayImage::from_pixel(8, 8, image::Luma([value]));
    for (class, value) in [("0", 10), ("0", 250), ("7", 90)] {
        let path = place.path(&format!("images/{class}"));
        std::fs::create_dir_all(&path).unwrap();
        pixel(value).save(path.join(format!("{value}.png"))).unwrap();
    }
    let out = place.ok(&["predict", "run", "images"]);
    let files: Vec<&str> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(files, ["images/0/10.png", "images/0/250.png", "images/7/90.png"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    let ended = place.run(&["predict", "run", "empty", "images/7/90.png"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(1), 1));
    assert!(
        ended.err.starts_with("error: empty: no images; expected files ending in "),
        "{}",
        ended.err
    );
}

#[test]
fn a_folder_of_classes_is_evaluated_whole() {
    let place = Place::new();
    let save = |path: &str, value: u8| {
        let path = place.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(8, 8, image::Rgb([value; 3])).save(path).unwrap();
    };
    for i in 0..16u8 {
        save(&format!("two/train/dark/{i}.png"), i);
        save(&format!("two/train/light/{i}.png"), 255 - i);
        save(&format!("new/dark/{i}.png"), 3 * i);
    }
    save("two/test/dark/1.png", 9);
    save("two/test/light/1.png", 240);
    let train = ["train", "-q", "--epochs", "3", "--out", "run", "--set", "dataset.name=folder"];
    let sets = ["dataset.path=two", "dataset.validation=0", "training.batch_size=8"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    place.ok(&train.into_iter().chain(sets).collect::<Vec<_>>());
    let text = place.ok(&["eval", "run", "--data", "new"]);
    assert!(text.contains("\ndata: 16 images, loss "), "{text}");
    let text = place.ok(&["eval", "run", "--data", "two"]);
    assert!(text.contains("\ntest: 2 images, loss "), "{text}");
    save("new/green/1.png", 3);
    place.fails(
        1,
        &["eval", "run", "--data", "new"],
        "new: the folder `green` is no class of the data set; expected a folder for each class: dark, light",
    );
}

#[test]
fn arrays_are_predicted() {
    let place = Place::new();
    let npy = |element: &str, shape: &str, bytes: &[u8]| {
        let text = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}");
        let text = format!("{text:<117}\n");
        [
            b"\x93NUMPY\x01\x00",
            &u16::try_from(text.len()).unwrap().to_le_bytes()[..],
            text.as_bytes(),
            bytes,
        ]
        .concat()
    };
    let reals = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let x: Vec<f32> = (0..200).map(|i| (i * 37 % 200) as f32).collect();
    let y: Vec<f32> = x.chunks(2).map(|row| 3.0 * row[0] - row[1]).collect();
    place.write("a/x.npy", npy("<f4", "(100, 2)", &reals(&x)));
    place.write("a/y.npy", npy("<f4", "(100,)", &reals(&y)));
    let text = config("", "regression")
        .replace("name: table, path: t.csv, target: y", "name: arrays, path: a");
    place.write("c.yaml", text);
    place.ok(&["train", "--config", "c.yaml", "--epochs", "60", "-q", "--out", "run"]);
    place.write(
        "new.npy",
        npy("<f8", "(2, 2)", &[0.0f64, 37.0, 140.0, 177.0].map(f64::to_le_bytes).concat()),
    );
    let predicted = column(&place.ok(&["predict", "run", "new.npy"]), "y");
    for (found, expected) in predicted.iter().zip([-37.0, 243.0]) {
        assert!((found - expected).abs() < 60.0, "{predicted:?}");
    }
    place.write("wide.npy", npy("<f4", "(1, 3)", &reals(&[1.0; 3])));
    place.fails(
        1,
        &["predict", "run", "wide.npy"],
        "wide.npy: the shape of an example of `wide` is 1 × 1 × 3; expected 1 × 1 × 2, as in training",
    );
    place.write("bytes.npy", npy("|u1", "(1, 2)", &[1, 2]));
    place.fails(
        1,
        &["predict", "run", "bytes.npy"],
        "bytes.npy: `bytes` is bytes (u8); expected real numbers, as in training",
    );
    let ended = place.run(&["predict", "run", "-"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("this network was not trained on one"), "{}", ended.err);
}

/// Runs a model on the rows of `t.csv`, with the encoding in its metadata, and prints the largest difference from the
/// numbers of `predict`'s CSV, in its last columns.
const READER: &str = "
import csv, json, sys
import numpy, onnx, onnxruntime
model, output = sys.argv[1:]
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
metadata = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
x = []
for row in csv.DictReader(open('t.csv')):
    features = []
    for name in metadata['features']:
        column, _, category = name.partition('=')
        features.append(float(row[column] == category) if category else float(row[column]))
    x.append(features)
x = numpy.array(x, numpy.float32)
[only] = session.get_inputs()
assert only.name == 'features' and only.shape == ['batch', x.shape[1]], only
found, = session.run([output], {'features': x})
expected = numpy.array([[float(v) for v in row[-found.shape[1]:]] for row in list(csv.reader(open('p.csv')))[1:]])
assert found.shape == expected.shape, (found.shape, expected.shape)
names = metadata['values' if output == 'values' else 'classes']
assert len(names) == found.shape[1], names
print(numpy.abs(found - expected).max() / numpy.abs(expected).max())
";

#[test]
fn tables_run_in_onnx_runtime_in_their_own_units() {
    let with_first = |line: &str| format!("{line},{}\n", line.split(',').next().unwrap());
    let several: String = rows(price).lines().map(with_first).collect();
    let several = several.replacen("y,a", "y,z", 1);
    for (task, output, table) in [
        ("regression", "values", rows(price)),
        ("regression", "values", several),
        ("binary", "probabilities", rows(above)),
    ] {
        let place = Place::new();
        place.write("t.csv", &table);
        let target = if table.starts_with("a,b,kind,y,z") { "target: [z, y]" } else { "target: y" };
        place.write("c.yaml", config("", task).replace("target: y", target));
        place.ok(&["train", "--config", "c.yaml", "--epochs", "10", "-q", "--out", "run"]);
        let out = place.ok(&["export", "run", "--format", "onnx"]);
        assert!(out.contains("4 features to "), "{out}");
        place.write("p.csv", place.ok(&["predict", "run", "t.csv"]));
        let Some(python) = python("onnx, onnxruntime") else {
            eprintln!("skipped: there is no Python with ONNX Runtime here to run the model");
            return;
        };
        let run = Command::new(python)
            .current_dir(place.path("."))
            .args(["-c", READER, "run/predictor.onnx", output])
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let difference: f64 = String::from_utf8(run.stdout).unwrap().trim().parse().unwrap();
        assert!(difference < 1e-5, "{task}: differs by {difference}");
    }
}

#[test]
fn exported_weights_say_how_a_table_becomes_numbers() {
    let place = trained("regression", &rows(price));
    place.ok(&["export", "run", "--format", "safetensors"]);
    let bytes = place.bytes("run/predictor.safetensors");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let about: Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["predictor"]).unwrap();
    assert_eq!(about["features"], serde_json::json!(["a", "b", "kind=even", "kind=odd"]));
    assert_eq!(about["values"], serde_json::json!(["y"]));
    assert_eq!(about["table"]["features"][2]["kind"]["categories"]["names"][1], "odd");
    let mean = about["value_normalization"]["mean"][0].as_f64().unwrap();
    assert!((4000.0..6500.0).contains(&mean), "{mean}");
    assert!(about.get("classes").is_none());
}

#[test]
fn balanced_classes_share_the_loss_and_weights_must_fit() {
    // One row in eight is rare, among rows of the other class.
    let mut table = "a,b,y\n".to_owned();
    for i in 0..240u32 {
        let rare = i % 8 == 0;
        let (a, b) = (i * 37 % 120, i * 71 % 120);
        let (a, b) = if rare { (a / 2 + 60, b / 2 + 60) } else { (a, b) };
        table += &format!("{a},{b},{}\n", if rare { "rare" } else { "common" });
    }
    let place = Place::new();
    place.write("t.csv", table);
    let plain = config("", "classification");
    place.write("plain.yaml", &plain);
    place.write(
        "balanced.yaml",
        plain.replace("batch_size: 16,", "batch_size: 16, class_weights: balanced,"),
    );
    let error_of_rare = |name: &str| {
        let (run, file) = (format!("{name}-run"), format!("{name}.yaml"));
        place.ok(&["train", "--config", &file, "--epochs", "20", "-q", "--out", &run]);
        let json = place.ok(&["eval", &run, "--scores", "--json"]);
        let scores: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(scores["scores"]["names"][1], "rare");
        scores["scores"]["classes"][1]["error"].as_f64().unwrap()
    };
    let (plain, balanced) = (error_of_rare("plain"), error_of_rare("balanced"));
    assert!(balanced < plain - 20.0, "{plain} and {balanced}");
    assert!(place.text("balanced-run/config.yaml").contains("class_weights: balanced"));

    let refused = |set: &str, message: &str| {
        place.fails(2, &["train", "--config", "plain.yaml", "--set", set], message);
    };
    let key = "training.class_weights";
    refused(
        "training.class_weights=[1, 2, 3]",
        &format!("{key}: 3 numbers, expected 2: one for each class"),
    );
    let rule = "expected `balanced`, or a list with a number for each class";
    refused("training.class_weights=even", &format!("--set {key}=even: {key}: {rule}"));
    refused(
        "training.class_weights=[1, -2]",
        &format!("--set {key}=[1, -2]: {key}: -2, expected at least 0 and a finite number"),
    );
}
