//! `eval` and `predict`.

use serde_json::{Value, json};

use super::support::{Place, SMALL, small_mnist};

/// A grey image of the digits' size, as PGM.
fn image(place: &Place, name: &str) {
    let mut bytes = b"P5\n8 8\n255\n".to_vec();
    bytes.extend((0..64u8).map(|i| i.wrapping_mul(13)));
    place.write(name, bytes);
}

#[test]
fn an_ensemble_is_chosen_when_a_network_is_used_or_when_it_is_configured() {
    let place = Place::new();
    place.train(&["--out", "alone"]);
    place.train(&["--out", "together", "--set", "network.output.ensemble=2"]);
    let summary = |run: &str| place.json(&format!("{run}/summary.json"));
    let eval = |args: &[&str]| -> Value {
        let args = [&["eval", "--json"], args].concat();
        serde_json::from_str(&place.ok(&args)).unwrap()
    };
    let error_of = |value: &Value| value["error"].as_f64().unwrap();
    let chosen = eval(&["alone", "--ensemble", "2"]);
    assert_eq!(chosen["ensemble"], 2);
    assert_eq!(chosen["loss"], eval(&["together"])["loss"]);
    assert_eq!(summary("together")["test_error"], error_of(&chosen));
    assert_ne!(chosen["loss"], eval(&["alone"])["loss"]);
    assert_eq!(eval(&["together", "--ensemble", "0"])["loss"], eval(&["alone"])["loss"]);
    // Heads that vote are parameters of the prediction.
    let parameters = |run: &str| summary(run)["parameters"].as_u64().unwrap();
    assert!(parameters("together") > parameters("alone"));
    let text = place.ok(&["eval", "alone", "--ensemble", "1"]);
    let line = "predicted by the output layer and the workers of the last 1 unit\n";
    assert!(text.contains(line), "{text}");
    let export = |run: &str, args: &[&str]| {
        place.ok(&[&["export", run, "--format", "safetensors"], args].concat());
        std::fs::read(place.path(&format!("{run}/predictor.safetensors"))).unwrap().len()
    };
    assert!(export("alone", &["--ensemble", "2"]) > export("alone", &[]));
    place.fails(
        2,
        &["eval", "alone", "--ensemble", "4"],
        "--ensemble 4: expected at most the 3 hidden units",
    );
    place.train(&["--out", "bp", "--method", "bp"]);
    place.fails(
        2,
        &["export", "bp", "--format", "onnx", "--ensemble", "1"],
        "--ensemble 1: `bp` trains no workers",
    );
}

#[test]
fn eval_repeats_the_errors_of_the_run_on_every_split() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    let summary = place.json("run/summary.json");
    for (split, count, error) in [
        ("test", 355, Some("test_error")),
        ("validation", 200, Some("validation_error")),
        ("train", 1242, None),
    ] {
        let out = place.ok(&["eval", "run", "--split", split, "--json"]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["examples"], count);
        assert_eq!(json["split"], split);
        assert_eq!(json["units"].as_array().unwrap().len(), 3);
        if let Some(key) = error {
            let (found, expected) =
                (json["error"].as_f64().unwrap(), summary[key].as_f64().unwrap());
            assert!((found - expected).abs() < 1e-9, "{split}: {found} and {expected}");
        }
    }
    let out = place.ok(&["eval", "run"]);
    assert!(out.contains("test: 355 images, loss "), "{out}");
}

#[test]
fn eval_takes_a_checkpoint_and_refuses_a_split_that_is_empty() {
    let place = Place::new();
    place.train(&["--out", "run", "--set", "dataset.validation=0"]);
    let out = place.ok(&["eval", "run/checkpoints/best.safetensors"]);
    assert!(out.starts_with("run/checkpoints/best.safetensors: digits · lfnn-l · seed 1"), "{out}");
    place.fails(
        2,
        &["eval", "run", "--split", "validation"],
        "--split validation: the run held out no images (`dataset.validation` is 0)",
    );
    assert_eq!(place.run(&["eval", "run", "--split", "tset"]).code, Some(2));
}

#[test]
fn predict_names_class_and_probability_without_the_data_set() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    image(&place, "one.pgm");
    image(&place, "two.pgm");
    let out = place.ok(&["predict", "run", "one.pgm", "two.pgm"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.starts_with("one.pgm  ") && out.lines().all(|l| l.ends_with(" %")), "{out}");
    assert_eq!(place.ok(&["predict", "run", "one.pgm", "-v"]).lines().count(), 5);

    let out = place.ok(&["predict", "run", "one.pgm", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    let probabilities = json[0]["probabilities"].as_array().unwrap();
    assert_eq!(probabilities.len(), 10);
    let sum: f64 = probabilities.iter().filter_map(|class| class["probability"].as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    for (index, class) in probabilities.iter().enumerate() {
        assert_eq!((&class["index"], &class["class"]), (&json!(index), &json!(index.to_string())));
    }
    let best = &probabilities[json[0]["index"].as_u64().unwrap() as usize];
    for key in ["class", "probability"] {
        assert_eq!(json[0][key], best[key]);
    }
}

#[test]
fn classes_of_one_name_are_told_apart_by_their_index() {
    let place = Place::new();
    let ppm = |value: u8| [&b"P6\n64 64\n255\n"[..], &[value; 64 * 64 * 3]].concat();
    for (class, value) in [("n01", 20), ("n02", 200)] {
        place.write(&format!("birds/train/{class}/images/1.ppm"), ppm(value));
        place.write(&format!("birds/val/images/{class}.ppm"), ppm(value));
    }
    place.write("birds/words.txt", "n01\tcrane\nn02\tcrane\n");
    place.write("birds/val/val_annotations.txt", "n01.ppm\tn01\nn02.ppm\tn02\n");
    let mut args = vec!["train", "digits", "--epochs", "1", "--out", "run"];
    for set in [
        "dataset.name=tiny-imagenet",
        "dataset.path=birds",
        "dataset.validation=0",
        "training.batch_size=2",
    ] {
        args.extend(["--set", set]);
    }
    place.ok(&args);
    let image = "birds/val/images/n02.ppm";
    let json: Value =
        serde_json::from_str(&place.ok(&["predict", "run", image, "--json"])).unwrap();
    let all = json[0]["probabilities"].as_array().unwrap();
    assert_eq!(
        (all.len(), &all[0]["class"], &all[1]["class"]),
        (2, &json!("crane"), &json!("crane"))
    );
    let out = place.ok(&["predict", "run", image, "-v"]);
    assert!(out.contains("crane (0)") && out.contains("crane (1)"), "{out}");
}

#[test]
fn every_image_is_answered_and_a_broken_one_is_named() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    image(&place, "one.pgm");
    image(&place, "two.pgm");
    place.write("bad.jpg", "no image");
    let args = ["predict", "run", "one.pgm", "bad.jpg", "two.pgm", "nowhere.png"];
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(1));
    let images: Vec<&str> = ended.out.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(images, ["one.pgm", "two.pgm"]);
    let errors: Vec<&str> = ended.err.lines().collect();
    assert_eq!(errors.len(), 2, "{}", ended.err);
    assert!(errors[0].starts_with("error: bad.jpg: cannot be decoded"), "{}", errors[0]);
    assert!(errors[1].starts_with("error: nowhere.png: cannot read"), "{}", errors[1]);

    let ended = place.run(&[&args[..], &["--json"]].concat());
    assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 2));
    let json: Value = serde_json::from_str(&ended.out).unwrap();
    let names: Vec<&str> =
        json.as_array().unwrap().iter().map(|v| v["image"].as_str().unwrap()).collect();
    assert_eq!(names, ["one.pgm", "bad.jpg", "two.pgm", "nowhere.png"]);
    for index in [0, 2] {
        assert!(json[index]["class"].is_string() && json[index]["error"].is_null(), "{json}");
    }
    let error = json[1]["error"].as_str().unwrap();
    assert!(error.starts_with("bad.jpg: cannot be decoded"), "{error}");
    assert!(json[1]["class"].is_null() && json[3]["error"].is_string(), "{json}");
}

#[test]
fn predict_notes_the_bits_that_it_does_not_use() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.write("deep.pgm", [&b"P5\n8 8\n65535\n"[..], &[7; 128]].concat());
    let ended = place.run(&["predict", "run", "deep.pgm"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.err, "note: deep.pgm has 16 bits per channel; 8 of them are used\n");
}

#[test]
fn one_vs_all_on_permuted_pixels_trains_evaluates_and_predicts() {
    let place = Place::new();
    small_mnist(&place, "data");
    let mut args = vec!["train", "mnist-permuted-ova", "--data-dir", "data", "--out", "run"];
    args.extend(SMALL);
    place.ok(&args);
    let out = place.ok(&["eval", "run", "--data-dir", "data", "--split", "validation"]);
    assert!(out.contains("validation: 10 images"), "{out}");
    image(&place, "one.pgm");
    assert_eq!(place.ok(&["predict", "run", "one.pgm"]).lines().count(), 1);
}

#[test]
fn early_exit_prints_what_each_threshold_is_worth() {
    let place = Place::new();
    place.ok(&["train", "--epochs", "4", "--out", "run"]);
    let json: serde_json::Value =
        serde_json::from_str(&place.ok(&["early-exit", "run", "--json"])).unwrap();
    let points = json["points"].as_array().unwrap();
    let number = |at: usize, key: &str| points[at][key].as_f64().unwrap();
    let last = points.len() - 1;
    assert!(points[last]["threshold"].is_null());
    assert!((0..last).all(|at| number(at, "arithmetic") <= number(at + 1, "arithmetic")));
    // Who never stops computes the workers too, and gives the network's own predictions.
    assert!(number(last, "arithmetic") > 1.0);
    let eval: serde_json::Value =
        serde_json::from_str(&place.ok(&["eval", "run", "--json"])).unwrap();
    assert!((number(last, "error") - eval["error"].as_f64().unwrap()).abs() < 1e-4);
    for point in points {
        let exits = point["exits"].as_array().unwrap();
        assert_eq!(exits.len(), 4);
        assert_eq!(exits.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 355);
    }
    let text = place.ok(&["early-exit", "run"]);
    assert!(text.starts_with("workers that speak for units 1 to 3: "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    #[cfg(feature = "report")]
    {
        place.ok(&["early-exit", "run", "--out", "curve"]);
        assert!(place.has("curve/early_exit.svg") && place.has("curve/early_exit.png"));
    }
    place.train(&["--method", "bp", "--out", "bp"]);
    place.fails(
        1,
        &["early-exit", "bp"],
        "bp/checkpoints/last.safetensors: `bp` trains no workers that could predict",
    );
}
