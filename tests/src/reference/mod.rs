//! A backend of plain loops in `f64`: the oracle for every other backend.
//!
//! Each operation is written from its definition in `lfnn_core::program`, forward and backward rule
//! apart, with nothing shared with another backend and nothing done for speed. Temporaries hold
//! poison before their first write and after their last use, so that reading one at the wrong time
//! shows as NaN.

mod conv;
mod data;
mod elementwise;
mod layer_norm;
mod leaders;
mod linear;
mod losses;
mod metrics;
mod normalization;
mod optimize;
mod perturb;
mod pool;
mod rounding;
mod shape;
mod similarity;
mod store;
mod workers;

use std::fmt;

use lfnn_core::backend::{Backend, BackendError, Executable, Memory, TensorData, TensorDataMut};
use lfnn_core::program::{DType, Program, ProgramId, ProgramSet, Step, TensorId, Tensors};
use lfnn_core::with_operation;
use store::{Buffer, Store};

pub use rounding::Rounding;

/// The reference backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

/// A program set on the reference backend.
#[derive(Debug)]
pub struct ReferenceExecutable {
    programs: Vec<Scheduled>,
    store: Store,
    rounding: Option<Rounding>,
}

/// A program, and for each of its operations the temporaries that nobody touches afterwards.
#[derive(Debug)]
struct Scheduled {
    program: Program,
    dead_after: Vec<Vec<TensorId>>,
}

/// A misuse of the host interface.
#[derive(Debug)]
pub struct ReferenceError(String);

impl fmt::Display for ReferenceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ReferenceError {}

impl From<ReferenceError> for BackendError {
    fn from(error: ReferenceError) -> Self {
        Self::new(error)
    }
}

impl Backend for Reference {
    fn name(&self) -> String {
        "reference".into()
    }

    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError> {
        Ok(Box::new(ReferenceExecutable::new(set, None)))
    }
}

impl Backend for Rounding {
    fn name(&self) -> String {
        "reference with errors".into()
    }

    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError> {
        Ok(Box::new(ReferenceExecutable::new(set, Some(*self))))
    }
}

impl Executable for ReferenceExecutable {
    fn upload(&mut self, tensor: TensorId, data: TensorData<'_>) -> Result<(), BackendError> {
        let (dtype, length) = match data {
            TensorData::Real(values) => (DType::Real, values.len()),
            TensorData::U32(values) => (DType::U32, values.len()),
            TensorData::U8(values) => (DType::U8, values.len()),
        };
        self.expect(tensor, dtype, length)?;
        match data {
            TensorData::Real(values) => {
                self.store.set_real(tensor, values.iter().map(|&v| f64::from(v)).collect());
            }
            TensorData::U32(values) => self.store.set_whole(tensor, values.to_vec()),
            TensorData::U8(values) => self.store.set_bytes(tensor, values.to_vec()),
        }
        Ok(())
    }

    fn download(&self, tensor: TensorId, data: TensorDataMut<'_>) -> Result<(), BackendError> {
        match data {
            TensorDataMut::Real(out) => {
                self.expect(tensor, DType::Real, out.len())?;
                for (to, from) in out.iter_mut().zip(self.store.real(tensor)) {
                    *to = *from as f32;
                }
            }
            TensorDataMut::U32(out) => {
                self.expect(tensor, DType::U32, out.len())?;
                out.copy_from_slice(self.store.whole(tensor));
            }
            TensorDataMut::U8(out) => {
                self.expect(tensor, DType::U8, out.len())?;
                out.copy_from_slice(self.store.bytes(tensor));
            }
        }
        Ok(())
    }

    fn run(&mut self, program: ProgramId) -> Result<(), BackendError> {
        let scheduled = self
            .programs
            .get(program.0)
            .ok_or_else(|| ReferenceError(format!("no program {}", program.0)))?;
        self.store.poison_temporaries();
        for (op, dead) in scheduled.program.ops().iter().zip(&scheduled.dead_after) {
            with_operation!(op, op => op.execute(&mut self.store));
            if let Some(rounding) = &mut self.rounding {
                rounding.apply(op, &mut self.store);
            }
            dead.iter().for_each(|&id| self.store.poison(id));
        }
        Ok(())
    }

    fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for (id, tensor) in self.store.tensors().iter() {
            let bytes = match self.store.buffer(id) {
                Buffer::Real(values) => values.len() * 8,
                Buffer::Whole(values) => values.len() * 4,
                Buffer::Bytes(values) => values.len(),
            };
            if tensor.is_persistent() {
                memory.persistent += bytes;
            } else {
                memory.temporary += bytes;
            }
        }
        memory
    }
}

impl ReferenceExecutable {
    /// A program set, computed exactly or with errors.
    pub fn new(set: &ProgramSet, rounding: Option<Rounding>) -> Self {
        let scheduled = |program| schedule(program, set.tensors());
        let programs = set.programs().iter().map(scheduled).collect();
        Self { programs, store: Store::new(set.tensors()), rounding }
    }

    /// Writes a real persistent tensor without rounding to `f32`.
    ///
    /// # Panics
    /// If the tensor is not real, or of another length.
    pub fn upload_f64(&mut self, tensor: TensorId, values: &[f64]) {
        self.store.set_real(tensor, values.to_vec());
    }

    /// Reads a real persistent tensor without rounding to `f32`.
    ///
    /// # Panics
    /// If the tensor is not real.
    pub fn download_f64(&self, tensor: TensorId) -> Vec<f64> {
        self.store.real(tensor).to_vec()
    }

    fn expect(&self, id: TensorId, dtype: DType, length: usize) -> Result<(), ReferenceError> {
        let tensor = &self.store.tensors()[id];
        if tensor.is_persistent() && tensor.dtype == dtype && tensor.len() == length {
            return Ok(());
        }
        Err(ReferenceError(format!("{length} values of {dtype:?} do not fit {tensor:?}")))
    }
}

fn schedule(program: &Program, tensors: &Tensors) -> Scheduled {
    let mut last = vec![None; tensors.len()];
    for (index, op) in program.ops().iter().enumerate() {
        for id in op.uses() {
            last[id.index()] = Some(index);
        }
    }
    let mut dead_after = vec![Vec::new(); program.ops().len()];
    for (id, tensor) in tensors.iter() {
        if let (false, Some(index)) = (tensor.is_persistent(), last[id.index()]) {
            dead_after[index].push(id);
        }
    }
    Scheduled { program: program.clone(), dead_after }
}

/// The definition of an operation, in plain loops.
trait Execute {
    /// Computes what the operation writes.
    fn execute(&self, store: &mut Store);
}
