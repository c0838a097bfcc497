//! The backend and the modules that it has compiled.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use lfnn_core::backend::{
    Backend, Ceilings, Executable, Memory, StepTime, TensorData, TensorDataMut,
};
use lfnn_core::program::{
    ALIGNMENT, Kind, Lifetimes, Module, ProgramId, TensorId, Tensors, plan_memory,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::CpuError;
use crate::ceilings;
use crate::compile::kernel;
use crate::fuse::{Rewritten, fuse};
use crate::memory::{Binder, Block, Element};
use crate::work::{Kernel, Needs, Slots, Workspace};

/// The CPU: a pool of threads.
#[derive(Clone, Debug)]
pub struct Cpu {
    pool: Arc<ThreadPool>,
}

impl Cpu {
    /// A backend with this many threads, or as many as the machine runs at once. The results do not
    /// depend on how many they are.
    ///
    /// # Errors
    /// Threads that the system does not grant.
    pub fn new(threads: Option<usize>) -> Result<Self, CpuError> {
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok().map(NonZero::get))
            .unwrap_or(1)
            .max(1);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("lfnn-cpu-{i}"))
            .build()?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

impl Backend for Cpu {
    type Executable = CpuExecutable;
    type Error = CpuError;

    fn name(&self) -> String {
        "cpu".into()
    }

    fn compile(&self, module: &Module) -> Result<CpuExecutable, CpuError> {
        CpuExecutable::new(module, self.pool.clone())
    }

    fn ceilings(&self) -> Result<Option<Ceilings>, CpuError> {
        Ok(Some(self.pool.install(ceilings::measure)))
    }
}

/// A step of a program.
struct CpuStep {
    name: &'static str,
    /// Positions of the operations that it does.
    ops: Vec<usize>,
    kernel: Box<dyn Kernel>,
}

/// A module with its memory, compiled for the CPU.
pub struct CpuExecutable {
    pool: Arc<ThreadPool>,
    tensors: Tensors,
    /// Where each persistent tensor lies.
    offsets: Vec<usize>,
    programs: Vec<Vec<CpuStep>>,
    shared: Block,
    slots: Slots,
    temporary: Block,
    persistent: Block,
    memory: Memory,
}

impl CpuExecutable {
    fn new(module: &Module, pool: Arc<ThreadPool>) -> Result<Self, CpuError> {
        let tensors = module.tensors().clone();
        let (offsets, bytes) = place_persistent(&tensors);
        let mut persistent = Block::new(bytes, "parameters and data")?;

        let schedules: Vec<_> =
            module.programs().iter().map(|program| fuse(&tensors, program.ops())).collect();
        let plans: Vec<Lifetimes> = schedules
            .iter()
            .map(|steps| plan_memory(&tensors, steps, |id| tensors[id].bytes()))
            .collect();
        let bytes = plans.iter().map(|plan| plan.bytes).max().unwrap_or(0);
        let mut temporary = Block::new(bytes, "the tensors of a step")?;

        let mut needs = Needs::default();
        let mut programs = Vec::with_capacity(schedules.len());
        for (schedule, plan) in schedules.iter().zip(&plans) {
            let mut bind =
                Binder::new(&tensors, (&mut persistent, &offsets), (&mut temporary, plan));
            let mut steps = Vec::with_capacity(schedule.len());
            for Rewritten { step, ops } in schedule {
                let name = step.name();
                let kernel = kernel(step, &mut bind);
                bind.check(name)?;
                let wanted = kernel.needs();
                needs.shared = needs.shared.max(wanted.shared);
                needs.each = needs.each.max(wanted.each);
                needs.tables += wanted.tables;
                steps.push(CpuStep { name, ops: ops.clone(), kernel });
            }
            programs.push(steps);
        }
        let shared = Block::new(needs.shared * size_of::<f32>(), "scratch memory")?;
        let slots = Slots::new(pool.current_num_threads(), needs.each)?;
        let memory = Memory {
            persistent: persistent.bytes(),
            temporary: temporary.bytes() + shared.bytes() + slots.bytes() + needs.tables,
        };
        Ok(Self { pool, tensors, offsets, programs, shared, slots, temporary, persistent, memory })
    }

    /// Bytes of the temporaries of the largest program, without scratch memory of kernels.
    pub fn arena(&self) -> usize {
        self.temporary.bytes()
    }

    fn each_step(
        &mut self,
        program: ProgramId,
        mut f: impl FnMut(&mut CpuStep, &mut Workspace<'_>) + Send,
    ) -> Result<(), CpuError> {
        let programs = self.programs.len();
        let Some(steps) = self.programs.get_mut(program.0) else {
            return Err(CpuError::NoProgram { index: program.0, programs });
        };
        let (shared, slots) = (&mut self.shared, &self.slots);
        self.pool.install(|| {
            let len = shared.bytes() / size_of::<f32>();
            for step in steps {
                f(step, &mut Workspace { shared: shared.slice_mut(0, len), slots });
            }
        });
        Ok(())
    }

    /// The offset of a persistent tensor, whose type and length are these.
    fn find<T: Element>(&self, id: TensorId, len: usize) -> Result<usize, CpuError> {
        let tensor = &self.tensors[id];
        let name = || tensor.name.clone();
        if tensor.kind != Kind::Persistent {
            return Err(CpuError::Temporary { name: name() });
        }
        if tensor.dtype != T::TYPE {
            return Err(CpuError::Type { name: name(), expected: tensor.dtype, found: T::TYPE });
        }
        if tensor.len() != len {
            return Err(CpuError::Length { name: name(), expected: tensor.len(), found: len });
        }
        Ok(self.offsets[id.index()])
    }

    fn write<T: Element>(&mut self, id: TensorId, data: &[T]) -> Result<(), CpuError> {
        let offset = self.find::<T>(id, data.len())?;
        self.persistent.slice_mut(offset, data.len()).copy_from_slice(data);
        Ok(())
    }

    fn read<T: Element>(&self, id: TensorId, data: &mut [T]) -> Result<(), CpuError> {
        let offset = self.find::<T>(id, data.len())?;
        data.copy_from_slice(self.persistent.slice(offset, data.len()));
        Ok(())
    }
}

/// The persistent tensors one after the other: their offsets, and the bytes of all.
fn place_persistent(tensors: &Tensors) -> (Vec<usize>, usize) {
    let mut bytes = 0;
    let offsets = tensors
        .iter()
        .map(|(_, tensor)| match tensor.kind {
            // Never asked for: a temporary that a program uses has a place in its plan.
            Kind::Temporary => usize::MAX,
            Kind::Persistent => {
                let offset = bytes;
                bytes += tensor.bytes().next_multiple_of(ALIGNMENT);
                offset
            }
        })
        .collect();
    (offsets, bytes)
}

impl Executable for CpuExecutable {
    type Error = CpuError;

    fn upload(&mut self, tensor: TensorId, data: TensorData<'_>) -> Result<(), CpuError> {
        match data {
            TensorData::Real(data) => self.write(tensor, data),
            TensorData::U32(data) => self.write(tensor, data),
            TensorData::U8(data) => self.write(tensor, data),
        }
    }

    fn download(&self, tensor: TensorId, data: TensorDataMut<'_>) -> Result<(), CpuError> {
        match data {
            TensorDataMut::Real(data) => self.read(tensor, data),
            TensorDataMut::U32(data) => self.read(tensor, data),
            TensorDataMut::U8(data) => self.read(tensor, data),
        }
    }

    fn run(&mut self, program: ProgramId) -> Result<(), CpuError> {
        self.each_step(program, |step, work| step.kernel.run(work))
    }

    fn profile(&mut self, program: ProgramId) -> Result<Vec<StepTime>, CpuError> {
        let mut times = Vec::new();
        self.each_step(program, |step, work| {
            let start = Instant::now();
            step.kernel.run(work);
            let time = start.elapsed();
            times.push(StepTime { name: step.name, ops: step.ops.clone(), time });
        })?;
        Ok(times)
    }

    fn memory(&self) -> Memory {
        self.memory
    }
}

impl std::fmt::Debug for CpuExecutable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps: Vec<Vec<&str>> = self
            .programs
            .iter()
            .map(|steps| steps.iter().map(|step| step.name).collect())
            .collect();
        f.debug_struct("CpuExecutable")
            .field("memory", &self.memory)
            .field("programs", &steps)
            .finish_non_exhaustive()
    }
}
