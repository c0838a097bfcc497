//! The training method as a name, which is checked when it is read.

use std::sync::LazyLock;

use lfnn_core::method;
use serde::de::{Deserialize, Deserializer, Error};

/// Names of all methods.
fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| method::names().to_vec());
    &NAMES
}

pub(super) fn default_method() -> String {
    "lfnn-l".into()
}

pub(super) fn known_method<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    match method::by_name(&name) {
        Some(_) => Ok(name),
        None => Err(D::Error::unknown_variant(&name, names())),
    }
}

#[cfg(test)]
pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let one = |method: &&method::Method| serde_json::json!({"const": method.name, "description": method.summary});
    let all: Vec<serde_json::Value> = method::METHODS.iter().map(one).collect();
    schemars::json_schema!({ "oneOf": all })
}
