//! Writes a graph node by node.

use super::proto::Message;

/// `TensorProto.DataType.FLOAT` and `INT64`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// A graph being written: parts of a `GraphProto`. Values are known by their names.
#[derive(Debug, Default)]
pub(super) struct GraphWriter {
    nodes: Message,
    node_count: usize,
    constants: Message,
    constant_names: Vec<String>,
    inputs: Message,
    outputs: Message,
}

impl GraphWriter {
    /// Appends a node with one output of this name.
    pub(super) fn node(
        &mut self,
        operation: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<Message>,
    ) {
        self.node_count += 1;
        let node = inputs.iter().fold(Message::default(), |node, input| node.bytes(1, input));
        let name = format!("node{}.{operation}", self.node_count);
        let node = node.bytes(2, output).bytes(3, name).bytes(4, operation);
        self.nodes.push(1, attributes.into_iter().fold(node, |node, one| node.bytes(5, one)));
    }

    /// Appends a node whose output gets a new name, which comes back.
    pub(super) fn value(
        &mut self,
        operation: &str,
        inputs: &[&str],
        attributes: Vec<Message>,
    ) -> String {
        let output = format!("value{}", self.node_count + 1);
        self.node(operation, inputs, &output, attributes);
        output
    }

    /// A constant of real numbers. One that is used again is the same.
    pub(super) fn reals(&mut self, name: &str, dims: &[usize], data: &[f32]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name.to_owned(), dims, FLOAT, bytes)
    }

    /// A vector of whole numbers, such as a shape.
    pub(super) fn integers(&mut self, data: &[i64]) -> String {
        let name = format!("constant{}", self.constant_names.len() + 1);
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, &[data.len()], INT64, bytes)
    }

    fn constant(&mut self, name: String, dims: &[usize], dtype: i64, bytes: Vec<u8>) -> String {
        if !self.constant_names.contains(&name) {
            let tensor = dims.iter().fold(Message::default(), |it, &n| it.integer(1, n as i64));
            self.constants.push(5, tensor.integer(2, dtype).bytes(8, &name).bytes(9, bytes));
            self.constant_names.push(name.clone());
        }
        name
    }

    /// Declares an input of the graph: real numbers, any number of rows of this shape.
    pub(super) fn input(&mut self, name: &str, shape: &[usize], doc: &str) {
        self.inputs.push(11, rows(name, shape, doc));
    }

    /// Declares an output of the graph: real numbers, any number of rows of this shape.
    pub(super) fn output(&mut self, name: &str, shape: &[usize], doc: &str) {
        self.outputs.push(12, rows(name, shape, doc));
    }

    /// The graph.
    pub(super) fn finish(self, name: &str) -> Message {
        let mut graph = self.nodes.bytes(2, name);
        for part in [self.constants, self.inputs, self.outputs] {
            graph.0.extend(part.0);
        }
        graph
    }
}

// The last field of an `AttributeProto` is its `AttributeType`.

/// An attribute with a whole number.
pub(super) fn integer(name: &str, value: i64) -> Message {
    Message::default().bytes(1, name).integer(3, value).integer(20, 2)
}

/// An attribute with whole numbers.
pub(super) fn integers(name: &str, values: &[usize]) -> Message {
    let attribute = Message::default().bytes(1, name);
    values.iter().fold(attribute, |it, &value| it.integer(8, value as i64)).integer(20, 7)
}

/// An attribute with a real number.
pub(super) fn real(name: &str, value: f64) -> Message {
    Message::default().bytes(1, name).real(2, value as f32).integer(20, 1)
}

/// A `ValueInfoProto`. An extent of its shape is a number (field 1) or, where it varies, a name (field 2).
fn rows(name: &str, shape: &[usize], doc: &str) -> Message {
    let batch = Message::default().bytes(1, Message::default().bytes(2, "batch"));
    let shape = shape
        .iter()
        .fold(batch, |it, &extent| it.bytes(1, Message::default().integer(1, extent as i64)));
    let tensor = Message::default().integer(1, FLOAT).bytes(2, shape);
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, tensor)).bytes(3, doc)
}
