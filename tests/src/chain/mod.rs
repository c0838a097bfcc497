//! Random chains of layers with their three rules, as operations of one program.
//!
//! This is a second, independent way to write networks: the layers of `lfnn-core` have no part in it.

mod layers;
mod maps;

use lfnn_core::program::{DType, Op, TensorId};

use crate::derivative::Variable;
use crate::harness::Case;

/// A value, its gradient and its tangent: three tensors of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// The value.
    pub value: TensorId,
    /// Its gradient.
    pub gradient: TensorId,
    /// Its tangent.
    pub tangent: TensorId,
}

/// What a chain may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinks {
    /// Every layer.
    Allowed,
    /// Only layers with a continuous derivative, for finite differences.
    None,
}

/// Layers one after another.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The operations of the forward pass.
    pub forward: Vec<Op>,
    /// The operations of the forward-mode pass.
    pub tangent: Vec<Op>,
    /// Weights, biases, scales and shifts.
    pub parameters: Vec<Variable>,
    /// The last layer's result.
    pub output: Signal,
    /// Backward operations of each layer, the first layer's first.
    backward: Vec<Vec<Op>>,
    counter: TensorId,
    kinks: Kinks,
}

impl Chain {
    /// An empty chain: its output is its input.
    pub fn new(input: Signal, counter: TensorId, kinks: Kinks) -> Self {
        Self {
            forward: Vec::new(),
            tangent: Vec::new(),
            parameters: Vec::new(),
            output: input,
            backward: Vec::new(),
            counter,
            kinks,
        }
    }

    /// The operations of the backward pass, the last layer's first.
    pub fn backward(&self) -> Vec<Op> {
        self.backward.iter().rev().flatten().cloned().collect()
    }

    /// Appends a layer that fits, drawn at random.
    pub fn extend(&mut self, case: &mut Case) {
        let image = case.shape(self.output.value).len() == 4;
        match (case.source.below(10), image, self.kinks) {
            (0 | 1, true, _) => self.convolution(case),
            (0 | 1, false, _) => self.linear(case),
            (2, true, Kinks::Allowed) => self.max_pool(case),
            (3, true, _) => self.average_pool(case),
            (4, true, _) => self.adaptive_pool(case),
            (5, true, _) => self.flatten(case),
            (2..=5, false, _) => self.softmax(case),
            (6, _, _) => self.batch_norm(case),
            (7, _, _) => self.dropout(case),
            (8, _, _) => self.residual(case),
            (9, _, _) => self.halves(case),
            _ => self.activation(case),
        }
    }

    /// Appends a linear map of the flattened output to `y`.
    pub fn read_out(&mut self, case: &mut Case, y: Signal) {
        if case.shape(self.output.value).len() == 4 {
            self.flatten(case);
        }
        self.linear_to(case, y, 1);
    }

    /// A layer: its operations forward, in forward mode and backward.
    fn push<const F: usize, const T: usize, const B: usize>(
        &mut self,
        output: Signal,
        forward: [Op; F],
        tangent: [Op; T],
        backward: [Op; B],
    ) {
        self.forward.extend(forward);
        self.tangent.extend(tangent);
        self.backward.push(backward.to_vec());
        self.output = output;
    }

    fn parameter(&mut self, case: &mut Case, shape: &[usize], low: f64, high: f64) -> Variable {
        let number = self.parameters.len();
        let variable = Variable {
            value: case.input_between(&format!("parameter {number}"), shape, low, high),
            gradient: case.output(&format!("gradient {number}"), shape),
            tangent: Some(case.input(&format!("tangent {number}"), shape)),
        };
        self.parameters.push(variable);
        variable
    }
}

/// A temporary signal.
pub fn signal(case: &mut Case, shape: &[usize]) -> Signal {
    Signal {
        value: temporary(case, shape),
        gradient: temporary(case, shape),
        tangent: temporary(case, shape),
    }
}

fn temporary(case: &mut Case, shape: &[usize]) -> TensorId {
    case.temporary("temporary", DType::Real, shape)
}

/// A persistent signal, the value and the tangent filled: the input of a chain.
pub fn input(case: &mut Case, shape: &[usize]) -> Signal {
    Signal {
        value: case.input("x", shape),
        gradient: case.output("dx", shape),
        tangent: case.input("x tangent", shape),
    }
}
