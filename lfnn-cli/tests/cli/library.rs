//! Models travel between the program and the library: the numbers that they predict are the same.

use std::fs::File;

use lfnn_core::config::{NetworkConfig, OptimizerConfig, TrainingConfig, UnitConfig};
use lfnn_core::method::LFNN_L;
use lfnn_core::model::Model;
use lfnn_core::train::{Setup, Trainer};
use lfnn_cpu::Cpu;
use lfnn_data::{DatasetName, Examples, Source, Table, TableEncoding, silent};
use ndarray::{Array2, ArrayView4, ArrayViewMut1};
use serde_json::Value;

use super::own_data::{config, price, rows};
use super::support::Place;

/// Test images of the digits.
fn digits() -> Examples {
    let source = Source::named(DatasetName::Digits);
    lfnn_data::Dataset::load(&source, ".".as_ref(), &silent).unwrap().test
}

fn view(images: &Examples) -> ArrayView4<'_, u8> {
    ArrayView4::from_shape((images.len(), 8, 8, 1), images.bytes()).unwrap()
}

/// What the program predicts of these images with a model.
fn predicted(place: &Place, model: &str, images: &Examples, count: usize) -> Array2<f32> {
    let mut args = vec!["predict".to_owned(), model.to_owned(), "--json".to_owned()];
    for index in 0..count {
        let name = format!("images/{index}.pgm");
        place.write(&name, [b"P5\n8 8\n255\n".as_slice(), images.image(index)].concat());
        args.push(name);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let rows: Value = serde_json::from_str(&place.ok(&args)).unwrap();
    let mut all = Array2::zeros((count, 10));
    for (row, answer) in rows.as_array().unwrap().iter().enumerate() {
        let mut to: ArrayViewMut1<'_, f32> = all.row_mut(row);
        for (class, probability) in answer["probabilities"].as_array().unwrap().iter().enumerate() {
            to[class] = probability["probability"].as_f64().unwrap() as f32;
        }
    }
    all
}

fn assert_close(one: &Array2<f32>, other: &Array2<f32>) {
    assert!(one.std_axis(ndarray::Axis(0), 0.0).iter().any(|&spread| spread > 0.01));
    let most = one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(most < 1e-6, "off by {most}");
}

#[test]
fn a_program_reads_a_checkpoint_and_predicts_what_predict_says() {
    let place = Place::new();
    place.ok(&["train", "--epochs", "4", "--out", "run", "--threads", "1"]);
    let images = digits();
    let expected = predicted(&place, "run", &images, 40);
    let file = File::open(place.path("run/checkpoints/last.safetensors")).unwrap();
    let model = Model::read(file).unwrap();
    assert_eq!(model.description.method, "lfnn-l");
    assert_eq!(model.description.names()[7], "7");
    let mut predictor = model.on(&Cpu::new(Some(1)).unwrap(), 16).unwrap();
    let found = predictor.predict(view(&images).slice(ndarray::s![..40, .., .., ..])).unwrap();
    assert_close(&found, &expected);
}

#[test]
fn a_program_reads_the_checkpoint_of_a_table_with_its_encoding() {
    let place = Place::new();
    place.write("t.csv", rows(price));
    place.write("c.yaml", config("", "regression"));
    place.ok(&["train", "--config", "c.yaml", "--epochs", "20", "-q", "--out", "run"]);
    let csv = place.ok(&["predict", "run", "t.csv"]);
    let expected: Vec<f32> = csv.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    let file = File::open(place.path("run/checkpoints/best.safetensors")).unwrap();
    let best = Model::read(file).unwrap();
    let file = File::open(place.path("run/checkpoints/last.safetensors")).unwrap();
    let model = Model::read(file).unwrap();
    assert_eq!(best.description, model.description);
    let encoding = model.description.preprocessing["table"].clone();
    let encoding: TableEncoding = serde_json::from_value(encoding).unwrap();
    let features = encoding.features(&Table::read(&place.path("t.csv")).unwrap()).unwrap();
    let mut predictor = model.on(&Cpu::new(Some(1)).unwrap(), 16).unwrap();
    let found = predictor.predict(features.view()).unwrap();
    assert_eq!(found.dim(), (120, 1));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} and {expected}");
    }
}

#[test]
fn the_program_predicts_with_and_exports_the_model_of_another_and_does_not_resume_it() {
    let (place, images) = (Place::new(), digits());
    let data = images.dataset().unwrap();
    let network = NetworkConfig::new([UnitConfig::new().flatten().linear(32).relu().readout(4)]);
    let training = TrainingConfig::new(32, 4, OptimizerConfig::adam(0.01));
    let setup = Setup::new(&network, &training, LFNN_L);
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut trainer = Trainer::new(&cpu, &setup, &data).unwrap();
    trainer.fit(|_| ()).unwrap();
    let model = trainer.model().unwrap();
    model.write(File::create(place.path("model.safetensors")).unwrap()).unwrap();

    let found = predicted(&place, "model.safetensors", &images, 20);
    let mut predictor = model.on(&cpu, 64).unwrap();
    let expected = predictor.predict(view(&images).slice(ndarray::s![..20, .., .., ..])).unwrap();
    assert_close(&found, &expected);
    for format in ["onnx", "safetensors"] {
        let out = place.ok(&["export", "model.safetensors", "--format", format]);
        assert!(out.starts_with(&format!("predictor.{}", format)), "{out}");
    }
    place.fails(
        1,
        &["eval", "model.safetensors"],
        "model.safetensors: a model without a run: another program trained it; expected a checkpoint of `train`",
    );
}
