//! Tests that CONFIG.md knows every key and every name, and that what is written is read back.

use serde_json::Value as Json;

use super::{RunConfig, read};

const DOCUMENT: &str = include_str!("../../CONFIG.md");

fn assert_documented(name: &str) {
    assert!(DOCUMENT.contains(&format!("`{name}`")), "CONFIG.md does not mention `{name}`");
}

fn keys(value: &Json, each: &mut dyn FnMut(&str)) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                each(key);
                keys(value, each);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| keys(item, each)),
        _ => {}
    }
}

#[test]
fn every_key_of_every_recipe_is_documented() {
    for name in crate::recipes::names() {
        let config: RunConfig = read(crate::recipes::text(name).unwrap(), name).unwrap();
        keys(&serde_json::to_value(&config).unwrap(), &mut assert_documented);
    }
}

/// What an unknown key or value at each place would have been told to be.
#[test]
fn every_key_and_name_that_is_accepted_is_documented() {
    let unit = |layers: &str, workers: &str| {
        format!("network: {{units: [{{layers: [{layers}], workers: {workers}}}]}}")
    };
    let mut texts: Vec<String> = [
        "dataset: {x: 1}",
        "dataset: {name: x}",
        "dataset: {augmentation: {x: 1}}",
        "network: {x: 1}",
        "network: {task: x}",
        "network: {units: [{x: 1}]}",
        "network: {output: {x: 1}}",
        "leadership: {x: 1}",
        "leadership: {scope: x}",
        "leadership: {reduction: x}",
        "leadership: {align: x}",
        "leadership: {reference: x}",
        "training: {x: 1}",
        "training: {optimizer: x}",
        "training: {optimizer: {sgd: {x: 1}}}",
        "training: {optimizer: {adam: {x: 1}}}",
        "training: {schedule: x}",
        "training: {schedule: {step: {x: 1}}}",
        "training: {schedule: {cosine: {x: 1}}}",
        "training: {schedule: {one_cycle: {x: 1}}}",
        "limits: {x: 1}",
        "checkpoints: {x: 1}",
        "method: x",
        "precision: x",
        "x: 1",
    ]
    .map(str::to_owned)
    .to_vec();
    for layer in ["conv", "linear", "softmax", "max_pool", "avg_pool", "adaptive_avg_pool"] {
        texts.push(unit(&format!("{{{layer}: {{x: 1}}}}"), "block"));
    }
    for layer in ["batch_norm", "dropout", "residual"] {
        texts.push(unit(&format!("{{{layer}: {{x: 1}}}}"), "block"));
    }
    texts.push(unit("x", "block"));
    texts.push(unit("", "x"));
    texts.push(unit("", "{neurons: {count: 1, output_activation: x}}"));
    for workers in ["neurons", "filters", "readout", "block"] {
        texts.push(unit("", &format!("{{{workers}: {{x: 1}}}}")));
    }
    for text in texts {
        let message = read::<RunConfig>(&text, "test").unwrap_err().to_string();
        let (_, expected) = message
            .split_once("(expected one of ")
            .or_else(|| message.split_once("(expected "))
            .unwrap_or_else(|| panic!("{text}: {message}"));
        for name in expected.trim_end_matches(')').split(", ") {
            assert_documented(name.trim_matches('`'));
        }
    }
}

#[test]
fn a_configuration_is_read_as_it_was_written() {
    for name in crate::recipes::names() {
        let config: RunConfig = read(crate::recipes::text(name).unwrap(), name).unwrap();
        let again: RunConfig = read(&config.to_yaml().unwrap(), name).unwrap();
        assert_eq!(config, again, "{name}");
    }
}

#[test]
fn odd_texts_and_numbers_survive() {
    let text = crate::recipes::text("digits").unwrap();
    let mut config: RunConfig = read(text, "digits").unwrap();
    for path in ["1e3", "true", "null", "", " a: b #c", "- x", "'\"\\\n\t", "日本", "C:\\data", "~"]
    {
        config.dataset.path = Some(path.into());
        config.recipe = Some(path.into());
        config.seed = u64::MAX;
        config.training.label_smoothing = 1e-300;
        let again: RunConfig = read(&config.to_yaml().unwrap(), "again").unwrap();
        assert_eq!(config, again, "{path:?}");
    }
}

/// Writes a configuration with these numbers and reads it again.
fn written_and_read(seed: u64, number: f64) -> (u64, f64, f64) {
    let text = crate::recipes::text("digits").unwrap();
    let mut config: RunConfig = read(text, "digits").unwrap();
    config.seed = seed;
    config.training.label_smoothing = number;
    config.leadership.lambda = number;
    let again: RunConfig = read(&config.to_yaml().unwrap(), "again").unwrap();
    (again.seed, again.training.label_smoothing, again.leadership.lambda)
}

#[test]
fn numbers_at_the_ends_of_their_types_survive_to_the_last_bit() {
    for seed in [0, 1 << 53, (1 << 53) + 1, i64::MAX as u64, 1 << 63, (1 << 63) + 1, u64::MAX] {
        assert_eq!(written_and_read(seed, 0.0).0, seed);
    }
    for number in [
        0.0,
        -0.0,
        5e-324,
        -5e-324,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        1e16,
        1e21,
        0.1,
        1.0,
        9007199254740993.0,
    ] {
        let (_, one, other) = written_and_read(1, number);
        assert_eq!(
            (one.to_bits(), other.to_bits()),
            (number.to_bits(), number.to_bits()),
            "{number:e}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_number_survives_to_the_last_bit(
        seed in proptest::prelude::any::<u64>(),
        bits in proptest::prelude::any::<u64>(),
    ) {
        let number = f64::from_bits(bits);
        proptest::prop_assume!(number.is_finite());
        let (read_seed, one, other) = written_and_read(seed, number);
        proptest::prop_assert_eq!(read_seed, seed);
        proptest::prop_assert_eq!((one.to_bits(), other.to_bits()), (bits, bits));
    }

    #[test]
    fn random_text_is_read_or_refused_without_a_panic(text in "\\PC{0,120}") {
        let _ = read::<RunConfig>(&text, "test");
    }

    #[test]
    fn a_recipe_with_random_changes_is_read_or_refused_without_a_panic(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        with in "[\\[\\]{}:,&*!|>'\"%@`#\\- \\n\\ta-z0-9]{0,6}",
    ) {
        let mut text = crate::recipes::text("tiny-imagenet").unwrap().to_owned();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, &with);
        let _ = read::<RunConfig>(&text, "test");
    }
}
