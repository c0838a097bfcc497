//! `bench`: what it measures is there and makes sense. No time is asserted.

use serde_json::Value;

use super::support::Place;

fn positive(value: &Value) -> f64 {
    let number = value.as_f64().unwrap();
    assert!(number > 0.0 && number.is_finite(), "{value}");
    number
}

#[test]
fn a_step_is_told_by_part_and_by_operation() {
    let place = Place::new();
    let args = ["bench", "--recipe", "digits", "--batch", "16", "--seconds", "0.05", "--json"];
    let out: Value = serde_json::from_str(&place.ok(&args)).unwrap();
    assert_eq!(
        (&out["recipe"], &out["method"], &out["batch"]),
        (&"digits".into(), &"lfnn-l".into(), &16.into())
    );
    for speed in ["training_images_per_second", "inference_images_per_second"] {
        let [low, median, high] =
            ["lower_quartile", "median", "upper_quartile"].map(|name| positive(&out[speed][name]));
        assert!(low <= median && median <= high, "{out}");
    }
    for name in ["step_seconds", "persistent_bytes", "step_bytes"] {
        positive(&out[name]);
    }
    let names = |list: &str| -> Vec<String> {
        let rows = out[list].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("parts"), ["batch", "unit 1", "unit 2", "unit 3", "output"]);
    let sum = |list: &str, key: &str| -> f64 {
        out[list].as_array().unwrap().iter().map(|row| row[key].as_f64().unwrap()).sum()
    };
    for key in ["flops", "bytes", "operations"] {
        assert_eq!(sum("parts", key), sum("operations", key), "{key}");
        assert_eq!(sum("parts", key), sum("steps", key), "{key}");
    }
    for name in ["Conv2d", "Conv2dWeightGrad", "SelectLeaders", "AdamStep"] {
        assert!(names("operations").iter().any(|found| found == name), "no {name}");
    }
    assert!(!names("operations").iter().any(|found| found == "Conv2dInputGrad"));
    positive(&out["peak_rates"]["flops_per_second"]);
    positive(&out["peak_rates"]["bytes_per_second"]);
    assert!(!place.has("runs"), "a benchmark leaves no run");
}

#[test]
fn the_tables_name_the_recipe_the_method_and_the_machine() {
    let place = Place::new();
    let args = ["bench", "--recipe", "digits", "--method", "bp", "--seconds", "0.05"];
    let out = place.ok(&args);
    for text in [
        "digits · bp · batches of",
        "training ",
        "inference ",
        "images/s",
        "peak of this machine: ",
        "a convolution by Winograd's method counts as a direct one",
    ] {
        assert!(out.contains(text), "{text}\n{out}");
    }
}

#[test]
fn a_description_counts_what_the_method_trains_and_measures_nothing() {
    let place = Place::new();
    // Convolutions and their normalisation, the output layer of 192 features, and readouts.
    let predictor = (144 + 32) + (4608 + 64) + (13824 + 96) + (1920 + 10);
    let readouts = 4 * ((64 + 1) + (128 + 1) + (48 + 1)) * 10;
    for (method, trained) in [("lfnn-l", predictor + readouts), ("bp", predictor)] {
        let args = ["bench", "--recipe", "digits", "--method", method, "--describe"];
        let out: Value = serde_json::from_str(&place.ok(&args)).unwrap();
        assert_eq!(out["parameters"], trained, "{method}");
        assert_eq!(out["method"], method);
        assert_eq!(out["image"], serde_json::json!([8, 8, 1]));
        assert_eq!(out["classes"], 10);
        assert_eq!(out["configuration"]["training"]["batch_size"], out["batch"]);
        assert!(out.get("step_seconds").is_none(), "{out}");
    }
}

#[test]
fn a_benchmark_of_nothing_is_refused() {
    let place = Place::new();
    place.fails(
        2,
        &["bench", "--recipe", "mnist-x"],
        "there is no recipe `mnist-x`; did you mean `mnist-s`? (`lfnn-cli recipes` lists them)",
    );
    place.fails(
        2,
        &["bench", "--recipe", "digits", "--batch", "0"],
        "--batch 0: training.batch_size: 0, expected at least 1",
    );
    for batch in ["1000000000000", "18446744073709551615"] {
        let ended = place.run(&["bench", "--recipe", "digits", "--batch", batch]);
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let start = format!("error: 8 batches of {batch} images need ");
        assert!(
            ended.err.starts_with(&start) && ended.err.contains("; this machine has "),
            "{}",
            ended.err
        );
    }
    place.fails(
        2,
        &["bench", "--recipe", "digits", "--backend", "cpu", "--precision", "bf16"],
        "`precision` is bf16, but the CPU computes only in f32 (`--precision f32`, or `--backend cuda`)",
    );
    let ended = place.run(&["bench", "--seconds", "0"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("expected a number of seconds above 0"), "{}", ended.err);
}
