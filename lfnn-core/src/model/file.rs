//! The file of a model: safetensors with a description and a checksum.
//!
//! The file's metadata has one key, [`KEY`], whose value is JSON with sorted keys: a map of several keys would be written
//! in a random order, and equal models would not be equal bytes. It holds the layout's number, the
//! [`ModelDescription`], whatever else the program that writes it wants to keep, and a checksum of everything else in
//! the file, so that a file that a disk or a copy has changed is refused.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::tensors::{Tensors, parts, write};
use super::{Model, ModelDescription, ModelError};
use crate::train::State;

/// The layout of the metadata; a file with another number is refused.
pub const FORMAT: u32 = 3;
/// The key of the metadata.
pub const KEY: &str = "lfnn";
/// The entries of the metadata's JSON.
const MODEL: &str = "model";
const NUMBER: &str = "format";
const CHECKSUM: &str = "checksum";

/// A model as the bytes of its file. `sections` are what another program keeps beside it, by name.
///
/// # Errors
/// A tensor whose shape does not fit its data, or a network that no file can hold.
pub fn encode(
    description: &ModelDescription,
    state: &State,
    mut sections: Map<String, Value>,
) -> Result<Vec<u8>, ModelError> {
    sections.insert(NUMBER.into(), json!(FORMAT));
    let description = serde_json::to_value(description).map_err(ModelError::Unwritable)?;
    sections.insert(MODEL.into(), description);
    sign(Value::Object(sections), state)
}

/// The file of any metadata and these tensors, with the checksum that belongs to it.
///
/// # Errors
/// A tensor whose shape does not fit its data.
pub fn sign(mut metadata: Value, state: &State) -> Result<Vec<u8>, ModelError> {
    let parts = parts(&state.tensors);
    metadata[CHECKSUM] = Value::Null;
    metadata.sort_all_objects();
    let text = metadata.to_string();
    metadata[CHECKSUM] = checksum(&text, &parts).into();
    write(&parts, Some((KEY, metadata.to_string())))
}

/// A model and the sections that were kept beside it, from the bytes of a file.
///
/// # Errors
/// Bytes that are no model, or one that was changed or holds a number that is not finite.
pub fn decode(bytes: &[u8]) -> Result<(Model, Map<String, Value>), ModelError> {
    let tensors = Tensors::read(bytes)?;
    let json = tensors.metadata(KEY).ok_or(ModelError::NoMetadata)?;
    let mut sections: Map<String, Value> = serde_json::from_str(json)?;
    match sections.remove(NUMBER) {
        Some(format) if format == FORMAT => {}
        Some(format) => return Err(ModelError::Format(format)),
        None => return Err(ModelError::NoFormat),
    }
    let written = sections.remove(CHECKSUM).ok_or(ModelError::Checksum)?;
    let entry = |value: &Value| format!("\"{CHECKSUM}\":{value}");
    let text = json.replacen(&entry(&written), &entry(&Value::Null), 1);
    if written != checksum(&text, &tensors.parts().collect::<Vec<_>>()) {
        return Err(ModelError::Checksum);
    }
    let description: ModelDescription =
        serde_json::from_value(sections.remove(MODEL).unwrap_or_default())?;
    description.validate()?;
    let state = State { tensors: tensors.all()? };
    if let Some(tensor) = state.not_finite() {
        return Err(ModelError::NotFinite(tensor.name.clone()));
    }
    Ok((Model { description, state }, sections))
}

/// SHA-256 of the metadata's text, in which its own entry is null, and of the tensors in the order of their names.
fn checksum(text: &str, parts: &[super::tensors::Part<'_>]) -> String {
    let mut sha256 = Sha256::new();
    // Every part begins with its length, so that no two contents are the same bytes.
    let mut add = |bytes: &[u8]| {
        sha256.update((bytes.len() as u64).to_le_bytes());
        sha256.update(bytes);
    };
    add(text.as_bytes());
    for part in parts {
        add(part.name.as_bytes());
        add(format!("{:?} {:?}", part.dtype, part.shape).as_bytes());
        add(&part.bytes);
    }
    sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
