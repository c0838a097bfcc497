//! Whatever numbers a configuration holds: a network, its step and its memory, or an error that names the setting.
//! Nothing overflows, and nothing is allocated by a count that was not checked.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use lfnn_core::config::{Augmentation, ConfigError, Limits, NetworkConfig, TrainingConfig};
use lfnn_core::method::METHODS;
use lfnn_core::network::Network;
use lfnn_core::program::{DType, ProgramError, ProgramSet, Window};
use lfnn_core::sizes::{MAX_LAYERS, MAX_NESTED};
use lfnn_core::train::{DataLayout, Normalization, Setup, StepProgram, trainer_programs};
use lfnn_cpu::{Cpu, CpuError};
use lfnn_cuda::Precision;
use lfnn_cuda::plan::Plan;
use lfnn_tests::property::property;
use lfnn_tests::source::Source;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Numbers at which arithmetic of 32 or 64 bits ends, and small ones, with which a network can be.
const EXTREME: [u64; 16] = [
    0,
    1 << 15,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 32) + 1,
    1 << 53,
    1 << 60,
    (1 << 61) + 1,
    (1 << 62) - 1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    (1 << 63) + 4,
    u64::MAX - 1,
    u64::MAX,
];

/// A number: mostly small, so that it is not always the first one that is refused.
fn number(source: &mut Source) -> u64 {
    if source.below(8) == 0 { source.pick(&EXTREME) } else { 1 + u64::from(source.below(4)) }
}

/// A size: a number, or a height and a width.
fn size(source: &mut Source) -> Value {
    if source.coin() { json!(number(source)) } else { json!([number(source), number(source)]) }
}

fn layer(source: &mut Source, depth: usize) -> Value {
    let kinds = if depth > 2 { 12 } else { 13 };
    match source.below(kinds) {
        0 | 1 => json!({"conv": {
            "filters": number(source),
            "kernel": size(source),
            "stride": size(source),
            "padding": size(source),
            "groups": if source.below(4) == 0 { number(source) } else { 1 },
        }}),
        2 => json!({"linear": {"features": number(source)}}),
        3 => json!({"softmax": {"width": number(source)}}),
        4 => {
            json!({"max_pool": {"kernel": size(source), "stride": size(source), "padding": size(source)}})
        }
        5 => json!({"avg_pool": {"kernel": size(source), "padding": size(source)}}),
        6 => json!({"adaptive_avg_pool": {"grid": size(source)}}),
        7 => json!("global_avg_pool"),
        8 => json!({"batch_norm": {}}),
        9 => json!("bias"),
        10 => json!("flatten"),
        11 => json!("relu"),
        _ => {
            json!({"residual": {"body": layers(source, depth + 1), "shortcut": layers(source, depth + 1)}})
        }
    }
}

fn layers(source: &mut Source, depth: usize) -> Vec<Value> {
    (0..source.below(4)).map(|_| layer(source, depth)).collect()
}

fn unit(source: &mut Source) -> Value {
    let count = number(source);
    let workers = match source.below(5) {
        0 => json!({"neurons": {"count": count}}),
        1 => json!({"filters": {"count": count}}),
        2 => json!({"readout": {"count": count, "grid": size(source)}}),
        3 => json!({"heads": [{"grid": 1}, {"count": count, "layers": layers(source, 1)}]}),
        _ => json!({"block": {"count": count}}),
    };
    json!({"layers": layers(source, 0), "workers": workers, "transition": layers(source, 2)})
}

/// What a configuration is used for.
fn used(network: &NetworkConfig, source: &mut Source) -> Result<(), ConfigError> {
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": number(source), "epochs": number(source), "optimizer": {"adamw": {"lr": 0.01}},
        "schedule": {"step": {"epochs": number(source), "gamma": 0.5}},
    }))
    .unwrap();
    let side = if source.below(8) == 0 { number(source) } else { 6 };
    let shape = [side as usize, 6, 1 + source.below(2) as usize];
    let classes = if source.below(8) == 0 { number(source) as usize } else { 3 };
    let limit = |source: &mut Source| (source.below(4) == 0).then(|| number(source) as usize);
    let setup = Setup {
        augmentation: Augmentation {
            crop_padding: number(source) as usize,
            flip: true,
            cutout: number(source) as usize,
        },
        limits: Limits { batches: limit(source), overfit_batches: limit(source) },
        ..Setup::new(network, &training, source.pick(&METHODS))
            .normalized_by(Normalization { mean: vec![0.0; shape[2]], std: vec![1.0; shape[2]] })
    };
    setup.validate(1 << 20)?;
    Network::new(&mut ProgramSet::new(), network, &shape, classes)?.parameter_counts();
    let step = StepProgram::new(&setup, shape, classes)?;
    let memory = step.memory();
    assert!(memory.step > 0 && memory.parameters > 0, "{memory:?}");
    Cpu::new(Some(2)).unwrap().planned_bytes(&step.set);
    let _ = Plan::new(&step.set, Precision::F32);
    trainer_programs(&setup, DataLayout::of_bytes(shape, classes, 1 << 20), 1 << 20).map(|_| ())
}

#[test]
fn extreme_numbers_make_a_network_with_a_figure_or_an_error_that_names_the_setting() {
    let (made, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    property(3000, any::<u64>(), |seed| {
        let mut source = Source::new(seed);
        let units: Vec<Value> = (0..source.below(3)).map(|_| unit(&mut source)).collect();
        let task = source.pick(&["classification", "one_vs_all", "regression"]);
        let network =
            json!({"task": task, "units": units, "output": {"layers": layers(&mut source, 1)}});
        let network: NetworkConfig = serde_json::from_value(network).unwrap();
        let begin = Instant::now();
        match used(&network, &mut source) {
            Ok(()) => made.set(made.get() + 1),
            Err(error) if error.path.is_empty() || error.message.is_empty() => {
                return Err(format!("{error:?}"));
            }
            Err(_) => refused.set(refused.get() + 1),
        }
        let time = begin.elapsed();
        if time > Duration::from_secs(120) { Err(format!("it took {time:?}")) } else { Ok(()) }
    });
    println!("{} networks, {} refused", made.get(), refused.get());
    assert!(made.get() > 20 && refused.get() > 500, "{made:?}, {refused:?}");
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes < 8 << 20, "{kibibytes} KiB of addresses were asked for");
    }
}

fn refusal(units: Value) -> String {
    let network: NetworkConfig = serde_json::from_value(json!({"units": units})).unwrap();
    Network::new(&mut ProgramSet::new(), &network, &[8, 8, 1], 10).unwrap_err().to_string()
}

#[test]
fn a_number_that_is_too_large_is_told_with_its_key_and_the_limit() {
    let conv = |key: &str, value: u64| {
        let mut conv = json!({"filters": 4, "kernel": 3});
        conv[key] = value.into();
        json!([{"layers": [{"conv": conv}], "workers": {"block": {}}}])
    };
    for key in ["filters", "kernel", "stride", "padding", "groups"] {
        for value in [1 << 31, 1 << 60, (1 << 61) + 1, 1 << 63, u64::MAX] {
            let expected = format!(
                "network.units[0].layers[0].conv.{key}: {value}, expected at most 2147483647"
            );
            assert_eq!(refusal(conv(key, value)), expected);
        }
    }
    let workers = |kind: &str, key: &str, value: u64| {
        let mut settings = json!({"count": 4});
        settings[key] = value.into();
        json!([{"layers": [{"conv": {"filters": 4, "kernel": 3}}], "workers": {kind: settings}}])
    };
    for (kind, key) in [
        ("neurons", "count"),
        ("filters", "count"),
        ("readout", "count"),
        ("readout", "grid"),
        ("block", "count"),
        ("block", "grid"),
    ] {
        let message = refusal(workers(kind, key, (1 << 63) + 4));
        let path =
            format!("network.units[0].workers.{kind}.{key}: 9223372036854775812, expected at most");
        assert!(message.starts_with(&path), "{message}");
    }
    // Within the limit of a number, beyond that of what it makes.
    let message = refusal(conv("padding", 1 << 30));
    assert!(message.starts_with("network.units[0].layers[0]: an output of shape ["), "{message}");
    let linear = json!([{"layers": ["flatten", {"linear": {"features": (1u64 << 31) - 1}}],
                         "workers": {"readout": {"count": 1}}}]);
    let message = refusal(linear);
    assert!(message.starts_with("network.units[0].layers[1]: a weight of shape ["), "{message}");
}

#[test]
fn layers_are_counted_with_those_of_every_block_and_residuals_are_nested_so_deep() {
    let layers = json!([{"conv": {"filters": 1, "kernel": 3}}]);
    let block = |count: u64| json!([{"layers": layers, "workers": {"block": {"count": count}}}]);
    let expected =
        format!("expected at most {MAX_LAYERS} layers in a network, each block's counted");
    for count in [MAX_LAYERS as u64, 1 << 20, (1 << 31) - 1] {
        let message = refusal(block(count));
        assert!(message.ends_with(&expected), "{message}");
    }
    for layers in [json!([]), json!([{"conv": {"filters": 1, "kernel": 1}}])] {
        let head = json!({"count": 1 << 20, "layers": layers, "dropout": 0.1});
        let conv = json!({"conv": {"filters": 1, "kernel": 3}});
        let message = refusal(json!([{"layers": [conv], "workers": {"heads": [head]}}]));
        assert!(message.ends_with(&expected), "{message}");
    }
    let mut layer = json!({"conv": {"filters": 1, "kernel": 1}});
    for _ in 0..=MAX_NESTED {
        layer = json!({"residual": {"body": [layer]}});
    }
    let message = refusal(json!([{"layers": [layer], "workers": {"block": {}}}]));
    assert!(message.ends_with("`residual` is nested deeper than 32 levels"), "{message}");
}

#[test]
fn a_network_beyond_the_machines_memory_is_refused_with_both_figures() {
    // Outputs of 2³⁰ numbers for an example, and 15 of them.
    let wide = json!({"conv": {"filters": 16, "kernel": 1, "padding": 4092}});
    let network: NetworkConfig = serde_json::from_value(
        json!({"units": [{"layers": [wide], "workers": {"block": {"grid": 1}}}]}),
    )
    .unwrap();
    let training: TrainingConfig = serde_json::from_value(json!({
        "batch_size": 15, "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}}
    }))
    .unwrap();
    let setup = Setup::new(&network, &training, METHODS[0])
        .normalized_by(Normalization { mean: vec![0.0], std: vec![1.0] });
    let step = StepProgram::new(&setup, [8, 8, 1], 10).unwrap();
    assert!(step.memory().step > 30 << 30, "it is shown all the same");
    if lfnn_cpu::available_memory().is_none_or(|available| available > step.memory().step) {
        println!("skipped: this machine has the memory, or does not tell");
        return;
    }
    let error =
        lfnn_core::backend::Backend::compile(&Cpu::new(Some(1)).unwrap(), &step.set).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(CpuError::TooLarge { .. })), "{error}");
    let message = error.to_string();
    assert!(message.starts_with("this network needs ") && message.contains("GiB"), "{message}");
    assert!(message.contains("; this machine has ") && message.ends_with(" free"), "{message}");
}

#[test]
fn more_threads_than_make_sense_are_refused() {
    for threads in [lfnn_cpu::max_threads() + 1, 100_000, usize::MAX] {
        let error = Cpu::new(Some(threads)).unwrap_err();
        assert!(error.to_string().contains("expected at most"), "{error}");
    }
}

#[test]
fn a_program_whose_tensors_nobody_could_address_is_refused() {
    for shape in [&[usize::MAX, 2][..], &[1 << 62], &[1 << 31, 1 << 31]] {
        let mut set = ProgramSet::new();
        set.persistent("wide", DType::Real, shape);
        let error = set.build("odd").finish().unwrap_err();
        assert!(matches!(error, ProgramError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains("`wide`"), "{error}");
    }
    for padding in [usize::MAX, usize::MAX / 2, 1 << 63] {
        let window = Window::square(3, 1, padding);
        assert!(window.output([8, 8]).is_err(), "{padding}");
    }
}
