//! What a layer, a unit or a method writes a step with: a program being built, and the few facts that
//! all of it shares.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::metric::{Metric, MetricSum};
use crate::program::{
    Add, Concat, DType, Gaussian, Op, Part, ProgramBuilder, ProgramError, ProgramId, ProgramSet,
    TensorId,
};
use crate::random::{Purpose, Stream};

/// Whether a step trains or predicts: dropout and batch normalisation differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, dropout, and records for the backward rules.
    Train,
    /// Running statistics, no dropout.
    Evaluate,
}

/// Writes one step.
#[derive(Debug)]
pub struct StepBuilder<'m> {
    program: ProgramBuilder<'m>,
    mode: Mode,
    batch: usize,
    clock: TensorId,
    traced: bool,
    gradients: Vec<(TensorId, TensorId)>,
    /// The random directions drawn so far.
    directions: Vec<TensorId>,
    /// Pairs of a weight and the matrix in its place on the way back, by the weight; none where that is the weight.
    feedback: Option<BTreeMap<TensorId, TensorId>>,
    metrics: Vec<MetricSum>,
}

impl<'m> StepBuilder<'m> {
    /// Starts a step for batches of `batch` rows. With `traced`, what the host may want to see is
    /// persistent: the gradients of parameters, named `gradients/{parameter}`, the directions of
    /// forward gradients, `directions/…`, and the [`debug_tensor`](Self::debug_tensor) tensors.
    pub fn new(
        set: &'m mut ProgramSet,
        name: &str,
        mode: Mode,
        batch: usize,
        clock: TensorId,
        traced: bool,
    ) -> Self {
        Self {
            program: set.build(name),
            mode,
            batch,
            clock,
            traced,
            gradients: Vec::new(),
            directions: Vec::new(),
            feedback: None,
            metrics: Vec::new(),
        }
    }

    /// Whether this step trains or predicts.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Rows of a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The clock of this step.
    pub fn clock(&self) -> TensorId {
        self.clock
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> &[usize] {
        self.program.shape(id)
    }

    /// The name of a tensor.
    pub fn name_of(&self, id: TensorId) -> &str {
        self.program.name_of(id)
    }

    /// Says to which part of the network the operations that follow belong.
    pub fn part(&mut self, part: Part) {
        self.program.part(part);
    }

    /// Appends an operation.
    pub fn push(&mut self, op: impl Into<Op>) {
        self.program.push(op);
    }

    /// A new real temporary of this shape, the batch included.
    pub fn real(&mut self, name: impl Into<String>, shape: &[usize]) -> TensorId {
        self.program.real(name, shape)
    }

    /// A new temporary of any type.
    pub fn temporary(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: &[usize],
    ) -> TensorId {
        self.program.temporary(name, dtype, shape)
    }

    /// A new tensor that outlives the step.
    pub fn persistent(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: &[usize],
    ) -> TensorId {
        self.program.persistent(name, dtype, shape)
    }

    /// A new real temporary with the batch before this shape.
    pub fn activation(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let mut whole = vec![self.batch];
        whole.extend(shape);
        self.real(name, &whole)
    }

    /// A new real temporary with the shape of another tensor.
    pub fn like(&mut self, name: &str, other: TensorId) -> TensorId {
        let shape = self.program.shape_of(other);
        self.real(name, &shape)
    }

    /// A new real temporary of `len` elements.
    pub fn vector(&mut self, name: &str, len: usize) -> TensorId {
        self.real(name, &[len])
    }

    /// A tensor of zeros with the shape of another: persistent, and never written.
    pub fn zeros_like(&mut self, other: TensorId) -> TensorId {
        let shape = self.program.shape_of(other);
        self.persistent("zeros", DType::Real, &shape)
    }

    /// A new tensor that the host can read when the step is there to be inspected, and a temporary
    /// otherwise.
    pub fn debug_tensor(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: &[usize],
    ) -> TensorId {
        if self.traced {
            self.persistent(name, dtype, shape)
        } else {
            self.temporary(name, dtype, shape)
        }
    }

    /// Copies a tensor to one that the host can read, when the step is there to be inspected.
    pub fn observe(&mut self, name: impl Into<String>, x: TensorId) {
        if self.traced {
            let shape = self.program.shape_of(x);
            let y = self.persistent(name, DType::Real, &shape);
            self.copy(x, y);
        }
    }

    /// Copies a tensor to another of its shape.
    pub fn copy(&mut self, x: TensorId, y: TensorId) {
        self.push(Concat { inputs: vec![x], y });
    }

    /// The tensor for the gradient of a parameter. Each parameter has one gradient in a step.
    pub fn gradient(&mut self, parameter: TensorId) -> TensorId {
        let name = format!("gradients/{}", self.program.name_of(parameter));
        let shape = self.program.shape_of(parameter);
        let gradient = self.debug_tensor(name, DType::Real, &shape);
        self.gradients.push((parameter, gradient));
        gradient
    }

    /// A new random direction: a tensor of the shape of `like`, of independent N(0, 1), and the stream
    /// from which it can be drawn again. Streams are numbered in the order in which they are asked
    /// for.
    pub fn direction(&mut self, name: &str, like: TensorId) -> (TensorId, Stream) {
        let shape = self.program.shape_of(like);
        let y = self.debug_tensor(format!("directions/{name}"), DType::Real, &shape);
        let stream = Stream::new(Purpose::Perturbation, self.directions.len() as u32);
        self.directions.push(y);
        self.push(Gaussian { clock: self.clock, factor: None, y, stream });
        (y, stream)
    }

    /// The random directions drawn so far, in order.
    pub fn directions(&self) -> &[TensorId] {
        &self.directions
    }

    /// From here on a fixed matrix of its own stands for each weight on the way back.
    pub fn use_feedback(&mut self) {
        self.feedback.get_or_insert_default();
    }

    /// The matrix that carries a gradient back through a weight: the weight itself, or with
    /// [`use_feedback`](Self::use_feedback) a persistent tensor `feedback/{weight}` of its shape.
    pub fn backward_weight(&mut self, weight: TensorId) -> TensorId {
        let Some(feedback) = &mut self.feedback else { return weight };
        if let Some(&matrix) = feedback.get(&weight) {
            return matrix;
        }
        let name = format!("feedback/{}", self.program.name_of(weight));
        let shape = self.program.shape_of(weight);
        let matrix = self.program.persistent(name, DType::Real, &shape);
        feedback.insert(weight, matrix);
        matrix
    }

    /// Pairs of a weight and the matrix in its place on the way back, as far as there are any.
    pub fn feedback(&self) -> Vec<(TensorId, TensorId)> {
        self.feedback.iter().flatten().map(|(&weight, &matrix)| (weight, matrix)).collect()
    }

    /// Declares that a persistent tensor holds the sum of a metric. `unit` is the hidden unit, from 1, or 0 for a
    /// metric of the network; `elements` are those of the tensor that belong to it.
    pub fn metric(&mut self, metric: Metric, unit: usize, sum: TensorId, elements: Range<usize>) {
        let len = self.program.shape(sum).iter().product();
        self.metrics.push(MetricSum { metric, unit, sum, len, elements });
    }

    /// The metrics declared so far, in order.
    pub fn metrics(&self) -> &[MetricSum] {
        &self.metrics
    }

    /// A new tensor: the sum of two.
    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let y = self.like("sum", a);
        self.push(Add { inputs: vec![a, b], y });
        y
    }

    /// The sum of two tensors, where none stands for zero.
    pub fn sum(&mut self, a: Option<TensorId>, b: Option<TensorId>) -> Option<TensorId> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.add(a, b)),
            (one, other) => one.or(other),
        }
    }

    /// Ends the step: its program, and each parameter with its gradient.
    ///
    /// # Errors
    /// A program that is not well formed.
    pub fn finish(self) -> Result<(ProgramId, Vec<(TensorId, TensorId)>), ProgramError> {
        Ok((self.program.finish()?, self.gradients))
    }
}
