//! What a run leaves in its folder.

use super::support::Place;

#[test]
fn a_run_folder_holds_all_that_is_promised() {
    let place = Place::new();
    let out = place.train(&["--out", "run"]);
    let mut names: Vec<String> = std::fs::read_dir(place.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let files = ["config.yaml", "metrics.csv", "metrics.jsonl", "origin.json", "summary.json"];
    assert_eq!(names[..2], [".lock", "checkpoints"]);
    assert_eq!(names[2..], files);
    let origin = place.json("run/origin.json");
    let command = "lfnn-cli train --epochs 2 --limit-batches 6 --out run";
    assert_eq!(origin["command"], command);
    assert_eq!(origin["version"], env!("CARGO_PKG_VERSION"));
    let date = origin["date"].as_str().unwrap();
    assert!(date.starts_with("20") && date.ends_with(" UTC"), "{date}");
    assert!(origin["machine"].as_str().unwrap().contains(std::env::consts::OS));
    assert!(place.has("run/checkpoints/best.safetensors"));

    let summary = place.json("run/summary.json");
    assert_eq!(summary["parameters"], 20698);
    assert_eq!(summary["head_parameters"], 9720);
    assert_eq!(summary["seed"], 1);
    assert_eq!(summary["method"], "lfnn-l");
    assert_eq!(summary["recipe"], "digits");
    assert_eq!(summary["backend"], "cpu");
    assert_eq!(summary["precision"], "f32");
    assert!(summary["device_memory_bytes"].as_u64().unwrap() > 1 << 10);
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
    assert!(summary["images_per_second"].as_f64().unwrap() > 0.0);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    let error = summary["test_error"].as_f64().unwrap();
    assert!(out.ends_with(&format!("test error: {error:.2} %\n")), "{out}");
}

#[test]
fn the_metrics_have_a_row_for_each_epoch_and_speak_of_every_unit() {
    let place = Place::new();
    place.train(&["--out", "run", "--set", "network.units.0.workers.readout.count=2"]);
    let text = place.text("run/metrics.jsonl");
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    let row = &rows[1];
    assert_eq!(row["epoch"], 2);
    assert_eq!(row["train"]["examples"], 6 * 32);
    assert_eq!(row["validation"]["examples"], 200);
    assert_eq!(row["test"]["examples"], 355);
    let numbers = |values: &serde_json::Value| -> Vec<f64> {
        values.as_array().unwrap().iter().filter_map(|n| n.as_f64()).collect()
    };
    for images in ["train", "validation", "test"] {
        let units = row[images]["units"].as_array().unwrap();
        assert_eq!(units.len(), 3);
        for (unit, workers, leaders) in [(&units[0], 2, 1.0), (&units[1], 4, 3.0)] {
            for key in ["worker_errors", "worker_losses"] {
                assert_eq!(numbers(&unit[key]).len(), workers, "{key}");
            }
            if images == "train" {
                let shares = numbers(&unit["lead_percent"]);
                assert_eq!(shares.len(), workers);
                assert!((shares.iter().sum::<f64>() - 100.0 * leaders).abs() < 1e-9);
                assert!(unit["leader_loss"].as_f64().unwrap() > 0.0);
            }
        }
    }

    let csv = place.text("run/metrics.csv");
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3);
    // Loss and error of three sets; of each unit two losses, and three metrics of workers where two are enough for
    // the images that are not trained on: their lowest and mean value, and one for each of 2, 4 and 4 workers.
    let of_unit = |workers: usize| 2 + (2 + workers) * (3 + 2 + 2);
    assert_eq!(lines[0].len(), 5 + 3 * 2 + of_unit(2) + 2 * of_unit(4));
    assert!(lines[1..].iter().flatten().all(|cell| cell.parse::<f64>().is_ok()));
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    assert_eq!(lines[2][0], "2");
    let cell = |name: &str| -> f64 {
        let column = lines[0].iter().position(|column| *column == name).unwrap();
        lines[2][column].parse().unwrap()
    };
    let errors = numbers(&row["test"]["units"][0]["worker_errors"]);
    let lowest = errors.into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!(cell("test_unit1_worker_errors_lowest"), lowest);
    let shares = numbers(&row["train"]["units"][1]["lead_percent"]);
    assert_eq!(cell("train_unit2_worker3_lead_percent"), shares[2]);
}

#[test]
fn where_all_workers_learn_from_labels_nobody_leads() {
    let place = Place::new();
    let out = place.train(&["--out", "run", "--method", "lg-bp"]);
    assert!(out.contains("workers: test errors after epoch 2\nunit  workers"), "{out}");
    assert!(!out.contains("led"), "{out}");
    let text = place.text("run/metrics.jsonl");
    let row: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for unit in row["train"]["units"].as_array().unwrap() {
        let losses = unit["worker_losses"].as_array().unwrap();
        let sum: f64 = losses.iter().filter_map(|loss| loss.as_f64()).sum();
        assert!((unit["local_loss"].as_f64().unwrap() - sum).abs() < 1e-9);
        for key in ["leader_loss", "follower_loss", "lead_percent"] {
            assert!(unit.get(key).is_none(), "{key}");
        }
    }
    let eval: serde_json::Value =
        serde_json::from_str(&place.ok(&["eval", "run", "--json"])).unwrap();
    assert_eq!(eval["units"].as_array().unwrap().len(), 3);
}

#[test]
fn bp_has_no_leaders_to_speak_of() {
    let place = Place::new();
    let out = place.train(&["--out", "run", "--method", "bp"]);
    assert!(!out.contains("how often each was a leader"), "{out}");
    let text = place.text("run/metrics.jsonl");
    assert!(text.lines().all(|line| line.matches("\"units\":[]").count() == 3), "{text}");
}

#[test]
fn a_pipe_gets_plain_lines() {
    let place = Place::new();
    let ended = place.run(&["train", "--epochs", "2", "--limit-batches", "3"]);
    assert_eq!(ended.err, "");
    assert!(ended.out.chars().all(|c| c == '\n' || !c.is_control()), "{}", ended.out);
    for line in ["1/2  ", "2/2  "] {
        assert!(ended.out.lines().any(|l| l.trim_start().starts_with(line)), "{}", ended.out);
    }
}

#[test]
fn a_folder_with_a_run_in_it_is_not_overwritten() {
    let place = Place::new();
    place.train(&["--out", "run"]);
    place.fails(
        2,
        &["train", "--out", "run"],
        "run: this folder already holds a run; --resume continues it, another --out starts a new one",
    );
    place.train(&[]);
    place.train(&[]);
    assert!(place.has("runs/digits-lfnn-l-1/summary.json"));
    assert!(place.has("runs/digits-lfnn-l-1-2/summary.json"));
}

#[test]
fn the_last_few_epochs_are_kept_if_asked_for() {
    let place = Place::new();
    place.ok(&[
        "train",
        "--out",
        "run",
        "--epochs",
        "4",
        "--limit-batches",
        "2",
        "--set",
        "checkpoints.keep_epochs=2",
    ]);
    let has = |epoch| place.has(&format!("run/checkpoints/epoch-{epoch:04}.safetensors"));
    assert_eq!([1, 2, 3, 4].map(has), [false, false, true, true]);
    let last = place.bytes("run/checkpoints/last.safetensors");
    assert!(place.bytes("run/checkpoints/epoch-0004.safetensors") == last);
}

#[test]
fn a_run_stops_early_when_its_patience_is_over() {
    let place = Place::new();
    let out = place.ok(&[
        "train",
        "--out",
        "run",
        "--epochs",
        "40",
        "--limit-batches",
        "2",
        "--set",
        "checkpoints.patience=1",
        "--set",
        "training.optimizer.sgd.lr=1e-9",
    ]);
    assert!(out.contains("stopped early: 1 epochs without a better validation error"), "{out}");
    let summary = place.json("run/summary.json");
    assert_eq!(summary["stopped_early"], true);
    let (epochs, best) =
        (summary["epochs"].as_u64().unwrap(), summary["best"]["epoch"].as_u64().unwrap());
    assert_eq!(epochs, best + 1);
    assert!(epochs < 40);
}
