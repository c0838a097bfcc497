//! A predictor as an ONNX model.
//!
//! What is translated is the predictor's program, operation by operation, so that nothing here knows
//! layers, units or methods. A program's images are channels-last, ONNX's channels-first: every tensor
//! of four axes is written channels-first throughout, its weights as a saved state has them, and no
//! node moves axes. The channels are axis 1 then, as the features of a vector are.

mod graph;
mod proto;
mod translate;

use anyhow::bail;
use lfnn_core::train::{Predictor, State};
use prost::Message;
use serde_json::{Map, Value};

use proto::{Entry, Model, OperatorSet};

/// The version of the operators: the first with all that is written here, read by every runtime of
/// recent years.
const OPERATORS: i64 = 17;
/// The version of the file's layout that belongs to it.
const LAYOUT: i64 = 8;
/// Readers of protocol buffers take no larger message.
const LARGEST: usize = i32::MAX as usize;

/// The bytes of a model with input `images` and outputs `logits` and `probabilities`.
///
/// `permutation` says where the pixel of each position comes from, if pixels are permuted; `classes` is
/// their number. `metadata` becomes the model's, each value as JSON.
///
/// # Errors
/// A state that is not the predictor's, or an operation without a translation.
pub(crate) fn encode(
    predictor: &Predictor,
    state: &State,
    permutation: Option<&[u32]>,
    classes: usize,
    metadata: &Map<String, Value>,
) -> anyhow::Result<Vec<u8>> {
    let graph = translate::graph(predictor, state, permutation, classes)?;
    let entry = |(key, value): (&String, &Value)| Entry {
        key: Some(key.clone()),
        value: Some(value.to_string()),
    };
    let model = Model {
        ir_version: Some(LAYOUT),
        producer_name: Some("lfnn-cli".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(OPERATORS) }],
        metadata_props: metadata.iter().map(entry).collect(),
    };
    if model.encoded_len() > LARGEST {
        bail!("the model has 2 GiB or more, which ONNX cannot hold in one file");
    }
    Ok(model.encode_to_vec())
}
