//! Forward gradients over many draws: their mean is the true gradient, and their variance what
//! theory predicts.
//!
//! Confidence bounds come from the spread of the draws themselves: the mean of n draws with standard
//! deviation s lies within 5 s / √n of the expectation but for one case in two million.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LeadershipConfig, NetworkConfig};
use lfnn_core::method::by_name;
use lfnn_core::train::{State, StateData, StepTrace, Target, TraceInput, trace_step};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use lfnn_tests::weights::weights;
use serde_json::{Value, json};

const DRAWS: usize = 4000;
const CLASSES: usize = 3;

/// A network on images of 4×4×2, with its weights and a batch.
struct Subject {
    network: NetworkConfig,
    weights: State,
    images: Vec<f32>,
    labels: Vec<u32>,
}

/// A gradient: its tensors by name.
type Gradient = Vec<(String, Vec<f64>)>;

impl Subject {
    fn new(units: Value, batch: usize) -> Self {
        let network: NetworkConfig = serde_json::from_value(json!({ "units": units })).unwrap();
        let mut source = Source::new(4);
        let weights = weights(&network, &[4, 4, 2], CLASSES, 0.8, &mut source);
        let images = source.reals(batch * 32, -1.0, 1.0);
        let labels = (0..batch as u32).map(|i| i % CLASSES as u32).collect();
        Self { network, weights, images, labels }
    }

    /// The same with one image of the batch alone.
    fn alone(&self, image: usize) -> Self {
        Self {
            network: self.network.clone(),
            weights: self.weights.clone(),
            images: self.images[image * 32..(image + 1) * 32].to_vec(),
            labels: vec![self.labels[image]],
        }
    }

    fn trace_step(&self, method: &str, seed: u64) -> StepTrace {
        let input = TraceInput {
            network: &self.network,
            leadership: LeadershipConfig::default(),
            label_smoothing: 0.0,
            class_weights: None,
            method: by_name(method).unwrap(),
            seed,
            classes: CLASSES,
            images: &self.images,
            shape: &[self.labels.len(), 2, 4, 4],
            target: Target::Labels(&self.labels),
        };
        trace_step(&Cpu::new(Some(1)).unwrap(), &input, &self.weights).unwrap()
    }

    fn gradient(&self, method: &str, seed: u64) -> Gradient {
        let tensors = self.trace_step(method, seed).gradients.tensors;
        let mut all: Gradient = tensors
            .into_iter()
            .map(|tensor| {
                let StateData::Real(values) = tensor.data else { panic!("not real") };
                (tensor.name, values.into_iter().map(f64::from).collect())
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn draws(&self, method: &str) -> Vec<Gradient> {
        (0..DRAWS as u64).map(|seed| self.gradient(method, seed)).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Mean and variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Convolutions with and without batch normalisation behind them, a residual sum, several blocks, and
/// neurons; similarity matching in every unit.
fn everything() -> Value {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    json!([
        {"layers": [conv(4), {"batch_norm": {}}, "relu"],
         "workers": {"readout": {"count": 2, "grid": 1}}, "transition": [{"max_pool": {"kernel": 2}}],
         "similarity": {"weight": 2.0, "layers": [{"conv": {"filters": 3, "kernel": 3, "bias": false}}]}},
        {"layers": [{"residual": {"body": ["tanh", conv(4)]}}, "tanh"],
         "workers": {"block": {"count": 2, "grid": 1}}, "transition": ["global_avg_pool"],
         "similarity": {"weight": 3.0}},
        {"layers": ["flatten"], "workers": {"neurons": {"count": 2, "output_activation": "tanh"}},
         "similarity": {"weight": 1.0}}
    ])
}

/// Heads that see all features; behind one the batch normalisation of its own layers couples samples.
fn heads() -> Value {
    let conv = |filters: usize| json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}});
    json!([
        {"layers": [conv(3), "tanh"], "workers": {"heads": [
            {"layers": [conv(2), {"batch_norm": {}}, "tanh"], "grid": 1}, {"count": 2, "grid": 1}
        ]}, "transition": ["global_avg_pool"]},
        {"layers": ["flatten", {"linear": {"features": 4}}, "tanh"], "workers": {"heads": [
            {"layers": [{"linear": {"features": 3}}, "tanh"]}, {}
        ]}}
    ])
}

/// In every tensor: the component along the true gradient, in units of it, is 1 in the mean, and no
/// element is further from its expectation than chance lets it be.
fn is_unbiased(network: Value, method: &str, true_method: &str) {
    let subject = Subject::new(network, 4);
    let truth = subject.gradient(true_method, 1);
    let draws = subject.draws(method);
    let bound = 5.0 / (DRAWS as f64).sqrt();
    for (at, (name, truth)) in truth.iter().enumerate() {
        let of = |draw: &'_ Gradient| {
            assert_eq!(&draw[at].0, name);
            draw[at].1.clone()
        };
        let draws: Vec<Vec<f64>> = draws.iter().map(of).collect();
        for element in 0..truth.len() {
            let values: Vec<f64> = draws.iter().map(|draw| draw[element]).collect();
            let (mean, variance) = moments(&values);
            let off = (mean - truth[element]).abs();
            assert!(off <= bound * variance.sqrt(), "{method}: {name}[{element}]: {off}");
        }
        let square = dot(truth, truth);
        // The bias before batch normalisation has no gradient.
        if square > 1e-10 {
            let along: Vec<f64> = draws.iter().map(|draw| dot(draw, truth) / square).collect();
            let (mean, variance) = moments(&along);
            assert!((mean - 1.0).abs() <= bound * variance.sqrt(), "{method}: {name}: {mean}");
        } else {
            assert!(["unit1.layer1.bias", "unit1.head1.layer1.bias"].contains(&name.as_str()));
        }
    }
}

#[test]
fn perturbed_weights_give_the_global_gradient_in_the_mean() {
    is_unbiased(everything(), "fg-w", "bp");
}

#[test]
fn perturbed_outputs_give_the_global_gradient_in_the_mean() {
    is_unbiased(everything(), "fg-a", "bp");
}

#[test]
fn perturbed_weights_of_a_unit_give_its_local_gradient_in_the_mean() {
    is_unbiased(everything(), "lg-fg-w", "lg-bp");
}

#[test]
fn perturbed_outputs_of_a_unit_give_its_local_gradient_in_the_mean() {
    is_unbiased(everything(), "lg-fg-a", "lg-bp");
}

#[test]
fn perturbed_heads_give_their_local_gradient_in_the_mean() {
    is_unbiased(heads(), "lg-fg-w", "lg-bp");
    is_unbiased(heads(), "lg-fg-a", "lg-bp");
}

/// The whole variance of a set of tensors is what `predicted` says, within 5 standard errors of the
/// squared distances from the truth.
fn has_variance(method: &str, draws: &[Gradient], truth: &Gradient, of: &str, predicted: f64) {
    let distances: Vec<f64> = draws
        .iter()
        .map(|draw| {
            let parts = draw.iter().zip(truth).filter(|((name, _), _)| name.starts_with(of));
            parts
                .map(|((_, d), (_, t))| d.iter().zip(t).map(|(d, t)| (d - t).powi(2)).sum::<f64>())
                .sum()
        })
        .collect();
    let (mean, variance) = moments(&distances);
    let error = 5.0 * (variance / distances.len() as f64).sqrt();
    assert!((mean - predicted).abs() <= error, "{method}: {of}: {mean} ± {error}, not {predicted}");
    assert!(error < 0.25 * predicted, "the test itself: {error} of {predicted}");
}

/// `Var[gᵢ] = ‖∇‖² + ∇ᵢ²`, where ∇ is over all that one derivative sees; over all of n elements that
/// is `(n + 1) ‖∇‖²`.
#[test]
fn perturbed_weights_have_the_predicted_variance() {
    let subject = Subject::new(everything(), 4);
    let square = |gradient: &Gradient, of: &str| -> (f64, f64) {
        let parts = gradient.iter().filter(|(name, _)| name.starts_with(of));
        parts.fold((0.0, 0.0), |(n, s), (_, g)| (n + g.len() as f64, s + dot(g, g)))
    };
    let truth = subject.gradient("bp", 1);
    let draws = subject.draws("fg-w");
    let (_, whole) = square(&truth, "");
    for of in ["", "unit1", "unit3", "output"] {
        let (n, own) = square(&truth, of);
        has_variance("fg-w", &draws, &truth, of, n * whole + own);
    }
    let truth = subject.gradient("lg-bp", 1);
    let draws = subject.draws("lg-fg-w");
    for of in ["unit1", "unit2", "unit3", "output"] {
        let (n, own) = square(&truth, of);
        has_variance("lg-fg-w", &draws, &truth, of, (n + 1.0) * own);
    }
}

/// Without batch normalisation the samples' directions do not disturb one another: the variance of a
/// bias's gradient is `Σ_b (‖∂L_b/∂a‖² + (∂L_b/∂aᵢ)²)`, where `∂L_b/∂a` is over all layers' outputs of
/// one sample, which for linear layers is the gradient of their biases from that sample alone.
#[test]
fn perturbed_outputs_have_the_predicted_variance_sample_by_sample() {
    let units = json!([
        {"layers": ["flatten", {"linear": {"features": 6}}, "tanh"],
         "workers": {"neurons": {"count": 2, "output_activation": "tanh"}}},
        {"workers": {"neurons": {"count": 3}}}
    ]);
    let batch = 5;
    let subject = Subject::new(units, batch);
    let biases = |method: &str, subject: &Subject| -> Gradient {
        let all = subject.gradient(method, 1).into_iter();
        all.filter(|(name, _)| name.ends_with(".bias")).collect()
    };
    for (method, true_method) in [("fg-a", "bp"), ("lg-fg-a", "lg-bp")] {
        let truth = biases(true_method, &subject);
        let only_biases = |draw: Gradient| -> Gradient {
            draw.into_iter().filter(|(name, _)| name.ends_with(".bias")).collect()
        };
        let draws: Vec<Gradient> = subject.draws(method).into_iter().map(only_biases).collect();
        let alone: Vec<Gradient> =
            (0..batch).map(|b| biases(true_method, &subject.alone(b))).collect();
        for of in ["unit1", "unit2", "output"] {
            let scope = if method == "fg-a" { "" } else { of };
            let mut predicted = 0.0;
            for sample in &alone {
                let sum = |of: &str| -> (f64, f64) {
                    let parts = sample.iter().filter(|(name, _)| name.starts_with(of));
                    parts.fold((0.0, 0.0), |(n, s), (_, g)| (n + g.len() as f64, s + dot(g, g)))
                };
                let (n, own) = sum(of);
                predicted += (n * sum(scope).1 + own) / (batch * batch) as f64;
            }
            has_variance(method, &draws, &truth, of, predicted);
        }
    }
}

#[test]
fn directions_differ_by_seed_and_have_the_shapes_of_what_they_are_added_to() {
    let subject = Subject::new(everything(), 4);
    let weights = subject.trace_step("fg-w", 1);
    let names = |state: &State| -> Vec<String> {
        state.tensors.iter().map(|tensor| tensor.name.clone()).collect()
    };
    assert_eq!(names(&weights.directions), names(&weights.gradients));
    assert_ne!(weights.directions, subject.trace_step("fg-w", 2).directions);
    let outputs = subject.trace_step("lg-fg-a", 1).directions;
    assert_eq!(
        names(&outputs),
        [
            "unit1.layer1",
            "unit1.layer2",
            "unit1.readout",
            "unit1.similarity.layer1",
            "unit2.block1.layer1.body2",
            "unit2.block1.readout",
            "unit2.block2.layer1.body2",
            "unit2.block2.readout",
            "unit3.neurons",
            "output"
        ]
    );
    assert_eq!(outputs.tensors[0].shape, [4, 4, 4, 4]);
    assert_eq!(outputs.tensors[8].shape, [4, 6]);
}
