//! A plan, run step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use lfnn_core::backend::{BackendError, Executable, Memory as Bytes, TensorData, TensorDataMut};
use lfnn_core::program::{DType, ProgramId, ProgramSet, TensorId, Tensors};
use lfnn_core::random::{Purpose, Stream, below};

use super::compile::library;
use super::error::EmulatorError;
use super::library::{Kind as Passed, Library, Value};
use super::memory::Memory;
use super::product;
use crate::host;
use crate::plan::{Argument, Element, KernelSource, Launch, Plan, Step, Work};

/// A program set on the emulator.
pub struct EmulatorExecutable {
    /// What the order of steps and threads is drawn from.
    seed: u64,
    tensors: Tensors,
    plan: Plan,
    memory: Memory,
    libraries: BTreeMap<KernelSource, Arc<Library>>,
    /// Launches so far: each has an order of threads of its own.
    launches: u32,
}

impl EmulatorExecutable {
    pub(super) fn new(
        plan: Plan,
        set: &ProgramSet,
        seed: u64,
        sanitized: bool,
    ) -> Result<Self, EmulatorError> {
        let mut libraries = BTreeMap::new();
        for source in plan.sources() {
            libraries.insert(source, library(source, sanitized)?);
        }
        let tensors = set.tensors().clone();
        let memory = Memory::new(&plan, &tensors, sanitized);
        Ok(Self { seed, tensors, plan, memory, libraries, launches: 0 })
    }

    /// The plan that it runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The scales of losses in half precision, by number: 0 is one that has not been used.
    pub fn loss_scales(&self) -> Vec<f32> {
        self.memory.loss_scales()
    }

    /// A random number below `n`.
    fn draw(&mut self, n: usize) -> usize {
        self.launches += 1;
        let word = Stream::new(Purpose::Shuffle, 0).at(self.seed, 0, 1, self.launches);
        below(word, n as u32) as usize
    }

    /// An order of a program's steps in which every step follows those it waits for.
    fn order(&mut self, program: usize) -> Vec<usize> {
        let steps = &self.plan.programs[program].steps;
        let streams = self.plan.programs[program].streams;
        // The steps of each stream, last first.
        let mut waiting: Vec<Vec<usize>> = (0..streams)
            .map(|stream| (0..steps.len()).rev().filter(|&i| steps[i].stream == stream).collect())
            .collect();
        let after: Vec<Vec<usize>> = steps.iter().map(|step| step.after.clone()).collect();
        let mut done = vec![false; after.len()];
        let mut order = Vec::with_capacity(after.len());
        while order.len() < after.len() {
            let free = |stream: &Vec<usize>| {
                stream.last().is_some_and(|&step| after[step].iter().all(|&before| done[before]))
            };
            let ready: Vec<usize> = (0..streams).filter(|&stream| free(&waiting[stream])).collect();
            assert!(!ready.is_empty(), "steps that wait for one another");
            let stream = ready[self.draw(ready.len())];
            if let Some(step) = waiting[stream].pop() {
                done[step] = true;
                order.push(step);
            }
        }
        order
    }

    fn step(&mut self, program: usize, step: &Step) -> Result<(), EmulatorError> {
        match &step.work {
            Work::Launch(launch) => self.launch(program, step.stream, launch),
            Work::Product(product) => {
                let memory = &mut self.memory;
                // SAFETY: addresses in the plan's memory, which nobody else uses now.
                unsafe {
                    product::run(product, |address| memory.resolve(program, step.stream, address));
                }
                Ok(())
            }
        }
    }

    fn launch(
        &mut self,
        program: usize,
        stream: usize,
        launch: &Launch,
    ) -> Result<(), EmulatorError> {
        let seed = self.seed ^ (self.draw(1 << 31) as u64) << 32;
        let memory = &mut self.memory;
        let mut values: Vec<Value> = launch
            .arguments
            .iter()
            .map(|argument| {
                let kind = match argument {
                    Argument::Pointer(_) => Passed::Pointer,
                    Argument::U32(_) => Passed::Whole,
                    Argument::F32(_) => Passed::Real,
                    Argument::Struct(_) => Passed::Struct,
                };
                let bytes =
                    argument.bytes(|address| memory.resolve(program, stream, address).0 as u64);
                (kind, bytes)
            })
            .collect();
        let library = &self.libraries[&launch.source];
        let Launch { kernel, grid, block, shared, .. } = launch;
        // SAFETY: pointers into memory that lives as long as `self`; that kernels stay within their
        // tensors is what the sanitized emulator finds out.
        unsafe { library.launch(kernel, *grid, *block, *shared, seed, &mut values) }
    }

    /// Checks that the host may read or write a tensor with data of this type and length.
    fn check(&self, id: TensorId, given: DType, given_length: usize) -> Result<(), EmulatorError> {
        let tensor = &self.tensors[id];
        let persistent = tensor.is_persistent();
        if persistent && tensor.dtype == given && tensor.len() == given_length {
            return Ok(());
        }
        Err(EmulatorError::Data {
            name: tensor.name.clone(),
            expected: tensor.dtype,
            length: tensor.len(),
            persistent,
            given,
            given_length,
        })
    }
}

impl std::fmt::Debug for EmulatorExecutable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmulatorExecutable").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Executable for EmulatorExecutable {
    fn upload(&mut self, tensor: TensorId, data: TensorData<'_>) -> Result<(), BackendError> {
        let (dtype, length, bytes) = host::bytes(data);
        self.check(tensor, dtype, length)?;
        self.memory.bytes_mut(tensor, dtype.bytes()).copy_from_slice(bytes);
        Ok(())
    }

    fn download(&self, tensor: TensorId, data: TensorDataMut<'_>) -> Result<(), BackendError> {
        let (dtype, length, bytes) = host::bytes_mut(data);
        self.check(tensor, dtype, length)?;
        bytes.copy_from_slice(self.memory.bytes(tensor, dtype.bytes()));
        Ok(())
    }

    fn run(&mut self, program: ProgramId) -> Result<(), BackendError> {
        let index = program.0;
        let Some(plan) = self.plan.programs.get(index) else {
            return Err(EmulatorError::NoProgram(index).into());
        };
        let (name, steps) = (plan.name.clone(), plan.steps.clone());
        self.memory.poison(index);
        for i in self.order(index) {
            self.step(index, &steps[i]).map_err(|error| EmulatorError::Step {
                program: name.clone(),
                index: i,
                name: steps[i].name,
                error: Box::new(error),
            })?;
        }
        Ok(())
    }

    fn memory(&self) -> Bytes {
        let temporary = self
            .plan
            .programs
            .iter()
            .map(|program| program.temporary_bytes + program.streams * program.scratch_bytes)
            .max();
        Bytes { persistent: self.plan.persistent_bytes, temporary: temporary.unwrap_or(0) }
    }
}

/// Persistent real tensors are in single precision in every plan, so the host's data are copied as they are.
const _: () = assert!(Element::F32.bytes() == DType::Real.bytes());
