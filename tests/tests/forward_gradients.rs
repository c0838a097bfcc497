//! Forward gradients over many draws: their mean is the true gradient, and their variance what
//! theory predicts.
//!
//! Confidence bounds come from the spread of the draws themselves: the mean of n draws with standard
//! deviation s lies within 5 s / √n of the expectation but for one case in two million.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LeadershipConfig, NetworkConfig, OptimizerConfig, TrainingConfig};
use lfnn_core::method::by_name;
use lfnn_core::train::{
    Setup, State, StateData, StepProgram, StepTrace, Target, TraceInput, trace_step,
};
use lfnn_cpu::Cpu;
use lfnn_tests::source::Source;
use lfnn_tests::weights::weights;
use serde_json::{Value, json};

const DRAWS: usize = 4000;
const CLASSES: usize = 3;

/// A network with its weights and a batch, of images of 4×4×2 where nothing else is said.
struct Subject {
    network: NetworkConfig,
    /// Channels, height and width.
    shape: [usize; 3],
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
        Self { network, shape: [2, 4, 4], weights, images, labels }
    }

    /// The same with one image of the batch alone.
    fn alone(&self, image: usize) -> Self {
        Self {
            network: self.network.clone(),
            shape: self.shape,
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
            shape: &[&[self.labels.len()], &self.shape[..]].concat(),
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
            // The gradient of a bias before batch normalisation is 0 up to rounding.
            assert!(off <= bound * variance.sqrt() + 1e-8, "{method}: {name}[{element}]: {off}");
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
/// bias's gradient is `Σ_b (‖∂L_b/∂a‖² + (∂L_b/∂aᵢ)²)`, where `∂L_b/∂a` is over all perturbed outputs of
/// one sample, which for linear layers is the gradient of their biases from that sample alone. The readout of the
/// output layer is not perturbed.
#[test]
fn perturbed_outputs_have_the_predicted_variance_sample_by_sample() {
    let units = json!([
        {"layers": ["flatten", {"linear": {"features": 6}}, "tanh"],
         "workers": {"neurons": {"count": 1, "output_activation": "tanh"}}},
        {"workers": {"neurons": {"count": 1, "output_activation": "tanh"}}}
    ]);
    let batch = 5;
    let subject = Subject::new(units, batch);
    let only_biases = |draw: Gradient| -> Gradient {
        let perturbed = |name: &str| name.ends_with(".bias") && !name.starts_with("output");
        draw.into_iter().filter(|(name, _)| perturbed(name)).collect()
    };
    for (method, true_method) in [("fg-a", "bp"), ("lg-fg-a", "lg-bp")] {
        let biases = |subject: &Subject| only_biases(subject.gradient(true_method, 1));
        let truth = biases(&subject);
        let draws: Vec<Gradient> = subject.draws(method).into_iter().map(only_biases).collect();
        let alone: Vec<Gradient> = (0..batch).map(|b| biases(&subject.alone(b))).collect();
        for of in ["unit1", "unit2"] {
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

/// Four positions, of which each has a channel of its own, so that the gradient of a 1×1 convolution's weights is that of
/// its outputs, position by position; and three workers with two filters each. A part of the output is two filters at a
/// position, and over n elements of a part the variance is `(n + 1) ‖∇‖²`, with the gradient of the part alone. Behind a
/// ReLU only what passes counts.
#[test]
fn perturbed_outputs_have_the_predicted_variance_position_by_position_and_group_by_group() {
    for function in ["tanh", "relu"] {
        let units = json!([{
            "layers": [{"conv": {"filters": 6, "kernel": 1, "bias": false}}, function],
            "workers": {"readout": {"count": 3}}
        }]);
        let network: NetworkConfig = serde_json::from_value(json!({ "units": units })).unwrap();
        let weights = weights(&network, &[2, 2, 4], CLASSES, 0.8, &mut Source::new(5));
        let images = (0..16).map(|i| f32::from(u8::from(i / 4 == i % 4))).collect();
        let subject = Subject { network, shape: [4, 2, 2], weights, images, labels: vec![1] };
        let of = "unit1.layer1.weight";
        let truth = subject.gradient("lg-bp", 1);
        let (_, gradient) = truth.iter().find(|(name, _)| name == of).unwrap();
        let mut predicted = 0.0;
        for position in 0..4 {
            for worker in 0..3 {
                let own =
                    [2 * worker, 2 * worker + 1].map(|filter| gradient[filter * 4 + position]);
                let passing = own.iter().filter(|g| **g != 0.0).count() as f64;
                predicted += (passing + 1.0) * dot(&own, &own);
            }
        }
        has_variance("lg-fg-a", &subject.draws("lg-fg-a"), &truth, of, predicted);
    }
}

/// The gradient of a readout follows from the loss, and is exact.
#[test]
fn readouts_have_exact_gradients_where_outputs_are_perturbed() {
    let subject = Subject::new(heads(), 4);
    for (method, true_method) in [("fg-a", "bp"), ("lg-fg-a", "lg-bp")] {
        let exact = |gradient: Gradient| -> Gradient {
            let is_exact = |name: &str| name.contains("readout") || name.starts_with("output");
            gradient.into_iter().filter(|(name, _)| is_exact(name)).collect()
        };
        let truth = exact(subject.gradient(true_method, 1));
        assert!(!truth.is_empty());
        assert_eq!(exact(subject.gradient(method, 7)), truth, "{method}");
    }
}

/// The derivative is divided as finely as the layers behind an output allow.
#[test]
fn derivatives_are_as_fine_as_the_layers_behind_an_output_allow() {
    let conv = |filters: usize, kernel: usize, groups: usize| {
        let padding = kernel / 2;
        json!({"conv": {"filters": filters, "kernel": kernel, "padding": padding, "groups": groups}})
    };
    let norm = json!({"batch_norm": {}});
    let pooled = json!({"heads": [{"grid": 1}]});
    let head = |layers: Value| json!({"heads": [{"grid": 1, "layers": layers}]});
    let (batch, positions) = (10, 16);
    let cases = [
        // Batch normalisation is behind the perturbation only where another layer with weights follows.
        (json!([conv(8, 3, 1), norm, "relu"]), pooled.clone(), vec![[batch, positions, 1]]),
        (
            json!([conv(8, 3, 1), norm, "relu", conv(8, 3, 1), norm, "relu"]),
            pooled.clone(),
            vec![[1, 1, 1], [batch, positions, 1]],
        ),
        (
            json!([conv(8, 3, 1), "relu"]),
            json!({"readout": {"count": 4}}),
            vec![[batch, positions, 4]],
        ),
        (
            json!([conv(8, 3, 1), "relu", conv(8, 3, 1), "relu"]),
            pooled.clone(),
            vec![[batch, 1, 1], [batch, positions, 1]],
        ),
        (
            json!([conv(8, 1, 1), "relu", conv(8, 1, 4), "relu"]),
            pooled,
            vec![[batch, positions, 4], [batch, positions, 1]],
        ),
        // Groups of four and of two meet in groups of four; a head's own layers see their own cut.
        (
            json!([conv(8, 1, 1), "relu", conv(8, 1, 4), "relu"]),
            head(json!([conv(4, 1, 2), "relu"])),
            vec![[batch, positions, 2], [batch, positions, 2], [batch, positions, 1]],
        ),
        (
            json!([conv(8, 1, 1), "relu", {"max_pool": {"kernel": 2}}]),
            json!({"readout": {"count": 2}}),
            vec![[batch, 1, 2]],
        ),
    ];
    for (layers, workers, expected) in cases {
        let network = json!({"units": [{"layers": layers, "workers": workers}]});
        let network: NetworkConfig = serde_json::from_value(network).unwrap();
        let training = TrainingConfig::new(batch, 1, OptimizerConfig::sgd(0.1));
        let setup = Setup::new(&network, &training, by_name("lg-fg-a").unwrap());
        let step = StepProgram::new(&setup, [4, 4, 2], CLASSES).unwrap();
        let mut found = step.derivatives();
        // Heads are written before the layers that they share.
        found.sort_by_key(|parts| parts.iter().product::<usize>());
        let mut expected = expected;
        expected.sort_by_key(|parts| parts.iter().product::<usize>());
        assert_eq!(found, expected, "{network:?}");
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
            "unit1.similarity.layer1",
            "unit2.block1.layer1.body2",
            "unit2.block2.layer1.body2",
            "unit3.neurons",
        ]
    );
    assert_eq!(outputs.tensors[0].shape, [4, 4, 4, 4]);
    assert_eq!(outputs.tensors[4].shape, [4, 6]);
}
