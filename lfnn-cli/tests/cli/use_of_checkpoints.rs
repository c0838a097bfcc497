//! `eval` and `predict`.

use super::support::{Place, SMALL, small_mnist};

/// A grey image of the digits' size, as PGM.
fn image(place: &Place, name: &str) {
    let mut bytes = b"P5\n8 8\n255\n".to_vec();
    bytes.extend((0..64u8).map(|i| i.wrapping_mul(13)));
    place.write(name, bytes);
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
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
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
        "--split validation: the run held no image out (`dataset.validation` is 0)",
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
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let probabilities = json[0]["probabilities"].as_object().unwrap();
    assert_eq!(probabilities.len(), 10);
    let sum: f64 = probabilities.values().filter_map(|p| p.as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    let class = json[0]["class"].as_str().unwrap();
    assert_eq!(probabilities[class], json[0]["probability"]);
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
