//! `export`: models that ONNX's checker accepts and that give the program's own probabilities in ONNX
//! Runtime, and weights alone.

use std::fs;
use std::process::Command;

use lfnn_data::{Dataset, DatasetName, Examples, Source, silent};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::support::{Place, python};

/// Checks a model, runs it on images (PGM) and prints the largest difference from the probabilities
/// that `predict --json` printed.
const READER: &str = "
import json, sys
import numpy, onnx, onnxruntime
model, predictions, *paths = sys.argv[1:]
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
images, = session.get_inputs()
assert images.name == 'images' and images.shape[0] == 'batch', images
channels, height, width = images.shape[1:]
def read(path):
    head, pixels = open(path, 'rb').read().split(b'\\n255\\n', 1)
    grey = numpy.frombuffer(pixels, numpy.uint8).reshape(1, height, width)
    return numpy.repeat(grey, channels, axis=0).astype(numpy.float32) / numpy.float32(255)
x = numpy.stack([read(path) for path in paths])
names = ['probabilities', 'logits']
p, z = session.run(names, {'images': x})
alone, = session.run(names[:1], {'images': x[:1]})
assert numpy.abs(alone - p[:1]).max() < 1e-5
assert z.shape == (len(x), z.shape[1]) and numpy.isfinite(z).all()
classes = json.loads(session.get_modelmeta().custom_metadata_map['classes'])
rows = json.load(open(predictions))
assert all([p['class'] for p in row['probabilities']] == classes for row in rows)
expected = numpy.array([[p['probability'] for p in row['probabilities']] for row in rows])
assert p.shape == expected.shape, (p.shape, expected.shape)
assert expected.std(axis=0).max() > 0.01, 'every image looks alike to this network'
print(len(x), numpy.abs(p - expected).max())
";

fn digits() -> Dataset {
    let source = Source::named(DatasetName::Digits);
    Dataset::load(&source, std::path::Path::new("."), &silent).unwrap()
}

/// Writes images as `images/….pgm` and gives their paths.
fn write_images(place: &Place, images: &Examples) -> Vec<String> {
    let write = |index: usize| {
        let name = format!("images/{index}.pgm");
        let bytes = [b"P5\n8 8\n255\n".as_slice(), images.image(index)].concat();
        place.write(&name, bytes);
        name
    };
    (0..images.len()).map(write).collect()
}

/// Trains a configuration, exports it, and compares ONNX Runtime with `predict` on all test images.
fn compare(config: &str) {
    let place = Place::new();
    place.write("config.yaml", config);
    compare_in(&place);
}

fn compare_in(place: &Place) {
    // Long enough that the running statistics of batch normalisation have left their start: before, a
    // network says the same of every image, and any model would agree.
    place.ok(&["train", "--config", "config.yaml", "--out", "run"]);
    let out = place.ok(&["export", "run", "--format", "onnx"]);
    assert!(out.starts_with("run/predictor.onnx: "), "{out}");
    let Some(python) = python("onnx, onnxruntime") else {
        eprintln!("skipped: there is no Python with ONNX Runtime here to run the model");
        return;
    };
    let images = write_images(place, &digits().test);
    let mut args = vec!["predict", "run", "--json"];
    args.extend(images.iter().map(String::as_str));
    place.write("predictions.json", place.ok(&args));
    let output = Command::new(python)
        .current_dir(place.path("."))
        .args(["-c", READER, "run/predictor.onnx", "predictions.json"])
        .args(&images)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (count, difference) = text.trim().split_once(' ').unwrap();
    assert_eq!(count, "355");
    assert!(difference.parse::<f64>().unwrap() < 1e-4, "differs by {difference}");
}

/// A configuration of the digits with this network.
fn config(dataset: &str, network: &str) -> String {
    format!(
        "dataset: {{name: digits{dataset}}}\nnetwork:\n{network}\ntraining:\n  batch_size: 32\n  \
         epochs: 12\n  optimizer: {{adamw: {{lr: 3e-3}}}}\n"
    )
}

#[test]
fn a_network_of_readouts_runs_in_onnx_runtime() {
    let place = Place::new();
    place.write("config.yaml", "recipe: digits\n");
    compare_in(&place);
}

#[test]
fn heads_that_vote_run_in_onnx_runtime() {
    compare(&config(
        "",
        "  units:
    - layers: [{conv: {filters: 8, kernel: 3, padding: 1}}, {batch_norm: {}}, relu]
      workers: {heads: [{grid: 2, count: 2}]}
      transition: [{max_pool: {kernel: 2}}]
    - layers: [{conv: {filters: 8, kernel: 3, padding: 1}}, relu]
      workers:
        heads:
          - {layers: [{conv: {filters: 6, kernel: 1}}, {batch_norm: {}}, tanh], grid: 2}
          - {count: 2, dropout: 0.1}
  output: {ensemble: 2}",
    ));
}

#[test]
fn filters_on_permuted_pixels_and_pools_that_overlap_run_in_onnx_runtime() {
    compare(&config(
        ", permute_pixels: true",
        "  units:
    - layers: [{conv: {filters: 20, kernel: 3, padding: 1}}, {batch_norm: {}}, tanh]
      workers: {filters: {count: 2, scale: 5}}
      transition: [{avg_pool: {kernel: 3, stride: 2, padding: 1}}, {dropout: {rate: 0.1}}]
    - layers: [{conv: {filters: 20, kernel: 2, groups: 2}}, relu]
      workers: {filters: {count: 1}}
      transition: [{max_pool: {kernel: 3, stride: 1, padding: 1}}, {adaptive_avg_pool: {grid: 2}}]
  output: {layers: [{conv: {filters: 12, kernel: 1, bias: false}}, bias, flatten, bias]}",
    ));
}

#[test]
fn blocks_with_residual_sums_run_in_onnx_runtime() {
    compare(&config(
        "",
        "  units:
    - layers:
        - {conv: {filters: 6, kernel: 3, stride: 2, padding: 1}}
        - residual:
            body: [{conv: {filters: 8, kernel: 3, padding: 1}}, {batch_norm: {}}, relu]
            shortcut: [{conv: {filters: 8, kernel: 1}}]
        - relu
        - residual: {body: [{conv: {filters: 8, kernel: 3, padding: 1}}, sigmoid]}
      workers: {block: {count: 3, grid: 2}}
      transition: [{adaptive_avg_pool: {grid: 3}}]
    - layers: [{conv: {filters: 16, kernel: 3, padding: 1}}, relu]
      workers: {readout: {count: 2}}
      transition: [global_avg_pool]",
    ));
}

#[test]
fn rectangular_windows_and_grids_run_in_onnx_runtime() {
    compare(&config(
        "",
        "  units:
    - layers: [{conv: {filters: 12, kernel: [3, 5], stride: [1, 2], padding: [1, 2]}}, {batch_norm: {}}, relu]
      workers: {readout: {count: 4, grid: [4, 2]}}
      transition: [{max_pool: {kernel: [3, 1], stride: [2, 1], padding: [1, 0]}}]
    - layers: [{conv: {filters: 12, kernel: [1, 3], padding: [0, 1]}}, tanh]
      workers: {block: {count: 2, grid: [3, 2]}}
      transition: [{avg_pool: {kernel: [2, 3], stride: [2, 1], padding: [0, 1]}}, {adaptive_avg_pool: {grid: [2, 3]}}]",
    ));
}

#[test]
fn neurons_with_a_softmax_per_worker_run_in_onnx_runtime() {
    compare(&config(
        "",
        "  units:
    - layers: [flatten, {linear: {features: 24}}, {batch_norm: {}}, relu]
      workers: {neurons: {count: 4}}
    - workers: {neurons: {count: 2, output_activation: tanh}}
  output: {layers: [{linear: {features: 10, bias: false}}, {softmax: {width: 5}}]}",
    ));
}

#[test]
fn a_mixer_runs_in_onnx_runtime() {
    compare(&config(
        "",
        "  units:
    - layers:
        - {patches: {size: [2, 4]}}
        - {layer_norm: {affine: false}}
        - {conv: {filters: 24, kernel: 1}}
        - {layer_norm: {}}
        - relu
      workers: {heads: [{layers: [{layer_norm: {groups: 3, affine: false}}], grid: 1}]}
    - layers:
        - residual:
            body: [{token_mixing: {}}, {layer_norm: {groups: 2}}, relu, {token_mixing: {bias: false}}]
        - {layer_norm: {groups: 4, affine: false, epsilon: 1e-3}}
        - relu
      workers: {heads: [{layers: [{layer_norm: {}}], grid: 1}]}
  output: {layers: [global_avg_pool, {layer_norm: {affine: false}}, flatten, {layer_norm: {groups: 2}}]}",
    ));
}

const ONE_VS_ALL: &str = "  task: one_vs_all
  units:
    - layers: [flatten]
      workers: {neurons: {count: 6, output_activation: relu}}
    - workers: {neurons: {count: 4}}";

#[test]
fn one_vs_all_runs_in_onnx_runtime() {
    compare(&config("", ONE_VS_ALL));
}

#[test]
fn a_binary_network_gives_both_probabilities() {
    let place = Place::new();
    let digits = digits();
    for (set, images) in [("train", &digits.train), ("test", &digits.test)] {
        for (index, &label) in images.labels().iter().enumerate().filter(|(_, label)| **label < 2) {
            let folder = place.path(&format!("two/{set}/{label}"));
            fs::create_dir_all(&folder).unwrap();
            let pixels = images.image(index).to_vec();
            let image = image::GrayImage::from_raw(8, 8, pixels).unwrap();
            let image = image::DynamicImage::from(image).into_rgb8();
            image.save(folder.join(format!("{index}.png"))).unwrap();
        }
    }
    let network = "  task: binary
  units:
    - layers: [{conv: {filters: 8, kernel: 3}}, relu]
      workers: {readout: {count: 2}}";
    let config = config(", path: two", network).replace("name: digits", "name: folder");
    place.write("config.yaml", config);
    compare_in(&place);
}

#[test]
fn safetensors_holds_the_weights_of_the_predictor_alone() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.ok(&["export", "run/checkpoints/best.safetensors", "--format", "safetensors"]);
    let file = "run/checkpoints/predictor.safetensors";
    let bytes = place.bytes(file);
    let checkpoint = place.bytes("run/checkpoints/best.safetensors");
    let (one, all) =
        (SafeTensors::deserialize(&bytes).unwrap(), SafeTensors::deserialize(&checkpoint).unwrap());
    // What a checkpoint holds, less what prediction does not need.
    let left_out = ["optimizer/", "training/", "input."];
    let mut expected: Vec<_> = all
        .iter()
        .filter(|(name, _)| !left_out.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|(name, _)| !name.contains("readout"))
        .collect();
    let mut found: Vec<_> = one.iter().collect();
    expected.sort_by_key(|(name, _)| *name);
    found.sort_by_key(|(name, _)| *name);
    assert_eq!(found, expected);
    assert_eq!(one.tensor("unit1.layer1.weight").unwrap().shape(), [16, 1, 3, 3]);
    assert!(one.names().iter().any(|name| name.ends_with(".running_var")));

    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let about: Value = serde_json::from_str(&metadata["predictor"]).unwrap();
    assert_eq!(about["image"], json!([8, 8, 1]));
    assert_eq!(about["classes"].as_array().unwrap().len(), 10);
    assert_eq!(about["config"]["recipe"], "digits");
    // Mean and deviation against the factor and summand that the checkpoint holds.
    let real = |name: &str| {
        let data = all.tensor(name).unwrap().data().to_vec();
        f64::from(f32::from_le_bytes(data.try_into().unwrap()))
    };
    let of = |key: &str| about["normalization"][key][0].as_f64().unwrap();
    for pixel in [0.0, 1.0] {
        let normalised = (pixel - of("mean")) / of("std");
        let expected = pixel * real("input.scale") + real("input.shift");
        assert!((normalised - expected).abs() < 1e-5, "{normalised} and {expected}");
    }
    // It is not taken for a checkpoint, and the same export has the same bytes.
    let ended = place.run(&["eval", file]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("not a checkpoint of this program"), "{}", ended.err);
    place.ok(&["export", "run", "--format", "onnx", "--out", "a"]);
    place.ok(&["export", "run", "--format", "onnx", "--out", "b"]);
    assert_eq!(place.bytes("a"), place.bytes("b"));
}

#[test]
fn export_refuses_what_it_cannot_do_and_leaves_nothing_half_written() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let last = "run/checkpoints/last.safetensors";
    let before = place.bytes(last);
    let ended = place.run(&["export", "run", "--format", "pickle"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("onnx") && ended.err.contains("safetensors"), "{}", ended.err);
    assert_eq!(place.run(&["export", "run"]).code, Some(2));

    place.fails(
        2,
        &["export", "run", "--format", "safetensors", "--out", last],
        &format!("--out {last}: is the checkpoint itself; expected another file"),
    );
    assert_eq!(place.bytes(last), before);

    place.write("text", "no tensors");
    let ended = place.run(&["export", "text", "--format", "onnx"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.starts_with("error: text: not a safetensors file"), "{}", ended.err);
    assert!(!place.has("predictor.onnx"));

    // A folder that is not there, and one in the file's place.
    for out in ["missing/model.onnx", "run"] {
        let ended = place.run(&["export", "run", "--format", "onnx", "--out", out]);
        assert_eq!(ended.code, Some(1), "{out}");
        let start = format!("error: {out}: cannot write: ");
        assert!(ended.err.starts_with(&start), "{}", ended.err);
    }
    let left = fs::read_dir(place.path(".")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    let temporary = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(".writing-");
    assert!(!left.iter().any(temporary), "{left:?}");
}

/// A change of a checkpoint's metadata.
type Change<'a> = &'a dyn Fn(&mut serde_json::Value);

/// A checkpoint may say anything of its network: nothing is allocated for what its tensors do not bear out.
#[test]
fn a_checkpoint_that_describes_another_network_is_refused_in_a_moment() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let bytes = place.bytes("run/checkpoints/last.safetensors");
    let header: serde_json::Value =
        serde_json::from_slice(&bytes[8..8 + length_of(&bytes)]).unwrap();
    let changed = |change: Change<'_>| {
        let mut header = header.clone();
        let entry = &mut header["__metadata__"]["lfnn"];
        let mut about: serde_json::Value = serde_json::from_str(entry.as_str().unwrap()).unwrap();
        change(&mut about);
        *entry = about.to_string().into();
        let mut header = header.to_string();
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let length = (header.len() as u64).to_le_bytes();
        let odd = [&length[..], header.as_bytes(), &bytes[8 + length_of(&bytes)..]].concat();
        // As a forger would do.
        lfnn_cli::fuzzing::signed(&odd).unwrap()
    };
    let image = place.path("image.png");
    image::GrayImage::new(8, 8).save(&image).unwrap();
    let unit = |about: &mut serde_json::Value, key: &str, value: serde_json::Value| {
        about["config"]["network"]["units"][0][key] = value.clone();
        about["model"]["network"]["units"][0][key] = value;
    };
    let conv = |filters: u64, kernel: u64, padding: u64| {
        let conv = serde_json::json!({"filters": filters, "kernel": kernel, "padding": padding});
        serde_json::json!([{ "conv": conv }, "relu"])
    };
    let cases: [(&str, Change<'_>); 7] = [
        ("blocks", &|about| {
            unit(about, "workers", serde_json::json!({"block": {"count": 1u64 << 40}}))
        }),
        ("some blocks", &|about| {
            unit(about, "workers", serde_json::json!({"block": {"count": 1000}}))
        }),
        ("two networks", &|about| {
            about["config"]["network"]["units"][0]["workers"] =
                serde_json::json!({"readout": {"count": 2}});
        }),
        ("kernel", &|about| unit(about, "layers", conv(16, 1 << 40, 1 << 40))),
        ("filters", &|about| unit(about, "layers", conv(1 << 30, 1, 0))),
        ("image", &|about| {
            about["model"]["input"] = serde_json::json!([1u64 << 40, 1u64 << 40, 1])
        }),
        ("wide image", &|about| about["model"]["input"] = serde_json::json!([16384, 16384, 1])),
    ];
    for (name, change) in cases {
        place.write("odd.safetensors", changed(change));
        for args in [
            &["eval", "odd.safetensors"][..],
            &["predict", "odd.safetensors", "image.png"],
            &["export", "odd.safetensors", "--format", "onnx"],
            &["export", "odd.safetensors", "--format", "safetensors"],
        ] {
            let begin = std::time::Instant::now();
            let ended = place.run(args);
            assert_eq!(ended.code, Some(1), "{name}: {args:?}: {}", ended.err);
            assert!(
                ended.err.starts_with("error: odd.safetensors: ")
                    && !ended.err.contains("checksum"),
                "{name}: {args:?}: {}",
                ended.err
            );
            assert!(begin.elapsed().as_secs() < 180, "{name}: {args:?}");
        }
    }
}

/// Runs a model with outputs of workers on examples and prints the loss of each worker of each unit, in the order of
/// `eval`: classifier by classifier.
const WORKERS: &str = "
import json, sys
import numpy, onnx, onnxruntime
model, kind, data = sys.argv[1:]
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
given, = session.get_inputs()
data = json.load(open(data))
y = numpy.array(data['y'])
x = numpy.array(data['x'], numpy.float32).reshape(len(y), *given.shape[1:])
names = [output.name for output in session.get_outputs()]
units = [name for name in names if name.startswith('unit')]
assert units == ['unit%d' % (at + 1) for at in range(len(units))], names
everything = dict(zip(names, session.run(None, {given.name: x})))
losses = []
for unit in units:
    p = everything[unit].astype(numpy.float64)
    assert p.ndim == 3 and p.shape[0] == len(y), p.shape
    if kind == 'regression':
        loss = ((p[:, :, 0] - y[:, None]) ** 2).mean(axis=0)
    elif kind == 'one_vs_all':
        hit = numpy.eye(p.shape[2])[y][:, None, :]
        loss = -(hit * numpy.log(p) + (1 - hit) * numpy.log(1 - p)).mean(axis=0).T.reshape(-1)
    else:
        assert numpy.abs(p.sum(axis=2) - 1).max() < 1e-5
        loss = -numpy.log(p[numpy.arange(len(y)), :, y]).mean(axis=0)
    losses.append(list(loss))
print(json.dumps(losses))
";

/// Exports a run with its workers, and compares their losses on these examples in ONNX Runtime with those of `eval`. In
/// a regression `eval` has those of standardised values: smaller by the same factor.
fn compare_workers(place: &Place, kind: &str, data: &Value, eval: &[&str]) {
    place.ok(&["export", "run", "--format", "onnx", "--workers"]);
    let evaluated: Value = serde_json::from_str(&place.ok(eval)).unwrap();
    let Some(python) = python("onnx, onnxruntime") else {
        eprintln!("skipped: there is no Python with ONNX Runtime here to run the model");
        return;
    };
    place.write("data.json", data.to_string());
    let output = Command::new(python)
        .current_dir(place.path("."))
        .args(["-c", WORKERS, "run/predictor.onnx", kind, "data.json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Vec<f64>> = serde_json::from_slice(&output.stdout).unwrap();
    let units = evaluated["units"].as_array().unwrap();
    assert_eq!(found.len(), units.len());
    let expected: Vec<Vec<f64>> = units
        .iter()
        .map(|unit| serde_json::from_value(unit["worker_losses"].clone()).unwrap())
        .collect();
    let factor = if kind == "regression" { found[0][0] / expected[0][0] } else { 1.0 };
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.len(), expected.len());
        assert!(expected.iter().any(|loss| (loss - expected[0]).abs() > 1e-3), "{expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found / factor - expected).abs() < 1e-4 * expected, "{found} and {expected}");
        }
    }
}

#[test]
fn workers_are_outputs_on_request() {
    let digits = digits().test;
    let x: Vec<f32> = digits.bytes().iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let data = json!({ "x": x, "y": digits.labels() });
    let one_vs_all = config("", ONE_VS_ALL);
    let filters_and_blocks = config(
        "",
        "  units:
    - layers: [{conv: {filters: 20, kernel: 3, padding: 1}}, {batch_norm: {}}, tanh]
      workers: {filters: {count: 2}}
      transition: [{max_pool: {kernel: 2}}]
    - layers: [{conv: {filters: 8, kernel: 3, padding: 1}}, relu]
      workers: {block: {count: 3, grid: 2}}
    - layers: [{conv: {filters: 8, kernel: 3, padding: 1}}, relu]
      workers: {readout: {count: 4, grid: 2}}",
    );
    for (kind, config) in [("classification", &filters_and_blocks), ("one_vs_all", &one_vs_all)] {
        let place = Place::new();
        place.write("config.yaml", config);
        place.ok(&["train", "--config", "config.yaml", "--epochs", "3", "--out", "run"]);
        compare_workers(&place, kind, &data, &["eval", "run", "--json"]);
    }
}

#[test]
fn workers_of_binary_networks_and_regressions_are_outputs_too() {
    for task in ["binary", "regression"] {
        let place = Place::new();
        let (mut x, mut y, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..90 {
            let (a, b) = (i * 37 % 90, i * 71 % 90);
            let target = if task == "binary" { u32::from(a > b) } else { 50 + 3 * a + b };
            let name = if task == "binary" { format!("c{target}") } else { target.to_string() };
            x.extend([a, b]);
            y.push(target);
            rows.push(format!("{a},{b},{name}\n"));
        }
        place.write("t.csv", format!("a,b,y\n{}", rows.concat()));
        place.write("c.yaml", super::own_data::config("", task));
        place.ok(&["train", "--config", "c.yaml", "-q", "--out", "run"]);
        // In another order it is not the run's own table, and all of it is evaluated.
        rows.reverse();
        place.write("all.csv", format!("a,b,y\n{}", rows.concat()));
        let data = json!({ "x": x, "y": y });
        compare_workers(&place, task, &data, &["eval", "run", "--json", "--data", "all.csv"]);
    }
}

#[test]
fn workers_that_were_not_trained_are_no_outputs() {
    let place = Place::new();
    place.train(&["--out", "run", "--method", "bp"]);
    place.fails(
        1,
        &["export", "run", "--format", "onnx", "--workers"],
        "run/checkpoints/last.safetensors: `bp` trains no workers that could predict",
    );
    place.fails(
        2,
        &["export", "run", "--format", "safetensors", "--workers"],
        "--workers: is for --format onnx; a checkpoint has the weights of the workers' heads",
    );
}

/// The length of a safetensors file's header.
fn length_of(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}
