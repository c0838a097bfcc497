//! The library as a program uses it: data as ndarray's views, training, prediction, and models that are kept.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::backend::{Backend, BackendError, Precision};
use lfnn_core::config::{
    NetworkConfig, OptimizerConfig, ScheduleConfig, Task, TrainingConfig, UnitConfig,
};
use lfnn_core::data::{DataError, Dataset, Inputs};
use lfnn_core::device::{Device, Platform};
use lfnn_core::method::{BP, LFNN_L, METHODS, Method};
use lfnn_core::model::Model;
use lfnn_core::onnx::{OnnxError, OnnxOptions};
use lfnn_core::train::{Setup, TrainError, Trainer};
use lfnn_cpu::{Cpu, CpuPlatform};
use lfnn_tests::reference::Reference;
use lfnn_tests::source::Source;
use ndarray::{Array1, Array2, Array4, ArrayView2, Axis, array};

const ROWS: usize = 120;

/// Three clouds of points in four dimensions: features and labels.
fn clouds() -> (Array2<f32>, Array1<u32>) {
    let mut source = Source::new(11);
    let labels = Array1::from_shape_fn(ROWS, |row| (row % 3) as u32);
    let noise = source.reals(ROWS * 4, -1.0, 1.0);
    let features = Array2::from_shape_fn((ROWS, 4), |(row, column)| {
        let center = if column == row % 3 { 40.0 } else { 10.0 };
        center + 8.0 * noise[row * 4 + column]
    });
    (features, labels)
}

fn network() -> NetworkConfig {
    NetworkConfig::new([
        UnitConfig::new().flatten().linear(12).relu().readout(4),
        UnitConfig::new().linear(12).relu().readout(4),
    ])
}

fn training() -> TrainingConfig {
    TrainingConfig::new(16, 12, OptimizerConfig::adam(0.02))
}

fn cpu() -> Cpu {
    Cpu::new(Some(1)).unwrap()
}

fn setup<'a>(
    network: &'a NetworkConfig,
    training: &'a TrainingConfig,
    method: &'static Method,
) -> Setup<'a> {
    Setup::new(network, training, method)
}

fn close(one: ArrayView2<'_, f32>, other: ArrayView2<'_, f32>, tolerance: f32) {
    assert_eq!(one.dim(), other.dim());
    for (a, b) in one.iter().zip(other) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }
}

#[test]
fn every_method_learns_a_table_and_its_model_predicts_as_the_reference_does() {
    let (features, labels) = clouds();
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (train, test) = data.split(0.25, 3).unwrap();
    for method in METHODS {
        let (network, mut training) = (network(), training());
        let is_forward = method.name.contains("fg");
        if is_forward {
            training = TrainingConfig::new(16, 100, OptimizerConfig::adam(0.005));
        }
        let setup = setup(&network, &training, method);
        let mut trainer = Trainer::new(&cpu(), &setup, &train).unwrap();
        let mut epochs = 0;
        trainer.fit(|report| epochs = report.epoch).unwrap();
        assert_eq!(epochs, training.epochs);
        let evaluated = trainer.evaluate(&test).unwrap();
        let error = evaluated.error().unwrap();
        // Forward gradients are slow, but far from chance, 66.7 %; all others are near perfect.
        let most = if is_forward { 40.0 } else { 4.0 };
        assert!(error < most, "{}: {error} %", method.name);

        let model = trainer.model().unwrap();
        let mut predictor = model.on(&cpu(), 7).unwrap();
        let probabilities = predictor.predict(test.inputs()).unwrap();
        assert_eq!(probabilities.dim(), (30, 3));
        let reference = model.on(&Reference, 7).unwrap().predict(test.inputs()).unwrap();
        close(probabilities.view(), reference.view(), 1e-5);
        // The same data set, evaluated in batches of another size.
        let again = predictor.evaluate(&test).unwrap();
        assert_eq!(again.error(), evaluated.error(), "{}", method.name);
        assert!((again.loss() - evaluated.loss()).abs() < 1e-5);
        let classes = predictor.predict_classes(test.inputs()).unwrap();
        let wrong = classes.iter().zip(test.labels()).filter(|(a, b)| **a != *b).count();
        assert!((100.0 * wrong as f64 / 30.0 - error).abs() < 1e-9, "{}", method.name);
    }
}

#[test]
fn workers_predict_probabilities_whose_errors_are_those_of_an_evaluation() {
    let (features, labels) = clouds();
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (network, training) = (network(), training());
    let mut trainer = Trainer::new(&cpu(), &setup(&network, &training, LFNN_L), &data).unwrap();
    trainer.fit(|_| ()).unwrap();
    let evaluated = trainer.evaluate(&data).unwrap();
    let mut predictor = trainer.model().unwrap().on(&cpu(), 32).unwrap();
    let units = predictor.predict_workers(features.view()).unwrap();
    assert_eq!(units.len(), 2);
    for (unit, metrics) in units.iter().zip(&evaluated.units) {
        assert_eq!(unit.dim(), (ROWS, 4, 3));
        for (worker, expected) in metrics.workers("worker_errors").iter().enumerate() {
            let outputs = unit.index_axis(Axis(1), worker);
            let wrong = outputs.rows().into_iter().zip(&labels).filter(|(row, label)| {
                assert!((row.sum() - 1.0).abs() < 1e-5);
                row.iter().any(|p| *p > row[**label as usize])
            });
            let error = 100.0 * wrong.count() as f64 / ROWS as f64;
            assert!((error - expected).abs() < 1e-6, "{error} and {expected}");
        }
    }
    let model = {
        let mut trainer = Trainer::new(&cpu(), &setup(&network, &training, BP), &data).unwrap();
        trainer.fit(|_| ()).unwrap();
        trainer.model().unwrap()
    };
    assert!(model.on(&cpu(), 8).unwrap().predict_workers(features.view()).unwrap().is_empty());
}

#[test]
fn a_regression_predicts_in_the_units_of_its_values() {
    let (features, _) = clouds();
    let values = Array2::from_shape_fn((ROWS, 2), |(row, value)| match value {
        0 => 1000.0 + 20.0 * features[[row, 0]] - 5.0 * features[[row, 1]],
        _ => 1e-3 * features[[row, 2]],
    });
    let data = Dataset::regression(features.view(), values.view()).unwrap();
    let network = network().task(Task::Regression);
    let training = TrainingConfig::new(20, 60, OptimizerConfig::adam(0.01));
    let mut trainer = Trainer::new(&cpu(), &setup(&network, &training, LFNN_L), &data).unwrap();
    trainer.fit(|_| ()).unwrap();
    let evaluated = trainer.evaluate(&data).unwrap();
    assert_eq!(evaluated.error(), None);
    let mut predictor = trainer.model().unwrap().on(&cpu(), 50).unwrap();
    let predicted = predictor.predict(features.view()).unwrap();
    let mut mean_loss = 0.0;
    for value in 0..2 {
        let (truth, found) = (values.column(value), predicted.column(value));
        let mean = truth.mean().unwrap();
        let squares =
            |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let residual = squares(&mut truth.iter().zip(found).map(|(a, b)| a - b));
        let total = squares(&mut truth.iter().map(|x| x - mean));
        assert!(residual / total < 0.05, "R² of {}", 1.0 - residual / total);
        mean_loss += residual / total / 2.0;
    }
    // The loss is that of standardised values: 1 − R², the mean over the values.
    assert!((evaluated.loss() - mean_loss).abs() < 1e-4, "{} and {mean_loss}", evaluated.loss());
    let again = predictor.evaluate(&data).unwrap();
    assert!((again.loss() - evaluated.loss()).abs() < 1e-6);
    let workers = predictor.predict_workers(features.view()).unwrap();
    assert_eq!(workers[0].dim(), (ROWS, 4, 2));
    let off = (workers[1][[0, 0, 0]] - values[[0, 0]]).abs();
    assert!(off < 400.0, "a worker is {off} off, in the units of the values");
    let error = predictor.predict_classes(features.view()).unwrap_err().to_string();
    assert_eq!(error, "a regression predicts numbers, not classes");
}

#[test]
fn a_model_is_read_as_it_was_written_and_resumes_to_the_bytes_of_an_uninterrupted_training() {
    let (features, labels) = clouds();
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let data = data.named(["oak", "ash", "elm"]).unwrap();
    let (network, mut training) = (network(), training());
    training.schedule = ScheduleConfig::cosine();
    let setup = setup(&network, &training, LFNN_L);
    let trainer = || Trainer::new(&cpu(), &setup, &data).unwrap();
    let mut whole = trainer();
    whole.fit(|_| ()).unwrap();

    let mut first = trainer();
    for _ in 0..3 {
        first.train_step().unwrap();
    }
    let (mut bytes, model) = (Vec::new(), first.model().unwrap());
    model.write(&mut bytes).unwrap();
    let read = Model::read(&*bytes).unwrap();
    assert_eq!(read, model);
    assert_eq!(read.description.names(), ["oak", "ash", "elm"]);
    let mut second = trainer();
    second.restore(&read.state).unwrap();
    assert_eq!((second.epoch(), second.step_in_epoch()), (0, 3));
    second.fit(|_| ()).unwrap();
    assert_eq!(second.state().unwrap(), whole.state().unwrap());

    let small = whole.model().unwrap().without_training();
    assert!(small.state.tensors.iter().all(|tensor| !tensor.name.contains("optimizer")));
    let all = whole.model().unwrap().on(&cpu(), 8).unwrap().predict(features.view()).unwrap();
    assert_eq!(small.on(&cpu(), 8).unwrap().predict(features.view()).unwrap(), all);

    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let error = Model::read(&*bytes).unwrap_err().to_string();
    assert!(error.starts_with("the checksum does not match"), "{error}");
    let error = Model::read(&bytes[..99]).unwrap_err().to_string();
    assert_eq!(error, "not a safetensors file, or a truncated one");
}

#[test]
fn steps_tell_their_own_metrics_and_take_batches_of_the_callers() {
    let (features, labels) = clouds();
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (network, training) = (network(), training());
    let setup = setup(&network, &training, LFNN_L);
    let mut trainer = Trainer::new(&cpu(), &setup, &data).unwrap();
    let mut sum = 0.0;
    let mut leads = [0.0; 4];
    for _ in 0..trainer.steps_per_epoch() {
        let step = trainer.train_step_with_metrics().unwrap();
        assert_eq!((step.batches, step.examples), (1, 16));
        sum += step.loss();
        let led = step.units[0].workers("lead_percent");
        // δ = 0.7 of four workers: three lead, in this very step.
        assert_eq!(led.iter().filter(|&&percent| percent == 100.0).count(), 3, "{led:?}");
        leads.iter_mut().zip(led).for_each(|(sum, percent)| *sum += percent);
    }
    let epoch = trainer.metrics().unwrap();
    let steps = trainer.steps_per_epoch() as f64;
    assert!((epoch.loss() - sum / steps).abs() < 1e-5);
    let expected: Vec<f64> = leads.iter().map(|sum| sum / steps).collect();
    for (a, b) in epoch.units[0].workers("lead_percent").iter().zip(expected) {
        assert!((a - b).abs() < 1e-3);
    }
    trainer.end_epoch().unwrap();

    // A batch of one class moves the predictions towards it.
    let of_class: Vec<u32> = (0..ROWS as u32).filter(|row| row % 3 == 1).take(16).collect();
    let share = |trainer: &Trainer| {
        let mut predictor = trainer.model().unwrap().on(&cpu(), 40).unwrap();
        predictor.predict(features.view()).unwrap().column(1).mean().unwrap()
    };
    let before = share(&trainer);
    for _ in 0..5 {
        trainer.train_step_on(&of_class).unwrap();
    }
    let after = share(&trainer);
    assert!(after > before + 0.05, "{before} and {after}");
    let error = trainer.train_step_on(&of_class[1..]).unwrap_err().to_string();
    assert_eq!(error, "15 examples, expected a batch of 16");
    assert!(matches!(
        trainer.train_step_on(&[999; 16]),
        Err(TrainError::NoImage { index: 999, .. })
    ));
}

#[test]
fn images_are_the_same_whatever_the_order_of_their_axes_in_memory() {
    let mut source = Source::new(5);
    let bytes: Vec<u8> = (0..12 * 3 * 4 * 2).map(|_| source.below(256) as u8).collect();
    let last = Array4::from_shape_vec((12, 3, 4, 2), bytes).unwrap();
    let labels = Array1::from_shape_fn(12, |row| (row % 2) as u32);
    let network = NetworkConfig::new([UnitConfig::new().conv(4, 3).relu().readout(2).max_pool(2)]);
    let training = TrainingConfig::new(4, 2, OptimizerConfig::sgd(0.1));
    let setup = setup(&network, &training, LFNN_L);
    let state = |inputs: Inputs<'_>| {
        let data = Dataset::classification(inputs, labels.view()).unwrap();
        let mut trainer = Trainer::new(&cpu(), &setup, &data).unwrap();
        trainer.fit(|_| ()).unwrap();
        trainer.state().unwrap()
    };
    let expected = state(last.view().into());
    let first = last.view().permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned();
    assert_eq!(state(Inputs::channels_first(first.view())), expected);
    // Real numbers that stand for the same.
    let reals = last.mapv(|byte| f32::from(byte) / 255.0);
    let from_reals = state(reals.view().into());
    assert_eq!(from_reals.tensors.len(), expected.tensors.len());
}

#[test]
fn data_that_cannot_be_is_an_error_that_says_why() {
    let (mut features, labels) = clouds();
    let short = labels.slice(ndarray::s![1..]);
    let error = Dataset::classification(features.view(), short).unwrap_err();
    assert_eq!(error.to_string(), "119 targets for 120 examples, expected one for each");
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    assert_eq!(data.split(1.0, 1).unwrap_err(), DataError::Share(1.0));
    let error = data.split(0.001, 1).unwrap_err().to_string();
    assert_eq!(error, "a share of 0.001 of 120 examples leaves one part empty");
    assert_eq!(data.select(&[120]).unwrap_err(), DataError::Row { row: 120, rows: 120 });
    let error = data.clone().named(["a", "b"]).unwrap_err().to_string();
    assert_eq!(error, "example 2 has class 2, expected below 2");
    let (network, training) = (network(), training());
    let trained = |data: &Dataset<'_>| {
        Trainer::new(&cpu(), &setup(&network, &training, LFNN_L), data).unwrap()
    };
    let mut trainer = trained(&data);
    let other = Dataset::classification(features.view(), labels.view()).unwrap();
    assert!(matches!(trainer.evaluate(&other), Err(TrainError::OtherDataset)));
    let mut predictor = trainer.model().unwrap().on(&cpu(), 8).unwrap();
    let three = features.slice(ndarray::s![.., ..3]);
    let error = predictor.predict(three).unwrap_err().to_string();
    assert_eq!(error, "inputs of shape [1, 1, 3], expected [1, 1, 4] (height, width, channels)");
    let bytes = Array4::<u8>::zeros((1, 1, 1, 4));
    let error = predictor.predict(bytes.view()).unwrap_err().to_string();
    assert_eq!(error, "inputs of bytes, expected real numbers, as in training");
    let values = array![[1.0], [f32::NAN]];
    let error = Dataset::regression(Array2::zeros((2, 3)).view(), values.view()).unwrap_err();
    assert_eq!(error.to_string(), "target 0 of example 1 is NaN, expected a finite number");
    assert_eq!(predictor.predict(Array2::zeros((0, 4)).view()).unwrap().dim(), (0, 3));
    features[[7, 2]] = f32::INFINITY;
    let error = Dataset::classification(features.view(), labels.view()).unwrap_err();
    assert_eq!(error.to_string(), "feature 2 of example 7 is inf, expected a finite number");
    let error = predictor.predict(features.view()).unwrap_err();
    assert!(matches!(error, TrainError::Dataset(DataError::NotFinite { example: 7, .. })));
}

#[test]
fn a_prediction_stops_at_the_first_unit_that_is_sure_enough() {
    let (features, labels) = clouds();
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (train, test) = data.split(0.4, 3).unwrap();
    for task in [Task::Classification, Task::OneVsAll] {
        let mut network = network().task(task);
        if task == Task::OneVsAll {
            let unit = UnitConfig::new().flatten().neurons(4);
            network.units = vec![unit, UnitConfig::new().neurons(4)];
        }
        let training = TrainingConfig::new(12, 3, OptimizerConfig::adam(0.02));
        let setup = setup(&network, &training, LFNN_L);
        let mut trainer = Trainer::new(&cpu(), &setup, &train).unwrap();
        trainer.fit(|_| ()).unwrap();
        let model = trainer.model().unwrap();
        let mut early = model.early_exit(&cpu(), 7, &train).unwrap();
        let (mut all, inputs) = (model.on(&cpu(), 7).unwrap(), test.inputs());
        let (whole, workers) =
            (all.predict(inputs.clone()).unwrap(), all.predict_workers(inputs.clone()).unwrap());
        let spokesmen = early.workers();
        let points = early.evaluate(&test, &[0.0, 0.6, 0.9, 1.1]).unwrap();
        for point in &points {
            let found = early.predict(inputs.clone(), point.threshold).unwrap();
            let mut wrong = 0;
            for (at, &exit) in found.exits.iter().enumerate() {
                let of_unit = |unit: usize| {
                    workers[unit].index_axis(Axis(0), at).row(spokesmen[unit]).to_owned()
                };
                let sure = |unit: usize| of_unit(unit).iter().copied().fold(0.0, f32::max);
                let expected = (0..2).find(|&unit| sure(unit) >= point.threshold).unwrap_or(2);
                assert_eq!(exit, expected);
                let prediction = if exit < 2 { of_unit(exit) } else { whole.row(at).to_owned() };
                let row = found.probabilities.row(at);
                close(row.insert_axis(Axis(0)), prediction.view().insert_axis(Axis(0)), 1e-6);
                let label = test.labels()[at] as usize;
                wrong += usize::from(row.iter().any(|&p| p > row[label]));
            }
            let error = 100.0 * wrong as f64 / test.len() as f64;
            assert!((point.error - error).abs() < 1e-9, "{point:?}: {error}");
            assert!((point.arithmetic - found.arithmetic).abs() < 1e-9);
        }
        assert_eq!(points[0].exits, [test.len(), 0, 0]);
        assert_eq!(points[3].exits, [0, 0, test.len()]);
        assert!(points.windows(2).all(|pair| pair[0].arithmetic <= pair[1].arithmetic));
        assert!(points[0].arithmetic < 0.9 && points[3].arithmetic >= 1.0, "{points:?}");
    }
    let training = training();
    let network = network();
    let setup = setup(&network, &training, BP);
    let model = Trainer::new(&cpu(), &setup, &train).unwrap().model().unwrap();
    let error = model.early_exit(&cpu(), 7, &train).unwrap_err().to_string();
    assert_eq!(error, "`bp` trains no workers that could predict");
}

/// A platform without devices.
#[derive(Debug)]
struct Nothing;

impl Platform for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn open(&self, _: usize, _: Precision) -> Result<Box<dyn Backend>, BackendError> {
        Err(BackendError::new(DataError::Count(0)))
    }
}

#[test]
fn a_device_is_chosen_by_name_when_a_program_runs() {
    let (features, labels) = clouds();
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (network, training) = (network(), training());
    let setup = setup(&network, &training, LFNN_L);
    let open = |name| Device::open(name, Precision::F32, &[&Nothing, &CpuPlatform]);
    let device = open("auto").unwrap();
    assert_eq!(device.name(), "cpu");
    let passed_over: Vec<String> = device.passed_over().iter().map(ToString::to_string).collect();
    assert_eq!(passed_over, ["nothing: 0 examples, expected 1 to 2³² − 1"]);
    let loss = |backend: &dyn Backend| {
        let mut trainer = Trainer::new(backend, &setup, &data).unwrap();
        trainer.fit_epoch().unwrap().metrics.loss()
    };
    assert!((loss(&device) - loss(&Reference)).abs() < 1e-4);
    assert!(open("cpu:0").is_ok());
    for (name, message) in [
        ("cpu:1", "cpu: there is one CPU, numbered 0, and no CPU 1"),
        ("nothing", "nothing: 0 examples, expected 1 to 2³² − 1"),
        ("gpu", "device `gpu`: expected `auto` or one of nothing, cpu"),
        ("cpu:x", "device `cpu:x`: expected `auto` or one of nothing, cpu"),
    ] {
        assert_eq!(open(name).unwrap_err().to_string(), message);
    }
    let error = Device::open("cpu", Precision::Bf16, &[&CpuPlatform]).unwrap_err();
    assert_eq!(error.to_string(), "cpu: the CPU computes only in f32, not in bf16");
    let error = Device::open("auto", Precision::F32, &[&Nothing]).unwrap_err().to_string();
    assert_eq!(error, "no device: nothing: 0 examples, expected 1 to 2³² − 1");
}

#[test]
fn a_model_becomes_an_onnx_model_in_the_program() {
    let ((features, labels), network, training) = (clouds(), network(), training());
    let data = Dataset::classification(features.view(), labels.view()).unwrap();
    let (backend, setup) = (cpu(), setup(&network, &training, LFNN_L));
    let model = Trainer::new(&backend, &setup, &data).unwrap().model().unwrap();
    let plain = model.to_onnx(&OnnxOptions::default()).unwrap();
    let metadata = serde_json::Map::from_iter([("origin".to_owned(), "clouds".into())]);
    let options = OnnxOptions { workers: true, metadata, ..OnnxOptions::default() };
    let full = model.to_onnx(&options).unwrap();
    assert_eq!(full, model.to_onnx(&options).unwrap());
    let names = |file: &[u8], text: &str| file.windows(text.len()).any(|at| at == text.as_bytes());
    for text in ["features", "probabilities", "logits", "classes", "[\"0\",\"1\",\"2\"]"] {
        assert!(names(&plain, text) && names(&full, text), "{text}");
    }
    for text in ["unit2", "unit1.readout", "\"clouds\""] {
        assert!(names(&full, text) && (text == "unit2" || !names(&plain, text)), "{text}");
    }
    // Without the heads, the workers do not predict, and the network does.
    let mut without_heads = model.clone();
    without_heads.state.tensors.retain(|tensor| !tensor.name.contains("readout"));
    assert_eq!(without_heads.to_onnx(&OnnxOptions::default()).unwrap(), plain);
    let error = without_heads.to_onnx(&options).unwrap_err();
    assert!(matches!(&error, OnnxError::State(_)), "{error}");

    let order = OnnxOptions { permutation: Some(&[0, 0]), ..OnnxOptions::default() };
    assert_eq!(
        model.to_onnx(&order).unwrap_err().to_string(),
        "a permutation of 2 pixels, expected each of 1 positions once"
    );
    let setup = Setup { method: BP, ..setup };
    let model = Trainer::new(&backend, &setup, &data).unwrap().model().unwrap();
    let error = model.to_onnx(&options).unwrap_err();
    assert!(matches!(error, OnnxError::NoWorkers { method } if method == "bp"));
}
