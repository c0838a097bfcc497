//! Whole training runs, on the CPU backend and on the emulated CUDA backend: determinism, resumption, evaluation, and what stops a run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::backend::Backend;
use lfnn_core::config::{
    Augmentation, LeadershipConfig, Limits, NetworkConfig, ScheduleConfig, Scope, TrainingConfig,
};
use lfnn_core::method::{Gradient, METHODS, by_name, names};
use lfnn_core::metric::Metrics;
use lfnn_core::train::{
    Images, Labels, Normalization, Pixels, Setup, State, StateData, TrainError, Trainer,
};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use lfnn_tests::under_test::{emulator, on_emulator};
use proptest::prelude::*;
use serde_json::{Value, json};

const COUNT: usize = 70;
const SHAPE: [usize; 3] = [8, 8, 2];

/// Images of three classes that differ in brightness, under noise.
struct Data {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Data {
    fn new() -> Self {
        let mut source = Source::new(1);
        let labels: Vec<u32> = (0..COUNT as u32).map(|i| i % 3).collect();
        let size = SHAPE.iter().product();
        let pixels = labels
            .iter()
            .flat_map(|&label| {
                (0..size).map(|_| (label * 60 + source.below(100)) as u8).collect::<Vec<_>>()
            })
            .collect();
        Self { pixels, labels }
    }

    fn images(&self) -> Images<'_> {
        let labels = Labels::Classes(&self.labels);
        Images { pixels: (&self.pixels).into(), labels, shape: SHAPE, classes: 3 }
    }
}

fn network() -> NetworkConfig {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    serde_json::from_value(json!({
        "units": [
            {"layers": [conv(8), {"batch_norm": {}}, "relu"],
             "workers": {"readout": {"count": 4, "grid": 2, "dropout": 0.2}},
             "transition": [{"max_pool": {"kernel": 2}}, {"dropout": {"rate": 0.1}}]},
            {"layers": ["flatten"], "workers": {"neurons": {"count": 4}}}
        ]
    }))
    .unwrap()
}

fn training(optimizer: Value) -> TrainingConfig {
    serde_json::from_value(json!({
        "batch_size": 8, "epochs": 3, "optimizer": optimizer,
        "schedule": {"cosine": {"warmup_epochs": 0.5}}
    }))
    .unwrap()
}

fn adamw() -> Value {
    json!({"adamw": {"lr": 0.01, "weight_decay": 0.01}})
}

struct Run {
    network: NetworkConfig,
    training: TrainingConfig,
    leadership: LeadershipConfig,
    method: &'static str,
    limits: Limits,
}

impl Run {
    fn new(method: &'static str) -> Self {
        Self {
            network: network(),
            training: training(adamw()),
            leadership: LeadershipConfig { delta: 0.5, ..LeadershipConfig::default() },
            method,
            limits: Limits::default(),
        }
    }

    fn trainer(&self, backend: &dyn Backend, data: &Data) -> Result<Trainer, String> {
        self.trainer_on(backend, data.images())
    }

    fn trainer_on(&self, backend: &dyn Backend, images: Images<'_>) -> Result<Trainer, String> {
        let setup = Setup {
            network: &self.network,
            leadership: self.leadership,
            training: &self.training,
            method: by_name(self.method).unwrap(),
            augmentation: Augmentation { crop_padding: 1, flip: true, cutout: 2 },
            normalization: Some(Normalization { mean: vec![0.4; 2], std: vec![0.3; 2] }),
            seed: 11,
            limits: self.limits,
        };
        let examples: Vec<u32> = (0..60).collect();
        Trainer::from_images(backend, &setup, images, &examples).map_err(|error| error.to_string())
    }
}

/// Real numbers train as the bytes that stand for them do: with the same bits, augmented and evaluated too.
fn reals_train_as_bytes_do(backend: &dyn Backend) {
    let data = Data::new();
    let reals: Vec<f32> = data.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let real_images = Images { pixels: Pixels::Reals(&reals), ..data.images() };
    let run = Run::new("lfnn-l");
    let indices: Vec<u32> = (60..COUNT as u32).collect();
    let [bytes, reals] = [data.images(), real_images].map(|images| {
        let mut trainer = run.trainer_on(backend, images).unwrap();
        advance(&mut trainer, 9);
        let evaluated = trainer.evaluate(&indices).unwrap();
        (bits(&trainer.state().unwrap()), evaluated)
    });
    assert_eq!(bytes, reals);
}

#[test]
fn a_data_set_of_real_numbers_trains_with_the_bits_of_bytes() {
    reals_train_as_bytes_do(&Cpu::new(Some(2)).unwrap());
    on_emulator(1, || reals_train_as_bytes_do(&emulator(1)));
}

/// Trains up to a number of steps from the beginning.
fn advance(trainer: &mut Trainer, steps: usize) {
    for _ in 0..steps {
        trainer.train_step().unwrap();
        if trainer.epoch_is_done() {
            trainer.end_epoch().unwrap();
        }
    }
}

fn bits(state: &State) -> Vec<(String, Vec<u32>)> {
    let words = |data: &StateData| match data {
        StateData::Real(values) => values.iter().map(|v| v.to_bits()).collect(),
        StateData::U32(values) => values.clone(),
    };
    state.tensors.iter().map(|tensor| (tensor.name.clone(), words(&tensor.data))).collect()
}

#[test]
fn a_run_ends_with_the_same_bits_on_any_number_of_threads() {
    let data = Data::new();
    for method in names() {
        let run = Run::new(method);
        let end = |threads: usize| {
            let mut trainer = run.trainer(&Cpu::new(Some(threads)).unwrap(), &data).unwrap();
            advance(&mut trainer, 12);
            bits(&trainer.state().unwrap())
        };
        let one = end(1);
        assert_eq!(one, end(1), "{method}: twice");
        assert_eq!(one, end(2), "{method}: two threads");
        assert_eq!(one, end(5), "{method}: five threads");
    }
}

#[test]
fn an_emulated_run_ends_with_the_same_bits_in_any_order_of_threads() {
    on_emulator(1, || {
        let data = Data::new();
        for method in names() {
            let run = Run::new(method);
            let end = |order: u64| {
                let mut trainer = run.trainer(&emulator(order), &data).unwrap();
                advance(&mut trainer, 4);
                bits(&trainer.state().unwrap())
            };
            let one = end(1);
            assert_eq!(one, end(1), "{method}: twice");
            assert_eq!(one, end(2), "{method}: another order");
        }
    });
}

#[test]
fn an_emulated_run_stopped_and_resumed_ends_with_the_same_bits() {
    on_emulator(1, || {
        let data = Data::new();
        let methods = names();
        for (i, scope) in [Scope::Batch, Scope::Epoch, Scope::Sample].into_iter().enumerate() {
            let mut run = Run::new(methods[i]);
            run.leadership.scope = scope;
            let mut whole = run.trainer(&emulator(3), &data).unwrap();
            advance(&mut whole, 9);
            let mut first = run.trainer(&emulator(4), &data).unwrap();
            advance(&mut first, 3 + 2 * i);
            let mut second = run.trainer(&emulator(5), &data).unwrap();
            second.restore(&first.state().unwrap()).unwrap();
            advance(&mut second, 6 - 2 * i);
            assert_eq!(bits(&second.state().unwrap()), bits(&whole.state().unwrap()), "{scope:?}");
            assert_eq!(second.metrics().unwrap(), whole.metrics().unwrap());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(
        stop in 0usize..20,
        method in prop::sample::select(names().to_vec()),
        scope in prop::sample::select(vec![Scope::Batch, Scope::Epoch, Scope::Sample]),
        momentum in any::<bool>(),
    ) {
        let data = Data::new();
        let cpu = Cpu::new(Some(1)).unwrap();
        let mut run = Run::new(method);
        run.leadership.scope = scope;
        if momentum {
            run.training = training(json!({"sgd": {"lr": 0.05, "momentum": 0.9}}));
            run.training.schedule = ScheduleConfig::Linear { warmup_epochs: 0.5, floor: 0.0 };
            run.training.output_lr_factor = 0.3;
        }
        let mut whole = run.trainer(&cpu, &data).unwrap();
        advance(&mut whole, 20);

        let mut first = run.trainer(&cpu, &data).unwrap();
        advance(&mut first, stop);
        let saved = first.state().unwrap();
        let mut second = run.trainer(&cpu, &data).unwrap();
        second.restore(&saved).unwrap();
        prop_assert_eq!((second.epoch(), second.step_in_epoch()), (stop / 7, stop % 7));
        advance(&mut second, 20 - stop);
        prop_assert_eq!(bits(&second.state().unwrap()), bits(&whole.state().unwrap()));
        prop_assert_eq!(second.metrics().unwrap(), whole.metrics().unwrap());
    }
}

/// The first step of the output layer is so many times as large, decoupled weight decay included; that of the units
/// has the same bits.
fn the_output_layer_has_a_rate_of_its_own(backend: &dyn Backend) {
    let data = Data::new();
    for (method, optimizer) in [("lfnn-l", json!({"sgd": {"lr": 0.1}})), ("bp", adamw())] {
        let step = |factor: f64| {
            let mut run = Run::new(method);
            run.training = training(optimizer.clone());
            run.training.schedule = ScheduleConfig::Constant;
            run.training.output_lr_factor = factor;
            let mut trainer = run.trainer(backend, &data).unwrap();
            let before = trainer.state().unwrap();
            trainer.train_step().unwrap();
            (before, trainer.state().unwrap())
        };
        let ((start, whole), (_, part)) = (step(1.0), step(0.25));
        for tensor in &whole.tensors {
            let StateData::Real(whole) = &tensor.data else { continue };
            let of = |state: &State| match &state.get(&tensor.name).unwrap().data {
                StateData::Real(values) => values.clone(),
                StateData::U32(_) => panic!("not real"),
            };
            let (start, part) = (of(&start), of(&part));
            if !["output.weight", "output.bias"].contains(&&*tensor.name) {
                assert_eq!(whole, &part, "{method}: {}", tensor.name);
                continue;
            }
            for ((&start, &whole), &part) in start.iter().zip(whole).zip(&part) {
                assert_ne!(whole, start, "{method}: {}", tensor.name);
                assert!((part - start - 0.25 * (whole - start)).abs() < 1e-6, "{}", tensor.name);
            }
        }
    }
}

#[test]
fn a_factor_on_the_learning_rate_of_the_output_layer_reaches_no_other() {
    the_output_layer_has_a_rate_of_its_own(&Cpu::new(Some(2)).unwrap());
    on_emulator(1, || the_output_layer_has_a_rate_of_its_own(&emulator(1)));
}

#[test]
fn every_method_overfits_a_few_batches() {
    let data = Data::new();
    let cpu = Cpu::new(Some(1)).unwrap();
    for method in METHODS {
        // Feedback that is not yet aligned and the noise of forward gradients want more and smaller steps.
        let (epochs, limit) = match method.gradient {
            Gradient::Backward => (60, 15.0),
            Gradient::Direct => (200, 15.0),
            Gradient::Forward(_) => (400, 40.0),
        };
        let mut run = Run::new(method.name);
        run.training.epochs = epochs;
        run.limits.overfit_batches = Some(2);
        let mut trainer = run.trainer(&cpu, &data).unwrap();
        assert_eq!(trainer.steps_per_epoch(), 2);
        advance(&mut trainer, 2 * epochs - 2);
        trainer.train_step().unwrap();
        trainer.train_step().unwrap();
        let metrics = trainer.metrics().unwrap();
        assert!(metrics.error().unwrap() < limit, "{}: {metrics:?}", method.name);
    }
}

#[test]
fn evaluation_counts_each_image_once_whatever_the_batch() {
    let data = Data::new();
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut trainer = Run::new("lfnn-l").trainer(&cpu, &data).unwrap();
    advance(&mut trainer, 5);
    let all = trainer.evaluate(&(0..70).collect::<Vec<_>>()).unwrap();
    // 70 images are eight batches and a part of one; 1 and 69 are divided otherwise.
    let one = trainer.evaluate(&[0]).unwrap();
    let rest = trainer.evaluate(&(1..70).collect::<Vec<_>>()).unwrap();
    let mean = |of: fn(&Metrics) -> f64| (of(&one) + 69.0 * of(&rest)) / 70.0;
    assert!((all.loss() - mean(Metrics::loss)).abs() < 1e-5);
    assert!((all.error().unwrap() - mean(|e| e.error().unwrap())).abs() < 1e-5);
    assert_eq!([all.batches, one.batches, rest.batches], [9, 1, 9]);
    for unit in 0..2 {
        for worker in 0..4 {
            let of = |e: &Metrics| e.units[unit].workers("worker_losses")[worker];
            assert!((of(&all) - (of(&one) + 69.0 * of(&rest)) / 70.0).abs() < 1e-5);
        }
    }
}

/// Wrong predictions counted from the workers' outputs are those that the evaluation counts.
#[test]
fn the_outputs_of_workers_are_those_by_which_they_are_judged() {
    let data = Data::new();
    let mut trainer = Run::new("lfnn-l").trainer(&Cpu::new(Some(2)).unwrap(), &data).unwrap();
    advance(&mut trainer, 9);
    // More than two batches and a part of one.
    let indices: Vec<u32> = (40..59).collect();
    let outputs = trainer.worker_outputs(&indices).unwrap();
    let judged = trainer.evaluate(&indices).unwrap();
    assert_eq!(outputs.len(), 2);
    for (outputs, judged) in outputs.iter().zip(&judged.units) {
        assert_eq!(outputs.len(), indices.len() * 4 * 3);
        for (worker, &error) in judged.workers("worker_errors").iter().enumerate() {
            let mut wrong = 0;
            for (row, &index) in outputs.chunks(12).zip(&indices) {
                let p = &row[worker * 3..][..3];
                assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "not a softmax: {p:?}");
                let largest =
                    (0..3).max_by(|&a, &b| p[a].total_cmp(&p[b]).then(b.cmp(&a))).unwrap();
                wrong += usize::from(largest as u32 != data.labels[index as usize]);
            }
            let expected = 100.0 * wrong as f64 / indices.len() as f64;
            assert!((error - expected).abs() < 1e-4, "worker {worker}: {error} and {expected}");
        }
    }
}

#[test]
fn leads_add_up_to_the_number_of_leaders_in_every_batch_or_sample() {
    let data = Data::new();
    let cpu = Cpu::new(Some(1)).unwrap();
    for (scope, leaders) in [(Scope::Batch, 2.0), (Scope::Epoch, 2.0), (Scope::Sample, 2.0)] {
        let mut run = Run::new("lfnn-l");
        run.leadership.scope = scope;
        let mut trainer = run.trainer(&cpu, &data).unwrap();
        advance(&mut trainer, 5);
        for unit in trainer.metrics().unwrap().units {
            let sum: f64 = unit.workers("lead_percent").iter().sum();
            assert!((sum - 100.0 * leaders).abs() < 1e-9, "{scope:?}: {sum}");
        }
    }
}

#[test]
fn an_error_that_is_not_finite_names_unit_and_worker() {
    let data = Data::new();
    let cpu = Cpu::new(Some(1)).unwrap();
    let mut trainer = Run::new("lfnn-l").trainer(&cpu, &data).unwrap();
    let mut state = trainer.state().unwrap();
    let bias = state.tensors.iter_mut().find(|t| t.name == "unit2.neurons.bias").unwrap();
    let StateData::Real(values) = &mut bias.data else { panic!("not real") };
    values[2 * 3 + 1] = f32::NAN;
    trainer.restore(&state).unwrap();
    trainer.check_finite().unwrap();
    trainer.train_step().unwrap();
    let error = trainer.check_finite().unwrap_err();
    assert!(
        matches!(error, TrainError::WorkerNotFinite { unit: 2, worker: 3, epoch: 1, batch: 1 }),
        "{error}"
    );
    assert!(error.to_string().starts_with("unit 2: the loss of worker 3 is not finite"));
}

#[test]
fn a_state_of_another_network_is_refused() {
    let data = Data::new();
    let cpu = Cpu::new(Some(1)).unwrap();
    let run = Run::new("lfnn-l");
    let mut trainer = run.trainer(&cpu, &data).unwrap();
    let state = trainer.state().unwrap();
    let refusal = |state: &State| {
        let mut trainer = run.trainer(&cpu, &data).unwrap();
        trainer.restore(state).unwrap_err().to_string()
    };
    let mut lacking = state.clone();
    lacking.tensors.retain(|tensor| tensor.name != "output.bias");
    let message = "the saved state does not fit: it lacks the tensor `output.bias` of this network";
    assert_eq!(refusal(&lacking), message);
    let mut other = state.clone();
    other.tensors.iter_mut().for_each(|tensor| {
        if tensor.name == "output.bias" {
            tensor.shape = vec![4];
        }
    });
    let message = "the saved state does not fit: `output.bias` has shape [4], expected [3]";
    assert_eq!(refusal(&other), message);
    let mut more = state.clone();
    let extra =
        lfnn_core::train::StateTensor { name: "unit9.x".into(), ..state.tensors[0].clone() };
    more.tensors.push(extra);
    let message =
        "the saved state does not fit: it holds a tensor `unit9.x` that this network lacks";
    assert_eq!(refusal(&more), message);
    trainer.restore(&state).unwrap();
}

#[test]
fn settings_out_of_range_are_refused_with_their_path() {
    let data = Data::new();
    let cpu = Cpu::new(Some(1)).unwrap();
    let refusal = |change: fn(&mut Run)| {
        let mut run = Run::new("lfnn-l");
        change(&mut run);
        run.trainer(&cpu, &data).unwrap_err()
    };
    assert_eq!(
        refusal(|run| run.training.batch_size = 61),
        "training.batch_size: a batch of 61 is larger than the 60 training examples"
    );
    assert_eq!(
        refusal(|run| run.training.batch_size = 0),
        "training.batch_size: 0, expected at least 1"
    );
    assert_eq!(
        refusal(|run| run.training.epochs = 0),
        "training.epochs: 0, expected at least 1 and at most 4294967295"
    );
    assert_eq!(
        refusal(|run| run.training = training(json!({"adam": {"lr": -1.0}}))),
        "training.optimizer.adam.lr: -1, expected a number above 0"
    );
    assert_eq!(
        refusal(|run| run.training.clip_norm = Some(0.0)),
        "training.clip_norm: 0, expected a number above 0"
    );
    assert_eq!(
        refusal(|run| run.training.output_lr_factor = 0.0),
        "training.output_lr_factor: 0, expected a number above 0"
    );
    assert_eq!(
        refusal(|run| run.training.label_smoothing = 1.0),
        "training.label_smoothing: 1, expected at least 0 and below 1"
    );
}

/// The features of a unit of neurons are its workers' logits, which in a regression are their outputs: the loss can be
/// computed from those.
#[test]
fn the_metric_of_similarity_matching_is_the_mean_over_all_pairs_of_a_batch() {
    let data = Data::new();
    let values = Source::new(9).reals(COUNT * 3, -1.0, 1.0);
    let images = Images { labels: Labels::Values(&values), ..data.images() };
    let network: NetworkConfig = serde_json::from_value(json!({
        "task": "regression",
        "units": [{
            "layers": ["flatten"], "workers": {"neurons": {"count": 2}}, "similarity": {"weight": 7}
        }]
    }))
    .unwrap();
    let training = training(json!({"sgd": {"lr": 1e-3}}));
    let (cpu, examples) = (Cpu::new(Some(1)).unwrap(), (0..60).collect::<Vec<u32>>());
    let batch: Vec<u32> = (20..28).collect();
    let centred = |row: &[f32]| -> Vec<f64> {
        let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        row.iter().map(|x| x - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let targets: Vec<Vec<f64>> = values[20 * 3..28 * 3].chunks(3).map(centred).collect();
    for method in METHODS {
        let setup = Setup::new(&network, &training, method)
            .normalized_by(Normalization { mean: vec![0.4; 2], std: vec![0.3; 2] });
        let mut trainer = Trainer::from_images(&cpu, &setup, images, &examples).unwrap();
        let outputs = trainer.worker_outputs(&batch).unwrap();
        trainer.train_step_on(&batch).unwrap();
        let metrics = trainer.metrics().unwrap();
        let found = metrics.units.first().and_then(|unit| unit.value("similarity_loss"));
        if !method.workers.learn() {
            assert_eq!(found, None, "{}", method.name);
            continue;
        }
        let features: Vec<Vec<f64>> = outputs.concat().chunks(6).map(centred).collect();
        let gap = |(a, b): (usize, usize)| {
            cosine(&features[a], &features[b]) - cosine(&targets[a], &targets[b])
        };
        let pairs = (0..64).map(|pair| (pair / 8, pair % 8));
        let expected = pairs.map(|pair| gap(pair).powi(2)).sum::<f64>() / 64.0;
        let found = found.unwrap();
        let close = (found - expected).abs() <= 1e-5 * expected;
        assert!(close, "{}: {found} and {expected}", method.name);
    }
}
