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
use lfnn_core::model::ModelDescription;
use lfnn_core::program::TensorId;
use lfnn_core::train::{PredictionProgram, StateTensor};
use serde_json::{Map, Value};

use proto::Message;

/// The version of the operators: the first with all that is written here, read by every runtime of
/// recent years.
const OPERATORS: i64 = 17;
/// The version of the file's layout that belongs to it.
const LAYOUT: i64 = 8;
/// Readers of protocol buffers take no larger message.
const LARGEST: usize = i32::MAX as usize;

/// The bytes of a model: with input `images`, or `features` of a table, and outputs `logits` and `probabilities`, or
/// `values` in the units of the training data.
///
/// `parameters` are the tensors that the predictor reads; `permutation` says where the pixel of each position comes
/// from, if pixels are permuted; `model` says what goes in and comes out. `metadata` becomes the model's, each value
/// as JSON.
///
/// # Errors
/// Parameters that are not the predictor's, or an operation without a translation.
pub(crate) fn encode(
    predictor: &PredictionProgram,
    parameters: &[(TensorId, &StateTensor)],
    permutation: Option<&[u32]>,
    model: &ModelDescription,
    metadata: &Map<String, Value>,
) -> anyhow::Result<Vec<u8>> {
    let graph = translate::graph(predictor, parameters, permutation, model)?;
    // A `ModelProto`; the operators are those of the standard domain, which has no name.
    let operators = Message::default().bytes(1, "").integer(2, OPERATORS);
    let file = Message::default()
        .integer(1, LAYOUT)
        .bytes(2, "lfnn-cli")
        .bytes(3, env!("CARGO_PKG_VERSION"))
        .bytes(7, graph)
        .bytes(8, operators);
    let file = metadata.iter().fold(file, |file, (key, value)| {
        file.bytes(14, Message::default().bytes(1, key).bytes(2, value.to_string()))
    });
    if file.0.len() > LARGEST {
        bail!("the model has 2 GiB or more, which ONNX cannot hold in one file");
    }
    Ok(file.0)
}
