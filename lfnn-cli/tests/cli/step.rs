//! `step`, compared with saved vectors of another implementation.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::support::{Place, vectors};

/// Every tensor of a file as numbers.
fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |view: &safetensors::tensor::TensorView<'_>| -> Vec<f64> {
        let chunks = view.data().chunks_exact(4).map(|chunk| <[u8; 4]>::try_from(chunk).unwrap());
        match view.dtype() {
            Dtype::F32 => chunks.map(|chunk| f64::from(f32::from_le_bytes(chunk))).collect(),
            Dtype::I32 | Dtype::U32 => chunks.map(|c| f64::from(u32::from_le_bytes(c))).collect(),
            other => panic!("{other:?}"),
        }
    };
    file.iter().map(|(name, v)| (name.into(), (v.shape().to_vec(), numbers(&v)))).collect()
}

/// Runs a case and gives what was written.
fn step(place: &Place, case: &str) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let file = |ending: &str| vectors().join(format!("{case}.{ending}")).display().to_string();
    let (config, tensors) = (file("json"), file("safetensors"));
    let args = ["step", "--config", &config, "--weights", &tensors, "--batch", &tensors];
    let out = place.ok(&[&args[..], &["--out", "out.safetensors"]].concat());
    assert!(out.ends_with("written: out.safetensors\n"), "{out}");
    read(&place.path("out.safetensors"))
}

#[test]
fn saved_vectors_are_met() {
    let place = Place::new();
    for case in [
        "lfnn-l_mixed_epoch",
        "lfnn-l_neurons_one-vs-all_sample",
        "lfnn-l_readout_regression",
        "lfnn_block_relayed",
        "bp_binary",
        "lg-bp_block",
        "fa_readout",
        "fg-w_binary",
        "fg-a_filters",
        "lg-fg-w_one-vs-all",
        "lg-fg-a_readout",
    ] {
        let seen = step(&place, case);
        let mut compared = 0;
        for (name, (shape, expected)) in read(&vectors().join(format!("{case}.safetensors"))) {
            let name = match name.strip_prefix("expected/") {
                Some(name) => name,
                None if name.starts_with("feedback/") => &name,
                None => continue,
            };
            let name = name.replace("running/", "buffers/");
            let (found_shape, found) =
                seen.get(&name).unwrap_or_else(|| panic!("{case}: {name} is missing"));
            assert_eq!(found_shape, &shape, "{case}: {name}");
            let scale = expected.iter().fold(0.0f64, |max, x| max.max(x.abs()));
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 2e-5 * scale + 1e-6, "{case}: {name}: {a} and {b}");
            }
            compared += 1;
        }
        assert_eq!(compared, seen.len(), "{case}: everything written is compared");
    }
}

#[test]
fn a_checkpoint_serves_as_weights() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let config = place.text("run/config.yaml");
    let at = |key: &str| config.find(&format!("\n{key}:")).unwrap() + 1;
    let (network, leadership) = (&config[at("network")..at("leadership")], "leadership: {}");
    place.write("step.yaml", format!("classes: 10\ninput: [1, 8, 8]\n{network}{leadership}\n"));
    let tensors = [
        ("images".to_owned(), Dtype::F32, vec![2, 1, 8, 8], vec![0u8; 2 * 64 * 4]),
        (
            "target".to_owned(),
            Dtype::I64,
            vec![2],
            [3i64.to_le_bytes(), 9i64.to_le_bytes()].concat(),
        ),
    ];
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    place.write("batch.safetensors", safetensors::serialize(views, None).unwrap());
    let weights = "run/checkpoints/last.safetensors";
    let args = ["step", "--config", "step.yaml", "--weights", weights];
    place.ok(&[&args[..], &["--batch", "batch.safetensors", "--out", "out.safetensors"]].concat());
    let seen = read(&place.path("out.safetensors"));
    assert_eq!(seen["logits"].0, [2, 10]);
    assert!(seen.contains_key("gradients/unit1.layer1.weight"));
}

#[test]
fn the_file_of_a_step_may_begin_with_a_byte_order_mark() {
    let place = Place::new();
    let text = std::fs::read_to_string(vectors().join("bp_block.json")).unwrap();
    place.write("step.json", format!("\u{feff}{text}"));
    let tensors = vectors().join("bp_block.safetensors").display().to_string();
    let args = ["step", "--config", "step.json", "--weights", &tensors, "--batch", &tensors];
    place.ok(&[&args[..], &["--out", "out.safetensors"]].concat());
}

#[test]
fn what_does_not_fit_is_named() {
    let place = Place::new();
    let file = |name: &str| vectors().join(name).display().to_string();
    let (config, weights) = (file("bp_block.json"), file("bp_block.safetensors"));
    let other = file("bp_neurons.safetensors");
    let run = |config: &str, weights: &str, batch: &str| {
        let args = ["step", "--config", config, "--weights", weights, "--batch", batch];
        place.run(&[&args[..], &["--out", "out.safetensors"]].concat())
    };
    let ended = run(&config, &other, &weights);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.starts_with("error: the saved state does not fit: "), "{}", ended.err);
    let ended = run("nowhere.json", &weights, &weights);
    assert_eq!(ended.code, Some(2));
    place.write("step.yaml", "network: {units: []}\n");
    let ended = run("step.yaml", &weights, &weights);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.err, "error: step.yaml, line 1, column 1: the key `classes` is missing\n");
    place.write("empty.safetensors", "");
    let ended = run(&config, &weights, "empty.safetensors");
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.starts_with("error: empty.safetensors: not a safetensors file"),
        "{}",
        ended.err
    );
    assert!(!place.has("out.safetensors"));
}

/// The description of a network may say anything: the weights are held against it before memory is asked for.
#[test]
fn weights_of_another_network_and_files_without_an_end_are_refused_in_a_moment() {
    let place = Place::new();
    let file = |name: &str| vectors().join(name).display().to_string();
    let tensors = file("bp_block.safetensors");
    let config = std::fs::read_to_string(file("bp_block.json")).unwrap();
    let step = |config: &str, weights: &str, batch: &str| {
        let args = ["step", "--config", config, "--weights", weights, "--batch", batch];
        place.run(&[&args[..], &["--out", "out.safetensors"]].concat())
    };
    let changed = |path: &str, value: serde_json::Value| {
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        *config.pointer_mut(path).unwrap() = value;
        place.write("odd.json", config.to_string());
        step("odd.json", &tensors, &tensors)
    };
    let block = |count: u64| serde_json::json!({"block": {"count": count}});
    for (path, value, code) in [
        ("/network/units/0/workers", block(1 << 40), 2),
        ("/network/units/0/workers", block(1000), 1),
        ("/classes", serde_json::json!(u64::MAX), 2),
        ("/classes", serde_json::json!(100_000_000), 1),
    ] {
        let begin = std::time::Instant::now();
        let ended = changed(path, value.clone());
        assert_eq!(ended.code, Some(code), "{path} {value}: {}", ended.err);
        assert!(begin.elapsed().as_secs() < 180, "{path} {value}");
    }
    let config = file("bp_block.json");
    for (weights, batch, what) in
        [("/dev/zero", tensors.as_str(), "file of weights"), (&tensors, "/dev/zero", "batch")]
    {
        let ended = step(&config, weights, batch);
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let message = format!("error: /dev/zero: cannot read the {what}: not a regular file\n");
        assert_eq!(ended.err, message);
    }
    assert!(!place.has("out.safetensors"));
}
