//! Writes a graph node by node.

use super::proto::{
    Attribute, Dimension, Extent, FLOAT, Graph, INT64, Node, Shape, Tensor, TensorType, Type,
    ValueInfo,
};

/// A graph being written. Values are known by their names.
#[derive(Debug, Default)]
pub(super) struct GraphWriter {
    graph: Graph,
}

impl GraphWriter {
    /// Appends a node with one output of this name.
    pub(super) fn node(
        &mut self,
        operation: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<Attribute>,
    ) {
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(format!("node{}.{operation}", self.graph.node.len() + 1)),
            op_type: Some(operation.to_owned()),
            attribute: attributes,
        });
    }

    /// Appends a node whose output gets a new name, which comes back.
    pub(super) fn value(
        &mut self,
        operation: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        let output = format!("value{}", self.graph.node.len() + 1);
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
        let name = format!("constant{}", self.graph.initializer.len() + 1);
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, &[data.len()], INT64, bytes)
    }

    fn constant(&mut self, name: String, dims: &[usize], dtype: i32, bytes: Vec<u8>) -> String {
        if !self.graph.initializer.iter().any(|known| known.name.as_ref() == Some(&name)) {
            self.graph.initializer.push(Tensor {
                dims: dims.iter().map(|&extent| extent as i64).collect(),
                data_type: Some(dtype),
                name: Some(name.clone()),
                raw_data: Some(bytes),
            });
        }
        name
    }

    /// Declares an input of the graph: real numbers, any number of rows of this shape.
    pub(super) fn input(&mut self, name: &str, shape: &[usize], doc: &str) {
        self.graph.input.push(rows(name, shape, doc));
    }

    /// Declares an output of the graph: real numbers, any number of rows of this shape.
    pub(super) fn output(&mut self, name: &str, shape: &[usize], doc: &str) {
        self.graph.output.push(rows(name, shape, doc));
    }

    /// The graph.
    pub(super) fn finish(mut self, name: &str) -> Graph {
        self.graph.name = Some(name.to_owned());
        self.graph
    }
}

/// An attribute with a whole number.
pub(super) fn integer(name: &str, value: i64) -> Attribute {
    Attribute { name: Some(name.to_owned()), i: Some(value), kind: Some(2), ..Attribute::default() }
}

/// An attribute with whole numbers.
pub(super) fn integers(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|&value| value as i64).collect();
    Attribute { name: Some(name.to_owned()), ints, kind: Some(7), ..Attribute::default() }
}

/// An attribute with a real number.
pub(super) fn real(name: &str, value: f64) -> Attribute {
    let f = Some(value as f32);
    Attribute { name: Some(name.to_owned()), f, kind: Some(1), ..Attribute::default() }
}

fn rows(name: &str, shape: &[usize], doc: &str) -> ValueInfo {
    let axes = shape.iter().map(|&extent| Extent::Value(extent as i64));
    let dim = std::iter::once(Extent::Name("batch".into()))
        .chain(axes)
        .map(|extent| Dimension { extent: Some(extent) })
        .collect();
    let tensor = TensorType { elem_type: Some(FLOAT), shape: Some(Shape { dim }) };
    ValueInfo {
        name: Some(name.to_owned()),
        kind: Some(Type { tensor: Some(tensor) }),
        doc_string: Some(doc.to_owned()),
    }
}
