//! CONFIG.md and config.schema.json, generated from the types of the configuration. A test fails when they are stale.
//!
//! In CONFIG.md each block between `<!-- generated: TYPE -->` and `<!-- end -->` documents one type; the text around
//! the blocks is written by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{RunConfig, StepConfig};

/// With this variable the test writes the files.
const UPDATE: &str = "LFNN_UPDATE_GENERATED";
const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

#[test]
fn the_reference_and_the_schema_are_those_of_the_types() {
    let path = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let reference = std::fs::read_to_string(path("CONFIG.md")).unwrap().replace("\r\n", "\n");
    check(path("CONFIG.md"), &with_blocks(&reference));
    check(path("config.schema.json"), &format!("{:#}\n", editor_schema()));
}

/// Compares a file with what is generated, or writes it.
fn check(path: PathBuf, expected: &str) {
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert!(
        found == expected,
        "{} is stale; update it with `{UPDATE}=1 cargo test -p lfnn-cli --lib generated`",
        path.display()
    );
}

/// The schema of a type, with code examples removed from its descriptions.
pub(super) fn schema_of<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    each_object(&mut schema, &mut |object| {
        if let Some(Value::String(text)) = object.get_mut("description") {
            let code = text.find("```").unwrap_or(text.len());
            *text = text[..code].trim().to_owned();
        }
    });
    schema
}

fn each_object(value: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|value| each_object(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| each_object(value, change)),
        _ => {}
    }
}

// The schema for editors.

/// The schema of a file of `--config`, in the draft that editors know.
fn editor_schema() -> Value {
    let mut schema = schema_of::<RunConfig>(SchemaSettings::draft07());
    let definitions = schema["definitions"].clone();
    each_object(&mut schema, &mut |object| {
        if let Some(Value::Array(variants)) = object.get_mut("oneOf") {
            // The name of a variant is enough where all of its keys have defaults.
            let names: Vec<Value> =
                variants.iter().filter_map(|of| bare(of, &definitions)).collect();
            variants.extend(names);
        }
    });
    // A file is laid over a recipe, so that any key may be left out. Only lists are replaced as a whole.
    let complete = in_lists(&schema);
    let Value::Object(root) = &mut schema else { unreachable!() };
    root.insert("title".into(), "Configuration of lfnn-cli".into());
    root.remove("required");
    let definitions = root["definitions"].as_object_mut().unwrap();
    for (name, definition) in definitions {
        if !complete.contains(name) {
            each_object(definition, &mut |object| {
                // A choice still names one of its variants.
                if object.get("properties").is_some_and(|p| p.as_object().unwrap().len() != 1) {
                    object.remove("required");
                }
            });
        }
    }
    schema
}

/// Names of the definitions that are used inside lists.
fn in_lists(schema: &Value) -> Vec<String> {
    fn collect(schema: &Value, value: &Value, inside: bool, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(name) = object.get("$ref").and_then(Value::as_str) {
                    let name = name.rsplit('/').next().unwrap().to_owned();
                    if inside && !found.contains(&name) {
                        found.push(name.clone());
                        collect(schema, &schema["definitions"][&name], true, found);
                    }
                }
                for (key, value) in object {
                    collect(schema, value, inside || key == "items", found);
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|value| collect(schema, value, inside, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(schema, schema, false, &mut found);
    found
}

/// The name alone of a variant that needs no keys.
fn bare(variant: &Value, definitions: &Value) -> Option<Value> {
    let (name, content) = variant["properties"].as_object()?.iter().next()?;
    let content = resolved(content, definitions);
    let needs_none = content["required"].as_array().is_none_or(Vec::is_empty);
    let described = json!({ "const": name, "description": variant["description"] });
    needs_none.then_some(described)
}

/// The name of the definition that a schema refers to.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    let direct = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    direct.map(|path| path.rsplit('/').next().unwrap_or(path))
}

/// A schema, or the one that it refers to, perhaps by way of a type that is another name for it.
fn resolved<'a>(mut schema: &'a Value, definitions: &'a Value) -> &'a Value {
    while let Some(name) = reference(schema) {
        schema = &definitions[name];
    }
    schema
}

// The reference.

/// The reference with its blocks generated.
///
/// Panics if a type has no block.
fn with_blocks(text: &str) -> String {
    let run = schema_of::<RunConfig>(SchemaSettings::draft2020_12());
    let step = schema_of::<StepConfig>(SchemaSettings::draft2020_12());
    let reference = Reference { definitions: run["$defs"].clone() };
    let mut blocks: BTreeMap<&str, String> = reference
        .types()
        .iter()
        .filter(|(name, schema)| {
            names(schema).is_none() && title(schema).is_none() && !reference.is_content(name)
        })
        // What is written in one of several ways is documented where it is used.
        .filter(|(_, schema)| !schema["anyOf"].is_array())
        .map(|(name, schema)| (name.as_str(), reference.block(schema)))
        .collect();
    blocks.insert("RunConfig", reference.block(&run));
    blocks.insert("StepConfig", reference.block(&step));

    let mut result = String::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(BEGIN) {
        let (name, after) = block.split_once(" -->\n").expect("the end of a marker");
        let (_, after) = after.split_once(END).expect("the end of a block");
        let content = blocks.remove(name).unwrap_or_else(|| panic!("no type `{name}` is left"));
        result += &format!("{before}{BEGIN}{name} -->\n{content}{END}");
        rest = after;
    }
    assert!(blocks.is_empty(), "CONFIG.md has no block for {:?}", blocks.keys());
    result + rest
}

struct Reference {
    /// The schema of each type, by its name.
    definitions: Value,
}

impl Reference {
    fn types(&self) -> &Map<String, Value> {
        self.definitions.as_object().unwrap()
    }

    /// Whether a type holds the keys of a variant, and is documented with it.
    fn is_content(&self, name: &str) -> bool {
        let refers = |schema: &Value| reference(schema) == Some(name);
        let variants = self.types().values().filter_map(|schema| schema["oneOf"].as_array());
        variants.flatten().filter_map(|of| variant_of(of).1).any(refers)
            // Or those of a type that is another name for it.
            || self.types().iter().any(|(other, of)| refers(of) && self.is_content(other))
    }

    /// The documentation of a type: a map of keys, or a choice.
    fn block(&self, schema: &Value) -> String {
        let mut text = format!("{}\n\n", wrapped(description(schema)));
        let mut more = String::new();
        if let Some(variants) = schema["oneOf"].as_array() {
            text += "| name | key | type | default | meaning |\n|---|---|---|---|---|\n";
            for variant in variants {
                let (name, content) = variant_of(variant);
                text += &format!("| `{name}` | | | | {} |\n", cell(variant));
                if let Some(content) = content {
                    self.keys(resolved(content, &self.definitions), "| ", &mut text, &mut more);
                }
            }
        } else {
            text += "| key | type | default | meaning |\n|---|---|---|---|\n";
            self.keys(schema, "", &mut text, &mut more);
        }
        text + &more
    }

    /// Rows for the keys of a map, and what follows the table.
    fn keys(&self, schema: &Value, before: &str, rows: &mut String, more: &mut String) {
        let required = schema["required"].as_array();
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.is_some_and(|all| all.iter().any(|name| name == key));
            let default =
                if is_required { "–".to_owned() } else { default_of(&value["default"]) };
            let of = resolved(value, &self.definitions);
            let kind = self.kind(value);
            *rows += &format!("{before}| `{key}` | {kind} | {default} | {} |\n", cell(value));
            if let Some((_, note)) = description(value).split_once("\n\n") {
                *more += &format!("\n{}\n", wrapped(&format!("`{key}`: {note}")));
            }
            match names(of) {
                Some(names) if names.iter().any(|(_, meaning)| !meaning.is_empty()) => {
                    *more += &format!("\n| `{key}` | meaning |\n|---|---|\n");
                    for (name, meaning) in names {
                        *more += &format!("| `{name}` | {meaning} |\n");
                    }
                }
                Some(names) => {
                    let names: Vec<String> =
                        names.iter().map(|(name, _)| format!("`{name}`")).collect();
                    *more += &format!(
                        "\n{}\n",
                        wrapped(&format!("`{key}` is one of {}.", names.join(", ")))
                    );
                }
                None => {}
            }
        }
    }

    /// The type of a value, in words.
    fn kind(&self, schema: &Value) -> String {
        let of = resolved(schema, &self.definitions);
        if names(of).is_some() {
            return "name".into();
        }
        if let Some(title) = title(of) {
            return title.into();
        }
        if let Some(choices) = of["anyOf"].as_array() {
            let kinds = choices.iter().filter(|choice| choice["type"] != "null");
            return kinds.map(|choice| self.kind(choice)).collect::<Vec<_>>().join(" or ");
        }
        if of["oneOf"].is_array() {
            return "choice".into();
        }
        let kind = of["type"].as_str().or_else(|| of["type"][0].as_str()).unwrap_or_default();
        match kind {
            "object" => "map".into(),
            "boolean" => "true or false".into(),
            "string" => "text".into(),
            "array" => match (of["minItems"].as_u64(), self.kind(&of["items"]).as_str()) {
                (Some(count), kind) => format!("[{}]", vec![kind; count as usize].join(", ")),
                (None, kind) => format!("list of {}s", kind.trim_end_matches('s')),
            },
            _ => {
                let name = if kind == "integer" { "whole number" } else { "number" };
                // Whole numbers have no sign.
                let low = of["minimum"].as_f64().filter(|&low| low > 0.0 || kind == "number");
                let bounds = [
                    (low, "≥"),
                    (of["exclusiveMinimum"].as_f64(), ">"),
                    (of["maximum"].as_f64(), "≤"),
                    (of["exclusiveMaximum"].as_f64(), "<"),
                ];
                let bounds =
                    bounds.map(|(bound, sign)| bound.map(|bound| format!("{sign} {bound}")));
                let bounds: Vec<String> = bounds.into_iter().flatten().collect();
                format!("{name} {}", bounds.join(", ")).trim_end().to_owned()
            }
        }
    }
}

/// The names of which a value is one, with their meanings, if it is a name.
fn names(schema: &Value) -> Option<Vec<(&str, String)>> {
    if let Some(all) = schema["enum"].as_array() {
        return all.iter().map(|name| Some((name.as_str()?, String::new()))).collect();
    }
    let variants = schema["oneOf"].as_array()?;
    variants.iter().map(|of| Some((of["const"].as_str()?, cell(of)))).collect()
}

/// The name of a variant, and the schema of its keys.
fn variant_of(variant: &Value) -> (&str, Option<&Value>) {
    match variant["properties"].as_object().and_then(|keys| keys.iter().next()) {
        Some((name, content)) => (name, Some(content)),
        None => (variant["const"].as_str().unwrap_or_default(), None),
    }
}

/// What a value is called whose type no word of JSON describes.
fn title(schema: &Value) -> Option<&str> {
    schema["title"].as_str()
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// The first paragraph of a description as a cell of a table.
fn cell(schema: &Value) -> String {
    let first = description(schema).split("\n\n").next().unwrap_or_default();
    first.replace('\n', " ").trim_end_matches('.').to_owned()
}

fn default_of(value: &Value) -> String {
    match value {
        Value::Object(_) => "all defaults".into(),
        Value::String(name) => format!("`{name}`"),
        // 1 rather than 1.0.
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 => format!("{float}"),
            _ => number.to_string(),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(default_of).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Text in lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("a line");
        match (line.is_empty(), line.chars().count() + word.chars().count() < 120) {
            (true, _) => *line += word,
            (false, true) => *line += &format!(" {word}"),
            (false, false) => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
