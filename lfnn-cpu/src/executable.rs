//! The backend and the program sets that it has compiled.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use lfnn_core::backend::{
    Backend, BackendError, Executable, Memory, PeakRates, StepTime, TensorData, TensorDataMut,
};
use lfnn_core::program::fusion::{FusedOp, fuse};
use lfnn_core::program::{
    ALIGNMENT, MemoryPlan, Node, Op, Part, Phase, Phases, Program, ProgramId, ProgramSet, TensorId,
    Tensors, plan_memory_in,
};
use lfnn_core::with_operation;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::CpuError;
use crate::fuse::{CpuCapabilities, kernel};
use crate::host::{available_memory, max_threads};
use crate::memory::{Block, BufferResolver, Element};
use crate::peak_rates;
use crate::simd::Level;
use crate::work::{Compile, Kernel, ThreadBuffers, Workspace};

/// The CPU: a pool of threads.
#[derive(Clone, Debug)]
pub struct Cpu {
    pool: Arc<ThreadPool>,
    level: Level,
}

impl Cpu {
    /// A backend with this many threads, or as many as the machine runs at once. The results do not
    /// depend on how many they are.
    ///
    /// # Errors
    /// More threads than [`max_threads`], threads that the system does not grant, or an environment variable
    /// `LFNN_CPU_LEVEL` that names instructions that this machine does not have.
    pub fn new(threads: Option<usize>) -> Result<Self, CpuError> {
        let level = Level::selected()?;
        let most = max_threads();
        if let Some(threads) = threads.filter(|&threads| threads > most) {
            return Err(CpuError::TooManyThreads { threads, most });
        }
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok().map(NonZero::get))
            .unwrap_or(1)
            .max(1);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("lfnn-cpu-{i}"))
            .build()?;
        Ok(Self { pool: Arc::new(pool), level })
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The vector instructions that its kernels use: `avx512`, `avx2` or `portable`. They are the best that this machine
    /// has, or those that the environment variable `LFNN_CPU_LEVEL` names: for tests and bug reports.
    pub fn level(&self) -> &'static str {
        self.level.name()
    }

    /// Bytes of the temporaries of a program set's largest program, without scratch memory of kernels: what
    /// [`compile`](Backend::compile) would allocate for them.
    pub fn planned_bytes(&self, set: &ProgramSet) -> usize {
        let plans = plans(set, self.threads());
        plans.iter().map(|(_, _, plan)| plan.bytes).max().unwrap_or(0)
    }
}

impl Backend for Cpu {
    fn name(&self) -> String {
        "cpu".into()
    }

    fn compile(&self, set: &ProgramSet) -> Result<Box<dyn Executable>, BackendError> {
        Ok(Box::new(CpuExecutable::new(set, self.pool.clone())?))
    }

    fn peak_rates(&self) -> Result<Option<PeakRates>, BackendError> {
        Ok(Some(self.pool.install(peak_rates::measure)))
    }
}

/// A step of a program.
struct CpuStep {
    name: &'static str,
    /// Positions of the operations that it does.
    ops: Vec<usize>,
    kernel: Box<dyn Kernel>,
}

/// A program: steps in the order of its phases, and which of them run concurrently.
struct CpuProgram {
    steps: Vec<CpuStep>,
    phases: Vec<Phase>,
}

/// A program set with its memory, compiled for the CPU.
pub struct CpuExecutable {
    pool: Arc<ThreadPool>,
    tensors: Tensors,
    /// Offset of each persistent tensor.
    offsets: Vec<usize>,
    programs: Vec<CpuProgram>,
    /// Scratch memory of the steps in each half of a phase.
    shared: [Block; 2],
    buffers: ThreadBuffers,
    /// Kernels point into it.
    _temporary: Block,
    persistent: Block,
    memory: Memory,
}

impl CpuExecutable {
    fn new(set: &ProgramSet, pool: Arc<ThreadPool>) -> Result<Self, CpuError> {
        let tensors = set.tensors().clone();
        let (offsets, persistent_bytes) = place_persistent(&tensors);
        let plans = plans(set, pool.current_num_threads());
        let temporary_bytes = plans.iter().map(|(_, _, plan)| plan.bytes).max().unwrap_or(0);
        // The system would grant more than it has, and kill the process when that is used.
        let ops = set.programs().iter().flat_map(Program::ops);
        let tables_of = |op: &Op| with_operation!(op, op => op.table_bytes(&tensors));
        let tables = ops.map(tables_of).fold(0, usize::saturating_add);
        let sum = |parts: &[usize]| parts.iter().copied().fold(0, usize::saturating_add);
        expect_memory(sum(&[persistent_bytes, temporary_bytes, tables]))?;
        let mut persistent = Block::new(persistent_bytes, "parameters and data")?;
        let mut temporary = Block::new(temporary_bytes, "the tensors of a step")?;

        let (mut shared, mut per_thread, mut table_bytes) = ([0, 0], 0, 0);
        let mut programs = Vec::with_capacity(plans.len());
        for (schedule, phases, plan) in plans {
            let mut bind =
                BufferResolver::new(&tensors, (&mut persistent, &offsets), (&mut temporary, &plan));
            let mut steps = Vec::with_capacity(schedule.len());
            for phase in &phases.phases {
                bind.begin_phase();
                let phase_steps = &schedule[phase.begin..phase.end];
                for (at, FusedOp { fusion, ops, .. }) in (phase.begin..).zip(phase_steps) {
                    let (name, second_half) = (fusion.name(), at >= phase.middle);
                    let kernel = kernel(fusion, &mut bind);
                    bind.check(name, second_half)?;
                    let scratch = kernel.scratch_size();
                    let shared = &mut shared[usize::from(second_half)];
                    *shared = scratch.shared.max(*shared);
                    per_thread = scratch.per_thread.max(per_thread);
                    table_bytes += scratch.tables;
                    steps.push(CpuStep { name, ops: ops.clone(), kernel });
                }
            }
            programs.push(CpuProgram { steps, phases: phases.phases });
        }
        let scratch = [shared[0], shared[1], per_thread.saturating_mul(pool.current_num_threads())];
        let scratch = sum(&scratch).saturating_mul(size_of::<f32>());
        expect_memory(sum(&[persistent_bytes, temporary_bytes, tables, scratch]))?;
        let [first, second] =
            shared.map(|len| Block::new(len * size_of::<f32>(), "scratch memory"));
        let shared = [first?, second?];
        let buffers = ThreadBuffers::new(pool.current_num_threads(), per_thread)?;
        let scratch = shared[0].bytes() + shared[1].bytes() + buffers.bytes() + table_bytes;
        let memory =
            Memory { persistent: persistent.bytes(), temporary: temporary.bytes() + scratch };
        Ok(Self {
            pool,
            tensors,
            offsets,
            programs,
            shared,
            buffers,
            _temporary: temporary,
            persistent,
            memory,
        })
    }

    fn program(&mut self, program: ProgramId) -> Result<Running<'_>, CpuError> {
        let programs = self.programs.len();
        let Some(program) = self.programs.get_mut(program.0) else {
            return Err(CpuError::NoProgram { index: program.0, programs });
        };
        let buffers = &self.buffers;
        let halves = self.shared.each_mut().map(|block| {
            let len = block.bytes() / size_of::<f32>();
            Workspace { shared: block.slice_mut(0, len), buffers }
        });
        Ok(Running { program, halves, pool: &self.pool })
    }

    /// The offset of a persistent tensor, whose type and length are these.
    fn find<T: Element>(&self, id: TensorId, len: usize) -> Result<usize, CpuError> {
        let tensor = &self.tensors[id];
        let name = || tensor.name.clone();
        if !tensor.is_persistent() {
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

/// A program and all that it needs to run.
struct Running<'a> {
    program: &'a mut CpuProgram,
    /// Scratch memory of each half of a phase.
    halves: [Workspace<'a>; 2],
    pool: &'a ThreadPool,
}

impl Running<'_> {
    /// Runs phase by phase.
    fn run(self) {
        let Self { program: CpuProgram { steps, phases }, halves: [mut one, mut two], pool } = self;
        let go = |steps: &mut [CpuStep], work: &mut Workspace<'_>| {
            steps.iter_mut().for_each(|step| step.kernel.run(work));
        };
        pool.install(|| {
            for phase in &*phases {
                let steps = &mut steps[phase.begin..phase.end];
                let (first, second) = steps.split_at_mut(phase.middle - phase.begin);
                // A half that is empty is not worth waking a thread.
                match (first.is_empty(), second.is_empty()) {
                    (false, false) => {
                        rayon::join(|| go(first, &mut one), || go(second, &mut two));
                    }
                    (_, true) => go(first, &mut one),
                    (true, false) => go(second, &mut two),
                }
            }
        });
    }

    /// Runs one step after the other, and measures each.
    fn profile(self) -> Vec<StepTime> {
        let Self { program: CpuProgram { steps, phases }, halves: [mut one, mut two], pool } = self;
        pool.install(|| {
            let mut times = Vec::with_capacity(steps.len());
            for phase in &*phases {
                for (at, step) in (phase.begin..).zip(&mut steps[phase.begin..phase.end]) {
                    let start = Instant::now();
                    step.kernel.run(if at < phase.middle { &mut one } else { &mut two });
                    let time = start.elapsed();
                    times.push(StepTime { name: step.name, ops: step.ops.clone(), time });
                }
            }
            times
        })
    }
}

/// The steps of each program, their phases on so many threads, and the memory plan of their temporaries.
fn plans(set: &ProgramSet, threads: usize) -> Vec<(Vec<FusedOp<'_>>, Phases, MemoryPlan)> {
    let tensors = set.tensors();
    let plan = |program| {
        let (steps, phases) = schedule(tensors, program, threads);
        let plan = plan_memory_in(tensors, &steps, &phases, |id: TensorId| tensors[id].bytes());
        (steps, phases, plan)
    };
    set.programs().iter().map(plan).collect()
}

/// A program's steps, and their phases on so many threads.
fn schedule<'p>(
    tensors: &'p Tensors,
    program: &'p Program,
    threads: usize,
) -> (Vec<FusedOp<'p>>, Phases) {
    let steps = fuse(tensors, program.ops(), &CpuCapabilities(tensors));
    // One thread does one thing at a time, and has the smaller plan.
    if threads == 1 {
        let phases = Phases::in_order(steps.len());
        return (steps, phases);
    }
    let parts: Vec<Part> = steps.iter().map(|step| program.parts()[step.ops[0]]).collect();
    let nodes: Vec<Node> = steps.iter().map(|step| step.node.clone()).collect();
    let phases = Phases::new(&nodes, &parts, tensors);
    let mut steps: Vec<Option<FusedOp<'_>>> = steps.into_iter().map(Some).collect();
    let steps = phases.order.iter().filter_map(|&step| steps[step].take()).collect();
    (steps, phases)
}

/// Checks that the machine can give so many bytes.
fn expect_memory(needed: usize) -> Result<(), CpuError> {
    match available_memory() {
        Some(available) if needed > available => Err(CpuError::TooLarge { needed, available }),
        _ => Ok(()),
    }
}

/// The persistent tensors one after the other: their offsets, and the bytes of all.
fn place_persistent(tensors: &Tensors) -> (Vec<usize>, usize) {
    let mut bytes = 0;
    let offsets = tensors
        .iter()
        .map(|(_, tensor)| {
            if !tensor.is_persistent() {
                // Never asked for: a temporary that a program uses has a place in its plan.
                return usize::MAX;
            }
            let offset = bytes;
            bytes += tensor.bytes().next_multiple_of(ALIGNMENT);
            offset
        })
        .collect();
    (offsets, bytes)
}

impl Executable for CpuExecutable {
    fn upload(&mut self, tensor: TensorId, data: TensorData<'_>) -> Result<(), BackendError> {
        match data {
            TensorData::Real(data) => self.write(tensor, data)?,
            TensorData::U32(data) => self.write(tensor, data)?,
            TensorData::U8(data) => self.write(tensor, data)?,
        }
        Ok(())
    }

    fn download(&self, tensor: TensorId, data: TensorDataMut<'_>) -> Result<(), BackendError> {
        match data {
            TensorDataMut::Real(data) => self.read(tensor, data)?,
            TensorDataMut::U32(data) => self.read(tensor, data)?,
            TensorDataMut::U8(data) => self.read(tensor, data)?,
        }
        Ok(())
    }

    fn run(&mut self, program: ProgramId) -> Result<(), BackendError> {
        self.program(program)?.run();
        Ok(())
    }

    fn profile(&mut self, program: ProgramId) -> Result<Vec<StepTime>, BackendError> {
        Ok(self.program(program)?.profile())
    }

    fn memory(&self) -> Memory {
        self.memory
    }
}

impl std::fmt::Debug for CpuExecutable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |steps: &[CpuStep]| steps.iter().map(|step| step.name).collect();
        let halves = |program: &CpuProgram| -> Vec<[Vec<&str>; 2]> {
            let of = |&Phase { begin, middle, end }: &Phase| {
                [names(&program.steps[begin..middle]), names(&program.steps[middle..end])]
            };
            program.phases.iter().map(of).collect()
        };
        let programs: Vec<_> = self.programs.iter().map(halves).collect();
        f.debug_struct("CpuExecutable")
            .field("memory", &self.memory)
            .field("programs", &programs)
            .finish_non_exhaustive()
    }
}
