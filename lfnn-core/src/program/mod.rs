//! A training step written down as data: operations on named tensors.
//!
//! For a given network, method and batch size, everything that a step does is known beforehand. A
//! method writes it once into a [`Program`]; a backend compiles the program and runs it thousands of
//! times. Programs are checked when they are built ([`ProgramBuilder::finish`]), so a backend may
//! trust every shape, type and reference in them.
//!
//! Conventions:
//! * Real tensors with a spatial extent are channels-last: `[batch, height, width, channels]`.
//!   Convolution weights are `[out, kernel height, kernel width, in / groups]`, linear weights
//!   `[out, in / groups]`.
//! * Everything else has two axes, `[batch, features]`. A tensor of worker logits is
//!   `[batch, classifiers · workers · classes]`, see [`Predictions`].
//! * An operation reads and writes whole tensors. A tensor that it both reads and writes is listed
//!   under `updates`. Writes of other tensors overwrite whatever was there.

#[macro_use]
mod operation;

mod conv;
mod cost;
mod data;
mod dependence;
mod elementwise;
pub mod fusion;
mod intervals;
mod layer_norm;
mod leaders;
mod linear;
mod liveness;
mod losses;
mod metrics;
mod normalization;
mod optimize;
mod order;
mod perturb;
mod phases;
mod pool;
mod shape;
mod similarity;
pub mod step_counter;
mod tensor;
mod uses;
mod workers;

pub use conv::*;
pub use cost::Cost;
pub use data::*;
pub use dependence::influences;
pub use elementwise::*;
pub use layer_norm::*;
pub use leaders::*;
pub use linear::*;
pub use liveness::{ALIGNMENT, InOrder, MemoryPlan, Order, Step, plan_memory, plan_memory_in};
pub use losses::*;
pub use metrics::*;
pub use normalization::*;
pub use operation::{Op, Operation};
pub use optimize::*;
pub use order::{Node, dependencies, producers};
pub use perturb::*;
pub use phases::{Phase, Phases};
pub use pool::*;
pub use shape::*;
pub use similarity::*;
pub use step_counter::AdvanceStepCounter;
pub use tensor::{DType, Role, Tensor, TensorId, Tensors};
pub use workers::*;

use thiserror::Error;

/// A program that is not well formed. This is an error of whoever wrote the program, a layer or a
/// method, not of the user's configuration.
#[derive(Debug, Error, PartialEq)]
pub enum ProgramError {
    /// Tensors that no machine could address.
    #[error(
        "program `{program}`: tensor `{tensor}` of shape {shape:?} and those before it take more than 2⁶³ bytes"
    )]
    TooLarge {
        /// The program's name.
        program: String,
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor whose elements 32 bits do not number.
    #[error("tensor `{tensor}` of shape {shape:?} has more than 2³⁴ numbers")]
    TooManyElements {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An operation's tensors do not fit together.
    #[error("program `{program}`, operation {index} ({operation}): {message}")]
    Operation {
        /// The program's name.
        program: String,
        /// Position of the operation in the program.
        index: usize,
        /// Name of the operation.
        operation: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// The part of a network for which an operation is done: for profiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The batch as a whole.
    #[default]
    Batch,
    /// A hidden unit, from 1.
    Unit(usize),
    /// The output layer.
    Output,
}

/// A list of operations, checked.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    ops: Vec<Op>,
    parts: Vec<Part>,
}

impl Program {
    /// What the program is for: `train`, `evaluate`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operations, in an order in which every tensor is written before it is read.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The part of the network that each operation belongs to.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// Which program of a [`ProgramSet`] to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProgramId(pub usize);

/// Programs that share tensors: the training step and the evaluation of one network, say.
#[derive(Clone, Debug, Default)]
pub struct ProgramSet {
    tensors: Tensors,
    programs: Vec<Program>,
}

impl ProgramSet {
    /// A program set without tensors and programs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensors of all programs.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// Adds a tensor that keeps its contents between runs and that the host can write and read. Its
    /// name begins with the role's [`prefix`](Role::prefix).
    pub fn declare(&mut self, role: Role, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        let (name, shape) = (format!("{}{name}", role.prefix()), shape.to_vec());
        self.tensors.add(Tensor { name, role, dtype, shape })
    }

    /// [`declare`](Self::declare)s a tensor of no particular role, such as an input of a program.
    pub fn persistent(&mut self, name: impl AsRef<str>, dtype: DType, shape: &[usize]) -> TensorId {
        self.declare(Role::Host, name.as_ref(), dtype, shape)
    }

    /// The programs, indexed by [`ProgramId`].
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Starts a program.
    pub fn build(&mut self, name: impl Into<String>) -> ProgramBuilder<'_> {
        ProgramBuilder {
            set: self,
            name: name.into(),
            ops: Vec::new(),
            parts: Vec::new(),
            part: Part::default(),
        }
    }
}

/// Writes the operations of one program.
#[derive(Debug)]
pub struct ProgramBuilder<'m> {
    set: &'m mut ProgramSet,
    name: String,
    ops: Vec<Op>,
    parts: Vec<Part>,
    part: Part,
}

impl ProgramBuilder<'_> {
    /// Adds a tensor that lives only inside a run of this program.
    pub fn temporary(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: &[usize],
    ) -> TensorId {
        let (name, role, shape) = (name.into(), Role::Intermediate, shape.to_vec());
        self.set.tensors.add(Tensor { name, role, dtype, shape })
    }

    /// Adds a real temporary tensor.
    pub fn real(&mut self, name: impl Into<String>, shape: &[usize]) -> TensorId {
        self.temporary(name, DType::Real, shape)
    }

    /// Adds a tensor that outlives the run; see [`ProgramSet::declare`].
    pub fn declare(&mut self, role: Role, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        self.set.declare(role, name, dtype, shape)
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> &[usize] {
        &self.set.tensors[id].shape
    }

    /// The name of a tensor.
    pub fn name_of(&self, id: TensorId) -> &str {
        &self.set.tensors[id].name
    }

    /// The shape of a tensor, to keep while the program is written on.
    pub fn shape_of(&self, id: TensorId) -> Vec<usize> {
        self.shape(id).to_vec()
    }

    /// Says to which part of a network the operations that follow belong.
    pub fn part(&mut self, part: Part) {
        self.part = part;
    }

    /// Appends an operation.
    pub fn push(&mut self, op: impl Into<Op>) {
        self.ops.push(op.into());
        self.parts.push(self.part);
    }

    /// Checks the program and adds it to the program set.
    ///
    /// # Errors
    /// Tensors of more than 2⁶³ bytes together, an operation whose tensors do not fit, that reads a
    /// temporary nobody has written, that names a tensor it changes twice, or that changes one of zeros.
    pub fn finish(self) -> Result<ProgramId, ProgramError> {
        let tensors = &self.set.tensors;
        if let Some(tensor) = tensors.first_beyond(isize::MAX as usize) {
            let (tensor, shape) = (tensor.name.clone(), tensor.shape.clone());
            return Err(ProgramError::TooLarge { program: self.name, tensor, shape });
        }
        let mut written = vec![false; tensors.len()];
        for (index, op) in self.ops.iter().enumerate() {
            let fail = |message: String| ProgramError::Operation {
                program: self.name.clone(),
                index,
                operation: op.name(),
                message,
            };
            op.check(tensors).map_err(&fail)?;
            let reads = op.reads();
            for &id in reads.iter().chain(&op.updates()) {
                if !tensors[id].is_persistent() && !written[id.index()] {
                    return Err(fail(format!(
                        "`{}` is read before it is written",
                        tensors[id].name
                    )));
                }
            }
            // A backend may hand out what is changed as exclusive memory.
            let changed: Vec<TensorId> = op.writes().into_iter().chain(op.updates()).collect();
            for (at, id) in changed.iter().enumerate() {
                if reads.contains(id) || changed[..at].contains(id) {
                    let name = &tensors[*id].name;
                    return Err(fail(format!("`{name}` is changed and used elsewhere")));
                }
                if tensors[*id].role == Role::Zeros {
                    return Err(fail("changes a tensor of zeros".into()));
                }
                written[id.index()] = true;
            }
        }
        let mut ops = self.ops;
        drop_unread_positions(&self.set.tensors, &mut ops);
        let id = ProgramId(self.set.programs.len());
        self.set.programs.push(Program { name: self.name, ops, parts: self.parts });
        Ok(id)
    }
}

/// A pooling layer notes where its maxima were, for rules that a method may never ask for: in a local
/// method no gradient passes through the pooling between two units.
fn drop_unread_positions(tensors: &Tensors, ops: &mut [Op]) {
    let read: std::collections::BTreeSet<TensorId> = ops.iter().flat_map(Op::reads).collect();
    for op in ops {
        if let Op::MaxPool(pool) = op
            && let Some(position) = pool.position
            && !tensors[position].is_persistent()
            && !read.contains(&position)
        {
            pool.position = None;
        }
    }
}
