//! The only module that knows YAML: text to [`Node`]s, and values to text, both by `serde-saphyr`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{
    DuplicateKeyPolicy, MergeKeyPolicy, MessageFormatter, NonFiniteFloatPolicy, Options, Spanned,
    UserMessageFormatter,
};

use super::diagnostic::ConfigDiagnostic;
use super::node::{Entry, Location, Node, Source, Value};

/// How deep maps and lists may be nested: no configuration comes near, and no stack overflows.
pub(super) const MAX_DEPTH: usize = 64;
/// How many values a file may hold, counting those that aliases repeat.
const MAX_NODES: usize = 100_000;
/// How large a file may be, and how long all of its texts together, counting those that aliases repeat.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Reads one YAML (or JSON) document; an empty one is null.
///
/// # Errors
/// Text that is not YAML or too long, a key that is twice in a map, or more than one document.
pub(crate) fn parse(
    text: &str,
    source: &Arc<Source>,
    layer: usize,
) -> Result<Node, ConfigDiagnostic> {
    let place = |at: serde_saphyr::Location| Location {
        source: Arc::clone(source),
        line: at.line(),
        column: at.column(),
        layer,
    };
    let parsed: Spanned<Parsed> =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
            let at = error.location().unwrap_or(serde_saphyr::Location::UNKNOWN);
            ConfigDiagnostic::at(&place(at), describe(&error))
        })?;
    node(parsed, &place)
}

/// Whether a text would be a number or a truth value without quotes.
pub(super) fn needs_quotes(text: &str) -> bool {
    let value = serde_saphyr::from_str_with_options(text, options());
    matches!(value, Ok(Parsed::Scalar(value)) if !matches!(value, Value::Null | Value::Text(_)))
}

/// Writes a value as YAML.
///
/// # Errors
/// A value that YAML cannot hold.
pub(crate) fn write(value: &impl Serialize) -> anyhow::Result<String> {
    // By way of JSON, because serde-saphyr 2.2 breaks the indentation of an empty list in a variant's field.
    Ok(serde_saphyr::to_string(&serde_json::to_value(value)?)?)
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_BYTES,
            max_documents: 1,
        },
        // `node` finds duplicates, and names both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        // Text is better than a number other than the one that was meant.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        null_as_string: true,
        with_snippet: false,
    }
}

/// What is wrong, without the place.
fn describe(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::AliasError { error, .. } => describe(error),
        serde_saphyr::Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => format!("nested deeper than {MAX_DEPTH} levels"),
            BudgetBreach::Nodes { .. } => format!("more than {MAX_NODES} values"),
            BudgetBreach::ScalarBytes { .. } => format!("more than {MAX_BYTES} bytes of text"),
            BudgetBreach::Documents { .. } => "a second document; expected one".to_owned(),
            _ => "too many values".to_owned(),
        },
        serde_saphyr::Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias to a value that contains it".to_owned()
        }
        other => format!("not YAML: {}", UserMessageFormatter.format_message(other)),
    }
}

/// A value as the library reads it. Its map keeps keys that are there twice.
enum Parsed {
    Scalar(Value),
    Sequence(Vec<Spanned<Parsed>>),
    Map(Vec<(Spanned<String>, Spanned<Parsed>)>),
}

/// Gives every value its place, and refuses a key that is twice in a map.
fn node(
    parsed: Spanned<Parsed>,
    place: &impl Fn(serde_saphyr::Location) -> Location,
) -> Result<Node, ConfigDiagnostic> {
    let value = match parsed.value {
        Parsed::Scalar(value) => value,
        Parsed::Sequence(items) => Value::Sequence(
            items.into_iter().map(|item| node(item, place)).collect::<Result<_, _>>()?,
        ),
        Parsed::Map(pairs) => {
            let mut first = HashMap::new();
            let mut entries = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let (at, key) = (place(key.referenced), key.value);
                if let Some(earlier) = first.insert(key.clone(), at.clone()) {
                    let message = format!(
                        "duplicate key `{key}`; it is already at line {}, column {}",
                        earlier.line, earlier.column
                    );
                    return Err(ConfigDiagnostic::at(&at, message));
                }
                entries.push(Entry { key, place: at, value: node(value, place)? });
            }
            Value::Map(entries)
        }
    };
    Ok(Node { value, place: place(parsed.referenced) })
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Signed(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Parsed::Sequence(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Parsed::Map(all))
    }
}
