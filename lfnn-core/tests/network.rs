//! Networks from configurations: shapes, names and counts of parameters, and every refusal with its
//! message.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lfnn_core::config::{LayerConfig, LeadershipConfig, NetworkConfig, Size2};
use lfnn_core::layer::{Init, LayerBuilder};
use lfnn_core::network::Network;
use lfnn_core::program::{Loss, ProgramSet};
use lfnn_core::random::{Purpose, Stream};
use lfnn_core::step::Mode;
use lfnn_core::unit::Leadership;
use serde_json::{Value, json};

fn network(config: Value, input: &[usize], classes: usize) -> Result<Network, String> {
    let config: NetworkConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
    Network::new(&mut ProgramSet::new(), &config, input, classes).map_err(|error| error.to_string())
}

/// The message with which a network of one unit is refused.
fn refusal(unit: Value) -> String {
    network(json!({ "units": [unit] }), &[8, 8, 1], 10).unwrap_err()
}

fn conv(filters: usize) -> Value {
    json!({"conv": {"filters": filters, "kernel": 3, "padding": 1}})
}

#[test]
fn parameters_are_named_by_unit_layer_and_block_from_one() {
    let config = json!({
        "units": [
            {"layers": [conv(4), {"batch_norm": {}}, "relu"],
             "workers": {"readout": {"count": 2, "grid": 2}}},
            {"layers": [{"residual": {"body": [conv(4)]}}], "workers": {"block": {"count": 2}}},
            {"layers": ["flatten"], "workers": {"neurons": {"count": 3}}}
        ],
        "output": {"layers": [{"linear": {"features": 5}}, "relu"]}
    });
    let network = network(config, &[4, 4, 1], 2).unwrap();
    let names: Vec<&str> =
        network.parameters().iter().map(|parameter| &parameter.tensor.name[..]).collect();
    let expected = [
        "unit1.layer1.weight",
        "unit1.layer1.bias",
        "unit1.layer2.weight",
        "unit1.layer2.bias",
        "unit1.layer2.running_mean",
        "unit1.layer2.running_var",
        "unit1.readout.weight",
        "unit1.readout.bias",
        "unit2.block1.layer1.body1.weight",
        "unit2.block1.layer1.body1.bias",
        "unit2.block1.readout.weight",
        "unit2.block1.readout.bias",
        "unit2.block2.layer1.body1.weight",
        "unit2.block2.layer1.body1.bias",
        "unit2.block2.readout.weight",
        "unit2.block2.readout.bias",
        "unit3.neurons.weight",
        "unit3.neurons.bias",
        "output.layer1.weight",
        "output.layer1.bias",
        "output.weight",
        "output.bias",
    ];
    assert_eq!(names, expected);
    // Prediction: conv 4·9 + 4, norm 8, two residual convs 4·4·9 + 4, neurons 3·2·(8·16 + 1), output
    // 5·(6 + 1) + 2·(5 + 1). Readouts: 2·2·(2·4) + 4, and twice 2·(4·16) + 2.
    assert_eq!(network.parameter_counts(), (40 + 8 + 296 + 774 + 35 + 12, 36 + 260));
    let depths: Vec<usize> = network.units().iter().map(|unit| unit.depth()).collect();
    assert_eq!(depths, [1, 1, 1]);
}

#[test]
fn one_vs_all_makes_independent_nets() {
    let config = json!({
        "task": "one_vs_all",
        "units": [
            {"layers": ["flatten"], "workers": {"neurons": {"count": 6}}},
            {"workers": {"neurons": {"count": 4}}}
        ]
    });
    let network = network(config, &[2, 2, 1], 3).unwrap();
    let shapes: Vec<&[usize]> =
        network.parameters().iter().map(|parameter| &parameter.tensor.shape[..]).collect();
    let expected: [&[usize]; 6] = [&[18, 4], &[18], &[12, 6], &[12], &[3, 4], &[3]];
    assert_eq!(shapes, expected);
}

#[test]
fn windows_and_grids_of_a_signal_are_rectangles() {
    let layers = json!([
        {"conv": {"filters": 8, "kernel": [1, 9], "stride": [1, 2], "padding": [0, 4]}},
        {"max_pool": {"kernel": [1, 255], "stride": [1, 3], "padding": [0, 127]}},
        {"avg_pool": {"kernel": [1, 4]}},
        {"adaptive_avg_pool": {"grid": [1, 20]}},
        {"conv": {"filters": 4, "kernel": 1}},
    ]);
    let layers: Vec<LayerConfig> = serde_json::from_value(layers).unwrap();
    let mut set = ProgramSet::new();
    let mut builder = LayerBuilder::new(&mut set, "layers");
    let mut shape = vec![1, 500, 2];
    let mut shown = Vec::new();
    for config in &layers {
        let layer = builder.layer(config, &shape).unwrap();
        shape = layer.output_shape().to_vec();
        shown.push((layer.describe(), shape.clone()));
    }
    let expected = [
        ("conv 1×9, 8, stride 1×2", [1, 250, 8]),
        ("max pool 1×255", [1, 84, 8]),
        ("average pool 1×4", [1, 21, 8]),
        ("average pool to 1×20", [1, 20, 8]),
        ("conv 1×1, 4", [1, 20, 4]),
    ];
    assert_eq!(shown, expected.map(|(text, shape)| (text.to_owned(), shape.to_vec())));
    let weight = set.tensors().iter().next().unwrap().1;
    assert_eq!(weight.shape, [8, 1, 9, 2]);
}

/// A size is written as it was before there were rectangles: configurations and checkpoints keep their bytes.
#[test]
fn a_size_is_written_as_a_number_where_its_axes_are_equal() {
    for (given, written) in [
        (
            json!({"conv": {"filters": 8, "kernel": [3, 3], "stride": [1, 1], "padding": 1, "groups": 1, "bias": true}}),
            r#"{"conv":{"filters":8,"kernel":3,"stride":1,"padding":1,"groups":1,"bias":true}}"#,
        ),
        (
            json!({"max_pool": {"kernel": [1, 2], "stride": 2}}),
            r#"{"max_pool":{"kernel":[1,2],"stride":2,"padding":0}}"#,
        ),
        (
            json!({"avg_pool": {"kernel": 2, "padding": [0, 1]}}),
            r#"{"avg_pool":{"kernel":2,"stride":null,"padding":[0,1]}}"#,
        ),
        (json!({"adaptive_avg_pool": {"grid": [4, 1]}}), r#"{"adaptive_avg_pool":{"grid":[4,1]}}"#),
    ] {
        let layer: LayerConfig = serde_json::from_value(given).unwrap();
        assert_eq!(serde_json::to_string(&layer).unwrap(), written);
        assert_eq!(serde_json::from_str::<LayerConfig>(written).unwrap(), layer);
    }
    for (wrong, found) in [
        (json!([1, 2, 3]), "invalid length 3"),
        (json!([1]), "invalid length 1"),
        (json!(-1), "invalid type: integer `-1`"),
        (json!("3"), "invalid type: string \"3\""),
    ] {
        let error = serde_json::from_value::<Size2>(wrong).unwrap_err().to_string();
        let expected = format!("{found}, expected a whole number from 0 on, or [height, width]");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn impossible_networks_are_refused_with_the_path_and_the_reason() {
    let readout = json!({"readout": {"count": 4}});
    let unit = |layers: Value, workers: &Value| json!({"layers": layers, "workers": workers});
    let cases = [
        (
            unit(json!([{"conv": {"filters": 4, "kernel": 11}}]), &readout),
            "network.units[0].layers[0]: a window of 11×11 with stride 1×1 and padding 0×0 does not \
             fit a 8×8 image",
        ),
        (
            unit(json!([conv(6)]), &readout),
            "network.units[0].workers: 6 features cannot be shared evenly by 4 workers",
        ),
        (
            unit(json!([conv(12)]), &json!({"filters": {"count": 2}})),
            "network.units[0].workers: 12 filters cannot be shared by 2 workers of 10 classes: \
             expected a multiple of 20",
        ),
        (
            unit(json!([conv(4)]), &json!({"readout": {"count": 0}})),
            "network.units[0].workers: a count of 0, expected at least 1 worker",
        ),
        (
            unit(json!(["relu"]), &readout),
            "network.units[0].layers: holds no layer with weights, so there is nothing for the \
             workers to learn",
        ),
        (
            unit(json!([]), &json!({"neurons": {"count": 2}})),
            "network.units[0].workers: needs a vector, but the input has shape [8, 8, 1]; put \
             `flatten` before it",
        ),
        (
            unit(json!([conv(4)]), &json!({"readout": {"count": 4, "grid": 9}})),
            "network.units[0].workers: a grid of 9×9 does not fit a 8×8 image",
        ),
        (
            unit(json!([conv(4)]), &json!({"block": {"grid": [0, 8]}})),
            "network.units[0].workers: a grid of 0×8 does not fit a 8×8 image",
        ),
        (
            unit(json!([{"conv": {"filters": 4, "kernel": [1, 9]}}]), &readout),
            "network.units[0].layers[0]: a window of 1×9 with stride 1×1 and padding 0×0 does not \
             fit a 8×8 image",
        ),
        (
            unit(json!([{"conv": {"filters": 4, "kernel": 3, "stride": [1, 0]}}]), &readout),
            "network.units[0].layers[0]: a window of 3×3 with stride 1×0 and padding 0×0 does not \
             fit a 8×8 image",
        ),
        (
            unit(json!([{"conv": {"filters": 4, "kernel": [1, 1_u64 << 31]}}]), &readout),
            "network.units[0].layers[0].conv.kernel: 2147483648, expected at most 2147483647",
        ),
        (
            unit(json!([{"max_pool": {"kernel": [16, 16]}}]), &readout),
            "network.units[0].layers[0]: a kernel of 16×16 has 256 positions, expected at most 255",
        ),
        (
            unit(json!([{"avg_pool": {"kernel": [1, 4], "padding": [1, 0]}}]), &readout),
            "network.units[0].layers[0]: a padding of 1×0 is more than half of the 1×4 window",
        ),
        (
            unit(json!([conv(4), {"dropout": {"rate": 1.0}}]), &readout),
            "network.units[0].layers[1]: a dropout rate of 1, expected at least 0 and below 1",
        ),
        (
            unit(json!([{"residual": {"body": [conv(4)]}}]), &readout),
            "network.units[0].layers[0]: the body gives [8, 8, 4] and the shortcut [8, 8, 1], \
             expected one shape",
        ),
        (
            json!({"layers": [conv(4)], "workers": readout, "transition": [conv(4)]}),
            "network.units[0].transition: holds a layer with parameters, which no local loss would \
             train; put it into the `layers` of this unit or the next",
        ),
    ];
    for (unit, message) in cases {
        assert_eq!(refusal(unit), message);
    }
    let binary = json!({"task": "binary", "units": []});
    assert_eq!(
        network(binary, &[4], 3).unwrap_err(),
        "network.task: a binary task, but the data has 3 classes"
    );
}

/// The layers of similarity matching count as a head: training alone needs them, and a local gradient crosses them.
#[test]
fn similarity_matching_has_named_head_parameters_and_a_depth() {
    let unit = |similarity: Value| {
        json!({"units": [{
            "layers": [conv(4), "relu"], "workers": {"readout": {"count": 1, "grid": 2}},
            "transition": ["flatten"], "similarity": similarity
        }]})
    };
    let layers = json!([conv(5), {"batch_norm": {}}, "relu", conv(6)]);
    let with =
        network(unit(json!({"weight": 1, "layers": layers.clone()})), &[8, 8, 1], 10).unwrap();
    let names = with.parameters().iter().map(|parameter| &parameter.tensor.name[..]);
    let names: Vec<&str> = names.filter(|name| name.contains("similarity")).collect();
    let expected = [
        "unit1.similarity.layer1.weight",
        "unit1.similarity.layer1.bias",
        "unit1.similarity.layer2.weight",
        "unit1.similarity.layer2.bias",
        "unit1.similarity.layer2.running_mean",
        "unit1.similarity.layer2.running_var",
        "unit1.similarity.layer4.weight",
        "unit1.similarity.layer4.bias",
    ];
    assert_eq!(names, expected);
    let without = network(unit(Value::Null), &[8, 8, 1], 10).unwrap();
    let heads = (9 * 4 * 5 + 5) + 10 + (9 * 5 * 6 + 6);
    let (prediction, of_workers) = without.parameter_counts();
    assert_eq!(with.parameter_counts(), (prediction, of_workers + heads));
    // Workers may vote; what is compared has no vote.
    let mut votes = unit(json!({"weight": 1, "layers": layers}));
    votes["output"] = json!({"ensemble": 1});
    let votes = network(votes, &[8, 8, 1], 10).unwrap();
    assert_eq!(votes.parameter_counts(), (prediction + of_workers, heads));
    let depths = |network: &Network| (network.units()[0].depth(), network.units()[0].local_depth());
    assert_eq!((depths(&without), depths(&with)), ((1, 1), (1, 3)));
    assert!(!without.units()[0].matches_similarity() && with.units()[0].matches_similarity());
    let described =
        "conv 3×3, 5, batch norm, relu, conv 3×3, 6, deviation over positions, unit length";
    assert_eq!(with.units()[0].describe_similarity(), described);
    // A batch of n has n² pairs.
    let refused = with.check_batch(1 << 18, Mode::Train).unwrap_err();
    assert!(
        refused.starts_with("262144, expected at most 131072: similarity matching"),
        "{refused}"
    );
    without.check_batch(1 << 18, Mode::Train).unwrap();
    with.check_batch(1 << 18, Mode::Evaluate).unwrap();
}

#[test]
fn similarity_matching_that_compares_nothing_is_refused() {
    let refused = |task: &str, features: Value, weight: f64, classes: usize| {
        let unit = json!({"layers": ["flatten", features], "workers": {"readout": {"count": 1}},
            "similarity": {"weight": weight}});
        network(json!({"task": task, "units": [unit]}), &[2, 2, 1], classes).unwrap_err()
    };
    let linear = |features: usize| json!({"linear": {"features": features}});
    let here = "network.units[0].similarity";
    for weight in [0.0, -1.0] {
        let message = refused("classification", linear(3), weight, 3);
        assert_eq!(message, format!("{here}.weight: {weight}, expected a number above 0"));
    }
    assert_eq!(
        refused("classification", linear(1), 1.0, 3),
        format!("{here}: compares one feature: centred, it has no direction; expected several")
    );
    assert_eq!(
        refused("regression", linear(3), 1.0, 1),
        format!(
            "{here}: regression of one number: centred, it has no direction to compare; expected \
             classes, or several numbers"
        )
    );
    let neurons = json!({"layers": ["flatten"], "workers": {"neurons": {"count": 2}},
        "similarity": {"weight": 1}});
    assert_eq!(
        network(json!({"task": "one_vs_all", "units": [neurons]}), &[2, 2, 1], 3).unwrap_err(),
        format!("{here}: the classifiers of a one-vs-all network share no features to compare")
    );
    let unknown = json!({"layers": ["flatten", linear(3)], "workers": {"readout": {"count": 1}},
        "similarity": {"weights": 1}});
    let message = network(json!({"units": [unknown]}), &[2, 2, 1], 3).unwrap_err();
    assert!(
        message.contains("unknown field `weights`, expected `weight` or `layers`"),
        "{message}"
    );
}

#[test]
fn the_number_of_leaders_rounds_and_is_never_zero() {
    let count = |delta: f64, workers: usize| {
        LeadershipConfig { delta, ..LeadershipConfig::default() }.leaders(workers)
    };
    // Figure 6: 20 % of 32 workers are "approximately 6".
    assert_eq!(count(0.2, 32), 6);
    assert_eq!(count(0.7, 4), 3);
    assert_eq!(count(0.01, 4), 1);
    assert_eq!(count(1.0, 5), 5);
    assert_eq!(count(0.5, 1), 1);
}

#[test]
fn zero_and_more_than_all_leaders_are_refused() {
    for delta in [0.0, -0.1, 1.01, f64::NAN] {
        let config = LeadershipConfig { delta, ..LeadershipConfig::default() };
        let error = Leadership::new(config, Loss::MeanSquared).unwrap_err().to_string();
        assert!(error.starts_with("leadership.delta: "), "{error}");
        assert!(error.ends_with("expected above 0 and at most 1"), "{error}");
    }
}

#[test]
fn initial_values_fill_their_range_and_differ_by_seed_and_parameter() {
    let init = Init::for_fan_in(25);
    let stream = |number| Stream::new(Purpose::Init, number);
    let values = init.values(1, stream(0), 10_001);
    assert_eq!(values.len(), 10_001);
    assert!(values.iter().all(|v| v.abs() <= 0.2));
    let mean = values.iter().sum::<f32>() / 10_001.0;
    let variance = values.iter().map(|v| v * v).sum::<f32>() / 10_001.0;
    assert!(mean.abs() < 0.005, "{mean}");
    // A uniform number in ±b has variance b² / 3.
    assert!((variance - 0.04 / 3.0).abs() < 5e-4, "{variance}");
    assert_ne!(values, init.values(2, stream(0), 10_001));
    assert_ne!(values, init.values(1, stream(1), 10_001));
}
