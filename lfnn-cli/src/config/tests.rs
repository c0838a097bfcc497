//! Tests that what is written is read back, that any text is read or refused, and that ranges are checked.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::generated::{reference, schema_of};
use super::{Request, RunConfig, read, resolve};

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

/// Every number of the schema that has a range, with its path and a valid value of the map that holds it.
fn ranged(
    definitions: &Map<String, Value>,
    path: &str,
    schema: &Value,
    found: &mut Vec<(String, Value, Value)>,
) {
    let schema = reference(schema).map_or(schema, |name| &definitions[name]);
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    for (key, value) in
        variants.chain([schema]).filter_map(|of| of["properties"].as_object()).flatten()
    {
        let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
        if value["type"].to_string().contains("number")
            || value["type"].to_string().contains("integer")
        {
            let of_numbers = schema["properties"].as_object().unwrap().iter();
            let valid = of_numbers.filter_map(|(key, value)| match value["type"].as_str()? {
                "number" => Some((key.clone(), json!(0.5))),
                "integer" => Some((key.clone(), json!(1))),
                _ => None,
            });
            found.push((path, value.clone(), Value::Object(valid.collect())));
        } else {
            ranged(definitions, &path, value, found);
        }
    }
}

#[test]
fn a_number_is_refused_outside_its_range_and_taken_at_the_ends() {
    let schema = schema_of::<RunConfig>(SchemaSettings::draft2020_12());
    let mut all = Vec::new();
    ranged(schema["$defs"].as_object().unwrap(), "", &schema, &mut all);
    let mut checked = 0;
    for (path, range, valid) in all {
        let Some((map, key)) = path.rsplit_once('.') else { continue };
        let is_whole = range["type"].to_string().contains("integer");
        let step = if is_whole { 1.0 } else { 0.125 };
        let mut tried = |value: f64, is_in: bool| {
            let number = if is_whole { json!(value as u64) } else { json!(value) };
            let mut sets = vec!["dataset.validation=100".to_owned()];
            let others = valid.as_object().unwrap().iter().filter(|(other, _)| *other != key);
            sets.extend(others.map(|(other, value)| format!("{map}.{other}={value}")));
            sets.push(format!("{path}={number}"));
            let result = resolve(&Request { sets: &sets, ..Request::default() });
            let message = result.err().map(|failure| failure.to_string()).unwrap_or_default();
            assert_eq!(message.is_empty(), is_in, "{path} = {number}: {message}");
            let expected = format!("{path}: {number}, expected ");
            assert!(
                is_in || message.replace(".0,", ",").contains(&expected.replace(".0,", ",")),
                "{message}"
            );
            checked += 1;
        };
        // Unsigned numbers need no check of theirs.
        if let Some(low) = range["minimum"].as_f64().filter(|&low| low > 0.0 || !is_whole) {
            tried(low, true);
            tried(low - step, false);
        }
        if let Some(low) = range["exclusiveMinimum"].as_f64() {
            tried(low + step, true);
            tried(low, false);
        }
        if let Some(high) = range["maximum"].as_f64() {
            tried(high, true);
            tried(high + step, false);
        }
        if let Some(high) = range["exclusiveMaximum"].as_f64() {
            tried(high - step, true);
            tried(high, false);
        }
    }
    assert!(checked > 60, "{checked}");
}

/// Whether a value fits a schema of the editors' kind.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let all = |key: &str| schema[key].as_array().into_iter().flatten();
    let count = |key: &str| all(key).filter(|of| fits(root, of, value)).count();
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        _ => value.is_object(),
    };
    let bound = |key: &str| schema[key].as_f64().zip(value.as_f64());
    reference(schema).is_none_or(|name| fits(root, &root["definitions"][name], value))
        && (schema["oneOf"].is_null() || count("oneOf") == 1)
        && (schema["anyOf"].is_null() || count("anyOf") > 0)
        && (schema["enum"].is_null() || all("enum").any(|name| name == value))
        && (schema["const"].is_null() || schema["const"] == *value)
        && match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(is),
            kind => kind.is_null() || is(kind),
        }
        && all("required").all(|key| value.get(key.as_str().unwrap()).is_some())
        && value.as_object().into_iter().flatten().all(|(key, value)| {
            match schema["properties"].get(key) {
                Some(of) => fits(root, of, value),
                None => schema["additionalProperties"] != false,
            }
        })
        && value.as_array().into_iter().flatten().all(|item| fits(root, &schema["items"], item))
        && value.as_array().is_none_or(|items| {
            let bound = |key: &str, none| schema[key].as_u64().map_or(none, |n| n as usize);
            (bound("minItems", 0)..=bound("maxItems", usize::MAX)).contains(&items.len())
        })
        && bound("minimum").is_none_or(|(low, value)| value >= low)
        && bound("exclusiveMinimum").is_none_or(|(low, value)| value > low)
        && bound("maximum").is_none_or(|(high, value)| value <= high)
        && bound("exclusiveMaximum").is_none_or(|(high, value)| value < high)
}

#[test]
fn the_schema_for_editors_takes_recipes_and_parts_of_them_and_refuses_typos() {
    let schema: Value = serde_json::from_str(super::SCHEMA).unwrap();
    let takes = |text: &str| {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        fits(&schema, &schema, &value)
    };
    for name in crate::recipes::names() {
        let text = crate::recipes::text(name).unwrap();
        let config: RunConfig = read(text, name).unwrap();
        assert!(takes(text) && takes(&config.to_yaml().unwrap()), "{name}");
    }
    for part in [
        "training: {epochs: 3}",
        "training: {optimizer: {adamw: {weight_decay: 0.1}}}",
        "network: {units: [{layers: [flatten], workers: block}]}",
        "training: {schedule: one_cycle}",
        "training: {clip_norm: null}",
        "leadership: {delta: 1}",
        "network: {units: [{layers: [{conv: {filters: 1, kernel: [1, 9], padding: [0, 4]}}], workers: block}]}",
        "network: {units: [{layers: [{max_pool: {kernel: 2, stride: [1, 2]}}], workers: {block: {grid: [1, 4]}}}]}",
    ] {
        assert!(takes(part), "{part}");
    }
    for wrong in [
        "trainning: {epochs: 3}",
        "training: {epochs: 0}",
        "training: {optimizer: adamw}",
        "training: {optimizer: {adam: {}, sgd: {}}}",
        "network: {units: [{layers: [conv], workers: block}]}",
        "network: {units: [{layers: [max_pool], workers: block}]}",
        "network: {units: [{layers: [{conv: {filters: 1}}], workers: block}]}",
        "network: {units: [{layers: [relu]}]}",
        "network: {units: [{layers: [{conv: {filters: 1, kernel: [1, 9, 1]}}], workers: block}]}",
        "network: {units: [{layers: [{conv: {filters: 1, kernel: [1, 0.5]}}], workers: block}]}",
        "network: {units: [{layers: [relu], workers: {block: {grid: [4]}}}]}",
        "leadership: {delta: 0}",
        "leadership: {scope: bach}",
        "method: lfnnl",
    ] {
        assert!(!takes(wrong), "{wrong}");
    }
}

#[test]
fn a_duplicate_key_names_both_places() {
    let text = "seed: 1\ndataset: {name: digits,\n  name: mnist}\n";
    let error = read::<RunConfig>(text, "mine").unwrap_err().to_string();
    let expected =
        "mine, line 3, column 3: duplicate key `name`; it is already at line 2, column 11";
    assert_eq!(error, expected);
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
