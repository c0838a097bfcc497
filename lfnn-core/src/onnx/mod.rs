//! A trained network as an ONNX model, for ONNX Runtime and others: [`Model::to_onnx`].
//!
//! The program of the prediction is translated, operation by operation, so that nothing here knows layers, units or
//! methods. A program's images are channels-last, ONNX's channels-first: every tensor of four axes is written
//! channels-first throughout, its weights as a saved state has them, and no node moves axes. The channels are axis 1
//! then, as the features of a vector are.

mod graph;
mod proto;
mod translate;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::config::ConfigError;
use crate::model::{Model, ModelTarget};
use crate::train::PredictionProgram;

use proto::Message;

/// The version of the operators: the first with all that is written here, read by every runtime of
/// recent years.
const OPERATORS: i64 = 17;
/// The version of the file's layout that belongs to it.
const LAYOUT: i64 = 8;
/// Readers of protocol buffers take no larger message.
const LARGEST: usize = i32::MAX as usize;

/// What an ONNX model has beside the network's predictions.
#[derive(Clone, Debug, Default)]
pub struct OnnxOptions<'a> {
    /// Whether there is one more output for each hidden unit, with what its workers predict: `unit1`, `unit2`, …
    pub workers: bool,
    /// Where the pixel of each position of an image comes from, if the network was trained on permuted pixels.
    pub permutation: Option<&'a [u32]>,
    /// More metadata; each value is written as JSON.
    pub metadata: Map<String, Value>,
}

/// A network that cannot be written as an ONNX model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A network that cannot be.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// A saved state that belongs to another network.
    #[error("the saved state does not fit: {0}")]
    State(String),
    /// An operation without a translation.
    #[error("operation {operation}: {problem}")]
    Operation {
        /// The operation.
        operation: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Workers of a method that does not train them.
    #[error("`{method}` trains no workers that could predict")]
    NoWorkers {
        /// The method.
        method: String,
    },
    /// A permutation of other pixels than those of the network's images.
    #[error("a permutation of {found} pixels, expected each of {expected} positions once")]
    Permutation {
        /// Its length.
        found: usize,
        /// Height times width of an image.
        expected: usize,
    },
    /// A model larger than a file of this format can be.
    #[error("the model has 2 GiB or more, which ONNX cannot hold in one file")]
    TooLarge,
}

impl Model {
    /// The bytes of an ONNX model with the network's predictions and the normalisation of its inputs, without losses
    /// and what only training needs. Equal models are equal bytes.
    ///
    /// | | name | shape | |
    /// |---|---|---|---|
    /// | input | `images` | `[batch, channels, height, width]` | of bytes, numbers from 0 to 1; others in their units |
    /// | | `features` | `[batch, features]` | in its place, of features |
    /// | output | `probabilities` | `[batch, classes]` | |
    /// | | `logits` | `[batch, classes]` | before softmax or sigmoid; one of a binary network |
    /// | | `values` | `[batch, values]` | in place of both in a regression, in the units of the data |
    /// | | `unitN` | `[batch, workers, classes or values]` | with [`OnnxOptions::workers`] |
    ///
    /// The metadata's key `classes` or `values` holds their names, as JSON.
    ///
    /// ```no_run
    /// use lfnn_core::model::Model;
    /// use lfnn_core::onnx::OnnxOptions;
    ///
    /// # fn export() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = Model::read(std::fs::File::open("cancer.safetensors")?)?;
    /// let options = OnnxOptions { workers: true, ..OnnxOptions::default() };
    /// std::fs::write("cancer.onnx", model.to_onnx(&options)?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A state that does not fit the network, an operation without a translation, workers that were not trained, or a
    /// permutation that is none.
    pub fn to_onnx(&self, options: &OnnxOptions<'_>) -> Result<Vec<u8>, OnnxError> {
        let Self { description, state } = self;
        if options.workers && !description.workers_predict() {
            return Err(OnnxError::NoWorkers { method: description.method.clone() });
        }
        let [height, width, _] = description.input;
        options.permutation.map_or(Ok(()), |order| check(order, height * width))?;
        let layout = description.layout(1);
        let predictor = PredictionProgram::new(&description.network, layout, options.workers)?;
        let parameters = predictor.parameters(state).map_err(OnnxError::State)?;
        let graph = translate::graph(&predictor, &parameters, options.permutation, description)?;
        // A `ModelProto`; the operators are those of the standard domain, which has no name.
        let operators = Message::default().bytes(1, "").integer(2, OPERATORS);
        let file = Message::default()
            .integer(1, LAYOUT)
            .bytes(2, "lfnn")
            .bytes(3, env!("CARGO_PKG_VERSION"))
            .bytes(7, graph)
            .bytes(8, operators);
        let key = match &description.target {
            ModelTarget::Classes { .. } => "classes",
            ModelTarget::Values { .. } => "values",
        };
        let names = json!(description.names());
        let metadata = options.metadata.iter().map(|(key, value)| (key.as_str(), value));
        let metadata: BTreeMap<&str, &Value> = metadata.chain([(key, &names)]).collect();
        let file = metadata.into_iter().fold(file, |file, (key, value)| {
            file.bytes(14, Message::default().bytes(1, key).bytes(2, value.to_string()))
        });
        if file.0.len() > LARGEST { Err(OnnxError::TooLarge) } else { Ok(file.0) }
    }
}

/// That each position is there once.
fn check(order: &[u32], expected: usize) -> Result<(), OnnxError> {
    let mut is_there = vec![false; expected];
    for &from in order {
        if let Some(position) = is_there.get_mut(from as usize) {
            *position = true;
        }
    }
    match order.len() == expected && is_there.into_iter().all(|position| position) {
        true => Ok(()),
        false => Err(OnnxError::Permutation { found: order.len(), expected }),
    }
}
