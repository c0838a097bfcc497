//! What a layer, a unit or a method builds a step with: a program, and the few facts that
//! all of it shares.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::metric::{Metric, MetricSum};
use crate::program::{
    Add, Concat, DType, Gaussian, Op, Part, ProgramBuilder, ProgramError, ProgramId, ProgramSet,
    Role, TensorId,
};
use crate::random::{Purpose, Stream};

/// Whether layers train or predict: dropout and batch normalisation differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, dropout, and whatever the backward rules need of the forward rules.
    Train,
    /// Running statistics, no dropout, and whatever the backward rules need for the gradient of the input;
    /// there are no gradients of parameters.
    Frozen,
    /// Running statistics, no dropout.
    Evaluate,
}

/// What a fixed random matrix carries back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeedbackPath {
    /// A gradient through a layer, in place of its weight.
    Weight(TensorId),
    /// The error of the output layer, to the output of a hidden unit.
    Error {
        /// Position of the unit, from 0.
        unit: usize,
        /// Features of the unit's output, and logits that each of them hears of.
        shape: [usize; 2],
    },
}

/// Builds one step.
#[derive(Debug)]
pub struct StepBuilder<'m> {
    program: ProgramBuilder<'m>,
    mode: Mode,
    batch: usize,
    counter: TensorId,
    traced: bool,
    gradients: Vec<(TensorId, TensorId)>,
    /// The random directions drawn so far.
    directions: Vec<TensorId>,
    /// Along how many directions a forward gradient is estimated.
    direction_count: usize,
    /// Whether a fixed random matrix replaces each weight in the backward pass.
    replaces_weights: bool,
    feedback: BTreeMap<FeedbackPath, TensorId>,
    metrics: Vec<MetricSum>,
}

impl<'m> StepBuilder<'m> {
    /// Starts a step for batches of `batch` rows. With `traced`, what the host may want to see is
    /// persistent: the gradients of parameters, the directions of forward gradients, and the
    /// [`debug_tensor`](Self::debug_tensor)s.
    pub fn new(
        set: &'m mut ProgramSet,
        name: &str,
        mode: Mode,
        batch: usize,
        counter: TensorId,
        traced: bool,
    ) -> Self {
        Self {
            program: set.build(name),
            mode,
            batch,
            counter,
            traced,
            gradients: Vec::new(),
            directions: Vec::new(),
            direction_count: 1,
            replaces_weights: false,
            feedback: BTreeMap::new(),
            metrics: Vec::new(),
        }
    }

    /// Whether the layers that write into this step train or predict.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Writes rules of layers that do not train, whatever the rest of the step does.
    pub fn frozen<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let mode = std::mem::replace(&mut self.mode, Mode::Frozen);
        let written = write(self);
        self.mode = mode;
        written
    }

    /// Rows of a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The step counter of this step.
    pub fn counter(&self) -> TensorId {
        self.counter
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> &[usize] {
        self.program.shape(id)
    }

    /// The last axis of a tensor: features or channels.
    pub fn channels(&self, id: TensorId) -> usize {
        self.shape(id).last().copied().unwrap_or(1)
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

    /// A new tensor that outlives the step; see [`ProgramSet::declare`].
    pub fn declare(&mut self, role: Role, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        self.program.declare(role, name, dtype, shape)
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

    /// A tensor of zeros with the shape of another.
    pub fn zeros_like(&mut self, other: TensorId) -> TensorId {
        let shape = self.program.shape_of(other);
        self.declare(Role::Zeros, "zeros", DType::Real, &shape)
    }

    /// A new tensor that the host can read when the step is traced, and a temporary otherwise.
    pub fn debug_tensor(&mut self, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        self.traced_tensor(Role::Host, name, dtype, shape)
    }

    fn traced_tensor(&mut self, role: Role, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        if self.traced {
            self.declare(role, name, dtype, shape)
        } else {
            self.temporary(format!("{}{name}", role.prefix()), dtype, shape)
        }
    }

    /// Copies a tensor to one that the host can read, when the step is traced.
    pub fn observe(&mut self, name: &str, x: TensorId) -> Option<TensorId> {
        self.traced.then(|| {
            let shape = self.program.shape_of(x);
            let y = self.declare(Role::Host, name, DType::Real, &shape);
            self.copy(x, y);
            y
        })
    }

    /// Copies a tensor to another of its shape.
    pub fn copy(&mut self, x: TensorId, y: TensorId) {
        self.push(Concat { inputs: vec![x], y });
    }

    /// The tensor for the gradient of a parameter. Each parameter has one gradient in a step.
    pub fn gradient(&mut self, parameter: TensorId) -> TensorId {
        let name = self.program.name_of(parameter).to_owned();
        let shape = self.program.shape_of(parameter);
        let gradient = self.traced_tensor(Role::Gradient, &name, DType::Real, &shape);
        self.gradients.push((parameter, gradient));
        gradient
    }

    /// A new random direction: a tensor of the shape of `like`, of independent N(0, 1), and the stream
    /// from which it can be drawn again. Streams are numbered in the order in which they are asked
    /// for.
    pub fn direction(&mut self, name: &str, like: TensorId) -> (TensorId, Stream) {
        let shape = self.program.shape_of(like);
        let y = self.traced_tensor(Role::Direction, name, DType::Real, &shape);
        let stream = Stream::new(Purpose::Perturbation, self.directions.len() as u32);
        self.directions.push(y);
        self.push(Gaussian { counter: self.counter, factor: None, y, stream });
        (y, stream)
    }

    /// Along how many directions a forward gradient is estimated: the mean of their estimates is taken.
    pub fn direction_count(&self) -> usize {
        self.direction_count
    }

    /// The same step with estimates along so many directions, at least 1.
    #[must_use]
    pub fn with_directions(self, directions: usize) -> Self {
        Self { direction_count: directions.max(1), ..self }
    }

    /// The random directions drawn so far, in order.
    pub fn directions(&self) -> &[TensorId] {
        &self.directions
    }

    /// From here on, a fixed matrix replaces each weight in the backward pass.
    pub fn use_feedback(&mut self) {
        self.replaces_weights = true;
    }

    /// The matrix that carries a gradient back through a weight: the weight itself, or with
    /// [`use_feedback`](Self::use_feedback) a persistent tensor of its name and shape.
    pub fn backward_weight(&mut self, weight: TensorId) -> TensorId {
        if !self.replaces_weights {
            return weight;
        }
        let name = self.program.name_of(weight).to_owned();
        let shape = self.program.shape_of(weight);
        self.feedback_matrix(FeedbackPath::Weight(weight), &name, &shape)
    }

    /// The fixed random matrix of a path: one persistent tensor, which the host fills. A first request declares it.
    pub fn feedback_matrix(&mut self, path: FeedbackPath, name: &str, shape: &[usize]) -> TensorId {
        let declare = || self.program.declare(Role::Feedback, name, DType::Real, shape);
        *self.feedback.entry(path).or_insert_with(declare)
    }

    /// The fixed random matrices.
    pub fn feedback(&self) -> &BTreeMap<FeedbackPath, TensorId> {
        &self.feedback
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

    /// The sum of tensors of one shape; none where there are none, and itself where there is one.
    pub fn total(&mut self, inputs: Vec<TensorId>) -> Option<TensorId> {
        let [first, _, ..] = inputs[..] else { return inputs.first().copied() };
        let y = self.like("sum", first);
        self.push(Add { inputs, y });
        Some(y)
    }

    /// The sum of two tensors, where none means zero.
    pub fn sum(&mut self, a: Option<TensorId>, b: Option<TensorId>) -> Option<TensorId> {
        self.total(a.into_iter().chain(b).collect())
    }

    /// Ends the step: its program, and each parameter with its gradient.
    ///
    /// # Errors
    /// A program that is not well formed.
    pub fn finish(self) -> Result<(ProgramId, Vec<(TensorId, TensorId)>), ProgramError> {
        Ok((self.program.finish()?, self.gradients))
    }
}
