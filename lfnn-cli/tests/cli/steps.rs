//! `train --log-steps`: the metrics of every few steps.

use serde_json::Value;

use super::support::{Place, record};

fn rows(place: &Place, run: &str) -> Vec<Value> {
    let text = place.text(&format!("{run}/steps.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every number of a value, in order.
fn numbers(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.push(number.as_f64().unwrap()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        Value::Object(values) => values.values().for_each(|value| numbers(value, found)),
        _ => {}
    }
}

fn assert_close(one: &Value, other: &Value) {
    let [mut all, mut others] = [Vec::new(), Vec::new()];
    numbers(one, &mut all);
    numbers(other, &mut others);
    assert_eq!(all.len(), others.len());
    for (one, other) in all.iter().zip(&others) {
        assert!((one - other).abs() < 1e-9 * (1.0 + other.abs()), "{one} and {other}");
    }
}

#[test]
fn rows_of_steps_add_up_to_the_row_of_their_epoch_and_change_no_byte() {
    let place = Place::new();
    place.train(&["--out", "plain"]);
    place.train(&["--out", "run", "--log-steps", "4"]);
    assert!(!place.has("plain/steps.jsonl"));
    let last = |run: &str| place.bytes(&format!("{run}/checkpoints/last.safetensors"));
    assert!(last("run") == last("plain"));
    assert_eq!(record(&place, "run"), record(&place, "plain"));

    let rows = rows(&place, "run");
    let places = rows.iter().map(|row| (row["epoch"].as_u64(), row["step"].as_u64()));
    let expected = [(1, 4), (1, 6), (2, 4), (2, 6)].map(|(epoch, step)| (Some(epoch), Some(step)));
    assert!(places.eq(expected));
    let text = place.text("run/metrics.jsonl");
    for (epoch, rows) in text.lines().zip(rows.chunks(2)) {
        let epoch: Value = serde_json::from_str(epoch).unwrap();
        let mean = |value: &dyn Fn(&Value) -> f64| {
            (4.0 * value(&rows[0]["train"]) + 2.0 * value(&rows[1]["train"])) / 6.0
                - value(&epoch["train"])
        };
        assert!(mean(&|row| row["loss"].as_f64().unwrap()).abs() < 1e-9);
        assert!(mean(&|row| row["units"][1]["lead_percent"][2].as_f64().unwrap()).abs() < 1e-9);
        // Three of four workers lead in each batch.
        for row in rows {
            let shares = row["train"]["units"][0]["lead_percent"].as_array().unwrap();
            let sum: f64 = shares.iter().map(|share| share.as_f64().unwrap()).sum();
            assert!((sum - 300.0).abs() < 1e-9, "{sum}");
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_resumed_run_continues_the_log() {
    let place = Place::new();
    let ends = |args: &[&str], operation: Option<usize>| {
        let mut command = place.command(args);
        if let Some(operation) = operation {
            command.env("LFNN_TEST_ABORT_AT_FILE_OPERATION", operation.to_string());
        }
        command.output().unwrap().status.success()
    };
    let train = |out: &str, operation| {
        let args = ["train", "--epochs", "2", "--limit-batches", "9", "--log-steps", "4"];
        let saves = ["--set", "checkpoints.every_batches=3", "--out", out];
        ends(&[&args[..], &saves].concat(), operation)
    };
    assert!(train("whole", None));
    let mut logged = 0;
    for operation in (20..90).step_by(7) {
        if train("run", Some(operation)) {
            break;
        }
        // Without the option: the run has a log already, or had none when it stopped.
        let log = place.path("run/steps.jsonl");
        let had_rows = std::fs::read_to_string(log).is_ok_and(|log| log.contains('\n'));
        assert!(ends(&["train", "--resume", "--out", "run"], None), "{operation}");
        if had_rows {
            logged += 1;
            let (found, whole) = (rows(&place, "run"), rows(&place, "whole"));
            assert_eq!(found.len(), whole.len(), "{operation}");
            found.iter().zip(&whole).for_each(|(one, other)| assert_close(one, other));
        }
        std::fs::remove_dir_all(place.path("run")).unwrap();
    }
    assert!(logged > 3, "{logged} runs stopped after a row");
}
