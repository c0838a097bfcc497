//! Every layer's rules, alone and composed, in double precision: the forward-mode rule against
//! central differences along a random direction, and the backward rule against the forward-mode rule,
//! `⟨J v, u⟩ = ⟨v, Jᵀ u⟩`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::backend::{Executable, TensorData};
use lfnn_core::config::LayerConfig;
use lfnn_core::layer::{Layer, LayerBuilder, NeedsGrad, Tangents};
use lfnn_core::program::{DType, ProgramId, ProgramSet, Role, TensorId, step_counter};
use lfnn_core::step::{Mode, StepBuilder};
use lfnn_tests::reference::ReferenceExecutable;
use lfnn_tests::source::Source;
use serde_json::{Value, json};

const BATCH: usize = 3;
/// Half the distance of the two points of a difference.
const STEP: f64 = 1e-5;

/// Layers with all its rules written as one program.
struct Rules {
    set: ProgramSet,
    program: ProgramId,
    /// Values of the input and of every trainable parameter, their tangents and their gradients.
    values: Vec<TensorId>,
    tangents: Vec<TensorId>,
    gradients: Vec<TensorId>,
    y: TensorId,
    dy: TensorId,
    tangent: TensorId,
    buffers: Vec<(TensorId, f64)>,
    now: TensorId,
}

impl Rules {
    fn new(layers: &Value, input: &[usize], mode: Mode) -> Self {
        let configs: Vec<LayerConfig> = serde_json::from_value(layers.clone()).unwrap();
        let mut set = ProgramSet::new();
        let mut builder = LayerBuilder::new(&mut set, "layers");
        let layers = builder.sequential(&configs, input, "layer").unwrap();
        let parameters: Vec<_> =
            set.tensors().iter().map(|(id, tensor)| (id, tensor.role)).collect();
        let now = set.persistent("step_counter", DType::U32, &[step_counter::LEN]);
        let shape: Vec<usize> = [BATCH].iter().chain(input).copied().collect();
        let x = set.persistent("x", DType::Real, &shape);
        let dx = set.persistent("dx", DType::Real, &shape);
        let out: Vec<usize> = [BATCH].iter().chain(layers.output_shape()).copied().collect();
        let dy = set.persistent("dy", DType::Real, &out);
        let y = set.persistent("y", DType::Real, &out);
        let tangent = set.persistent("tangent", DType::Real, &out);
        let input_gradient = set.persistent("input gradient", DType::Real, &shape);
        let buffers = parameters.iter().filter(|(_, role)| *role == Role::Buffer);
        let buffers = buffers.map(|&(id, _)| (id, 1.0)).collect();
        // Without training there are gradients of the input alone.
        let trainable = if mode == Mode::Train { layers.trainable() } else { Vec::new() };
        let tangents: Tangents = trainable
            .iter()
            .map(|&id| {
                let shape = set.tensors()[id].shape.clone();
                (id, set.persistent("tangent of parameter", DType::Real, &shape))
            })
            .collect();

        let mut step = StepBuilder::new(&mut set, "rules", mode, BATCH, now, true);
        let saved = layers.forward(&mut step, x);
        step.copy(saved.y, y);
        let needs_grad = NeedsGrad { input: true, parameters: mode == Mode::Train };
        let gradients = layers.backward(&mut step, &saved, dy, needs_grad);
        step.copy(gradients.input.unwrap(), input_gradient);
        let forward_mode = layers.jvp(&mut step, &saved, Some(dx), &tangents).unwrap();
        step.copy(forward_mode, tangent);
        let (program, _) = step.finish().unwrap();

        let gradient_of = |id: &TensorId| {
            let found = gradients.parameters.iter().find(|(parameter, _)| parameter == id);
            found.unwrap_or_else(|| panic!("no gradient of {}", set.tensors()[*id].name)).1
        };
        let gradients =
            [input_gradient].into_iter().chain(trainable.iter().map(gradient_of)).collect();
        Self {
            tangents: [dx].into_iter().chain(trainable.iter().map(|id| tangents[id])).collect(),
            values: [x].into_iter().chain(trainable).collect(),
            gradients,
            program,
            y,
            dy,
            tangent,
            buffers,
            now,
            set,
        }
    }

    fn check(&self, name: &str) {
        let mut source = Source::new(3);
        let mut on = ReferenceExecutable::new(&self.set, None);
        let mut time = [0; step_counter::LEN];
        time[step_counter::COUNT] = BATCH as u32;
        on.upload(self.now, TensorData::U32(&time)).unwrap();
        let mut draw = |on: &mut ReferenceExecutable, id: TensorId| {
            let len = self.set.tensors()[id].len();
            let values: Vec<f64> = (0..len).map(|_| source.between(-1.0, 1.0)).collect();
            on.upload_f64(id, &values);
            values
        };
        let at: Vec<Vec<f64>> = self.values.iter().map(|&id| draw(&mut on, id)).collect();
        let along: Vec<Vec<f64>> = self.tangents.iter().map(|&id| draw(&mut on, id)).collect();
        let u = draw(&mut on, self.dy);
        for &(id, value) in &self.buffers {
            on.upload_f64(id, &vec![value; self.set.tensors()[id].len()]);
        }
        on.run(self.program).unwrap();
        let tangent = on.download_f64(self.tangent);
        let gradients: Vec<Vec<f64>> =
            self.gradients.iter().map(|&id| on.download_f64(id)).collect();

        let forward = dot(&tangent, &u);
        let backward: f64 = gradients.iter().zip(&along).map(|(g, v)| dot(g, v)).sum();
        assert!((forward - backward).abs() <= 1e-10 * (1.0 + forward.abs()), "{name}: transposed");

        let mut moved = |step: f64| {
            for ((&id, at), along) in self.values.iter().zip(&at).zip(&along) {
                let values: Vec<f64> = at.iter().zip(along).map(|(a, v)| a + step * v).collect();
                on.upload_f64(id, &values);
            }
            on.run(self.program).unwrap();
            on.download_f64(self.y)
        };
        let (plus, minus) = (moved(STEP), moved(-STEP));
        let largest = tangent.iter().fold(1.0f64, |largest, t| largest.max(t.abs()));
        for (i, (p, m)) in plus.iter().zip(&minus).enumerate() {
            let quotient = (p - m) / (2.0 * STEP);
            let difference = (quotient - tangent[i]).abs();
            assert!(difference <= 1e-6 * largest, "{name}: {i}: {} and {quotient}", tangent[i]);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn check(name: &str, input: &[usize], layers: Value) {
    for mode in [Mode::Train, Mode::Frozen] {
        Rules::new(&layers, input, mode).check(&format!("{name}, {mode:?}"));
    }
}

#[test]
fn layers_of_vectors_have_correct_rules() {
    check("linear", &[5], json!([{"linear": {"features": 4}}]));
    check("linear without bias", &[5], json!([{"linear": {"features": 4, "bias": false}}]));
    check("bias", &[5], json!(["bias"]));
    check("relu", &[9], json!(["relu"]));
    check("sigmoid", &[9], json!(["sigmoid"]));
    check("tanh", &[9], json!(["tanh"]));
    check("softmax", &[12], json!([{"softmax": {"width": 4}}]));
    check("batch norm", &[6], json!([{"batch_norm": {}}]));
    check("layer norm", &[6], json!([{"layer_norm": {}}]));
    check(
        "plain grouped layer norm",
        &[8],
        json!([{"layer_norm": {"groups": 2, "affine": false}}]),
    );
    check("dropout", &[20], json!([{"dropout": {"rate": 0.4}}]));
}

#[test]
fn layers_of_images_have_correct_rules() {
    let image = [6, 5, 4];
    check("conv", &image, json!([{"conv": {"filters": 3, "kernel": 3, "padding": 1}}]));
    let grouped = json!({"filters": 6, "kernel": 2, "stride": 2, "groups": 2, "bias": false});
    check("grouped strided conv", &image, json!([{ "conv": grouped }]));
    check("bias", &image, json!(["bias"]));
    check("batch norm", &image, json!([{"batch_norm": {}}]));
    check("layer norm", &image, json!([{"layer_norm": {"groups": 2, "epsilon": 0.1}}]));
    check("plain layer norm", &image, json!([{"layer_norm": {"affine": false, "epsilon": 0.1}}]));
    check("patches", &image, json!([{"patches": {"size": [2, 5]}}]));
    check("patches", &[6, 6, 2], json!([{"patches": {"size": 3}}, "tanh"]));
    check("token mixing", &image, json!([{"token_mixing": {}}]));
    check("token mixing without bias", &image, json!([{"token_mixing": {"bias": false}}]));
    check("max pool", &image, json!([{"max_pool": {"kernel": 2}}]));
    let overlapping = json!({"kernel": 3, "stride": 2, "padding": 1});
    check("overlapping max pool", &image, json!([{"max_pool": overlapping}]));
    check("avg pool", &image, json!([{"avg_pool": overlapping}]));
    check("adaptive avg pool", &image, json!([{"adaptive_avg_pool": {"grid": 4}}]));
    check("global avg pool", &image, json!(["global_avg_pool"]));
    let wide = json!({"filters": 3, "kernel": [2, 3], "stride": [1, 2], "padding": [0, 1]});
    check("rectangular conv", &image, json!([{ "conv": wide }]));
    let wide = json!({"kernel": [1, 3], "stride": [2, 1], "padding": [0, 1]});
    check("rectangular max pool", &image, json!([{ "max_pool": wide }]));
    check("rectangular avg pool", &image, json!([{ "avg_pool": wide }]));
    check("rectangular grid", &image, json!([{"adaptive_avg_pool": {"grid": [2, 3]}}]));
    check("flatten", &image, json!(["flatten"]));
    let body = json!([{"conv": {"filters": 4, "kernel": 3, "padding": 1}}, "tanh"]);
    check("residual", &image, json!([{"residual": {"body": body}}]));
    let shortcut = json!([{"conv": {"filters": 4, "kernel": 1}}, {"batch_norm": {}}]);
    check("projection", &image, json!([{"residual": {"body": body, "shortcut": shortcut}}]));
}

#[test]
fn composed_layers_have_correct_rules() {
    let layers = json!([
        {"conv": {"filters": 6, "kernel": 3, "padding": 1, "bias": false}},
        {"batch_norm": {}},
        "relu",
        {"max_pool": {"kernel": 2}},
        {"residual": {"body": [
            {"conv": {"filters": 6, "kernel": 3, "padding": 1}}, {"batch_norm": {}}, "tanh",
            {"dropout": {"rate": 0.2}}
        ]}},
        "bias",
        {"adaptive_avg_pool": {"grid": 2}},
        "flatten",
        {"linear": {"features": 8}},
        "sigmoid",
        {"softmax": {"width": 2}}
    ]);
    check("composed", &[8, 6, 2], layers);
}

/// The layers of a mixer, each of which has a position's channels to itself but for the mixing.
#[test]
fn layers_of_a_mixer_have_correct_rules() {
    let layers = json!([
        {"patches": {"size": [2, 3]}},
        {"layer_norm": {"affine": false}},
        {"conv": {"filters": 8, "kernel": 1}},
        {"residual": {"body": [
            {"layer_norm": {}},
            {"token_mixing": {}},
            "tanh",
            {"conv": {"filters": 8, "kernel": 1, "groups": 4}},
            {"layer_norm": {"groups": 4}}
        ]}},
        "global_avg_pool",
        "flatten",
        {"layer_norm": {"affine": false}}
    ]);
    check("mixer", &[4, 6, 2], layers);
}

/// Positions are those of a definition that knows no operation: numbers that count pixels.
#[test]
fn a_patch_is_a_run_of_channels_row_by_row() {
    let rules = Rules::new(&json!([{"patches": {"size": [1, 2]}}]), &[2, 4, 1], Mode::Train);
    let mut on = ReferenceExecutable::new(&rules.set, None);
    let image = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    on.upload_f64(rules.values[0], &image.repeat(BATCH));
    on.run(rules.program).unwrap();
    assert_eq!(on.download_f64(rules.y), image.repeat(BATCH));
    let rules = Rules::new(&json!([{"patches": {"size": 2}}]), &[2, 4, 1], Mode::Train);
    let mut on = ReferenceExecutable::new(&rules.set, None);
    on.upload_f64(rules.values[0], &image.repeat(BATCH));
    on.run(rules.program).unwrap();
    let patches = [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0];
    assert_eq!(on.download_f64(rules.y), patches.repeat(BATCH));
}

/// What does not fit is refused with what was expected.
#[test]
fn layers_of_a_mixer_name_what_does_not_fit() {
    let refused = |layer: Value, input: &[usize]| {
        let config: LayerConfig = serde_json::from_value(layer).unwrap();
        let mut set = ProgramSet::new();
        LayerBuilder::new(&mut set, "layer").layer(&config, input).unwrap_err().to_string()
    };
    let cases = [
        (
            json!({"patches": {"size": 4}}),
            &[28, 30, 1][..],
            "patches of 4 × 4 do not divide an image of 28 × 30",
        ),
        (json!({"patches": {"size": 0}}), &[4, 4, 1], "patches of 0 × 0 do not divide"),
        (json!({"patches": {"size": 2}}), &[16], "needs an image"),
        (
            json!({"layer_norm": {"groups": 3}}),
            &[2, 2, 8],
            "3 groups do not divide 8 channels evenly",
        ),
        (json!({"layer_norm": {"groups": 0}}), &[8], "0 groups do not divide"),
        (json!({"layer_norm": {"epsilon": 0.0}}), &[8], "expected a number above 0"),
        (json!({"token_mixing": {}}), &[16], "needs an image"),
    ];
    for (layer, input, expected) in cases {
        let message = refused(layer.clone(), input);
        assert!(message.contains(expected), "{layer}: {message}");
    }
}

#[test]
fn layers_of_a_signal_have_correct_rules() {
    let layers = json!([
        {"conv": {"filters": 4, "kernel": [1, 5], "stride": [1, 2], "padding": [0, 2]}},
        "tanh",
        {"max_pool": {"kernel": [1, 2]}},
        {"residual": {"body": [{"conv": {"filters": 4, "kernel": [1, 3], "padding": [0, 1]}}, {"batch_norm": {}}]}},
        {"avg_pool": {"kernel": [1, 3], "stride": 1, "padding": [0, 1]}},
        {"adaptive_avg_pool": {"grid": [1, 3]}},
        "flatten",
        {"linear": {"features": 3}}
    ]);
    check("signal", &[1, 30, 2], layers);
}

/// A rule writes no more than was asked for.
#[test]
fn a_first_layer_writes_no_input_gradient() {
    let configs: Vec<LayerConfig> =
        serde_json::from_value(json!([{"conv": {"filters": 2, "kernel": 3}}, "relu"])).unwrap();
    let mut set = ProgramSet::new();
    let mut builder = LayerBuilder::new(&mut set, "layers");
    let layers = builder.sequential(&configs, &[5, 5, 1], "layer").unwrap();
    let now = set.persistent("step_counter", DType::U32, &[step_counter::LEN]);
    let x = set.persistent("x", DType::Real, &[2, 5, 5, 1]);
    let dy = set.persistent("dy", DType::Real, &[2, 3, 3, 2]);
    let mut step = StepBuilder::new(&mut set, "first", Mode::Train, 2, now, false);
    let saved = layers.forward(&mut step, x);
    let needs_grad = NeedsGrad { input: false, parameters: true };
    let gradients = layers.backward(&mut step, &saved, dy, needs_grad);
    assert_eq!(gradients.input, None);
    assert_eq!(gradients.parameters.len(), 2);
    let (program, _) = step.finish().unwrap();
    let names: Vec<_> =
        set.programs()[program.0].ops().iter().map(lfnn_core::program::Operation::name).collect();
    assert_eq!(names, ["Conv2d", "Activate", "ActivateGrad", "Conv2dWeightGrad"]);
}
