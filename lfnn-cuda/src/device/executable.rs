//! A plan on a GPU: memory allocated once, arguments bound once, steps captured once, then replayed.
//!
//! The first run of a program launches its steps one by one, so that libraries load what they load at first use
//! and a failing launch is named. The second captures the same launches as a CUDA graph. From then on
//! a run is one call. Nothing in a run allocates or waits for the device.
//! A profile launches step by step again, with an event after each.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use lfnn_core::backend::{BackendError, Executable, Memory, StepTime, TensorData, TensorDataMut};
use lfnn_core::program::{DType, ProgramId, TensorId, Tensors};

use super::capture;
use super::cublaslt::{BoundProduct, Handle};
use super::driver::{Block, Call, Context, Event, Graph, Kernels, Stream};
use super::error::CudaError;
use crate::host;
use crate::plan::{Address, KernelSource, Launch, Plan, ProgramPlan, Work};

/// Memory of streams begins at multiples of this many bytes, as the driver's own allocations do.
const STREAM_ALIGNMENT: usize = 256;

/// A program set with its memory on a GPU.
#[derive(Debug)]
pub struct CudaExecutable {
    programs: Vec<Bound>,
    // What the programs point into, and must outlive them.
    _kernels: BTreeMap<KernelSource, Kernels>,
    persistent: Block,
    _temporary: Block,
    _scratch: Block,
    workspace: Block,
    streams: Vec<Stream>,
    tensors: Tensors,
    offsets: Vec<Option<usize>>,
    memory: Memory,
    context: Rc<Context>,
}

/// A program with everything that a run needs.
#[derive(Debug)]
struct Bound {
    steps: Vec<BoundStep>,
    /// Where the first stream begins, and where each further one ends.
    fork: Event,
    joins: Vec<Event>,
    /// Captured in the second run.
    graph: Option<Graph>,
    has_run: bool,
}

#[derive(Debug)]
struct BoundStep {
    name: &'static str,
    /// Positions of its operations in the program.
    ops: Vec<usize>,
    work: BoundWork,
    stream: usize,
    /// Steps of other streams that must be done before.
    after: Vec<usize>,
    /// Recorded when it is done, if another stream waits for it.
    done: Option<Event>,
}

#[derive(Debug)]
enum BoundWork {
    Launch(Call),
    Product(BoundProduct),
}

/// The addresses of a plan's blocks.
struct Addresses<'a> {
    plan: &'a Plan,
    persistent: u64,
    temporary: u64,
    scratch: u64,
    /// Bytes of scratch memory from one stream to the next.
    scratch_stride: usize,
}

impl Addresses<'_> {
    fn of(&self, address: Address, program: &ProgramPlan, stream: usize) -> u64 {
        match address {
            Address::Scratch(offset) => {
                self.scratch + (stream * self.scratch_stride + offset) as u64
            }
            Address::LossScale(offset) => self.persistent + (self.plan.loss_scales + offset) as u64,
            Address::Tensor(id, more) => {
                let temporary = program.temporaries[id.index()];
                let base = match (self.plan.persistent[id.index()], temporary) {
                    (Some(offset), _) => self.persistent + offset as u64,
                    (None, Some(offset)) => self.temporary + offset as u64,
                    // A plan has memory for every tensor that its steps name.
                    (None, None) => unreachable!("{id:?} has no memory in {}", program.name),
                };
                base + more as u64
            }
        }
    }
}

impl CudaExecutable {
    /// Allocates, loads and binds. `images` has the compiled kernels of every file that the plan needs.
    pub(super) fn new(
        context: &Rc<Context>,
        products: &Rc<Handle>,
        plan: &Plan,
        tensors: &Tensors,
        images: &[(KernelSource, Vec<u8>)],
    ) -> Result<Self, CudaError> {
        context.make_current()?;
        let count = plan.programs.iter().map(|program| program.streams).max().unwrap_or(1).max(1);
        let streams = (0..count).map(|_| Stream::new(context)).collect::<Result<Vec<_>, _>>()?;
        let block = |bytes, what| Block::new(context, &streams[0], bytes, what);
        let largest =
            |of: fn(&ProgramPlan) -> usize| plan.programs.iter().map(of).max().unwrap_or(0);
        let persistent = block(plan.persistent_bytes, "parameters and data")?;
        let temporary = block(largest(|program| program.temporary_bytes), "the tensors of a step")?;
        let scratch_stride =
            largest(|program| program.scratch_bytes).next_multiple_of(STREAM_ALIGNMENT);
        let scratch = block(count * scratch_stride, "scratch memory")?;

        let mut kernels = BTreeMap::new();
        for (source, image) in images {
            kernels.insert(*source, Kernels::load(context, image, &source.to_string())?);
        }
        let addresses = Addresses {
            plan,
            persistent: persistent.address(),
            temporary: temporary.address(),
            scratch: scratch.address(),
            scratch_stride,
        };
        let programs = plan
            .programs
            .iter()
            .map(|program| Bound::new(context, products, program, &addresses, &kernels, count))
            .collect::<Result<Vec<_>, _>>()?;
        let wanted =
            programs.iter().flat_map(|program| &program.steps).map(|step| match &step.work {
                BoundWork::Product(product) => product.workspace(),
                BoundWork::Launch(_) => 0,
            });
        let stride = wanted.max().unwrap_or(0).next_multiple_of(STREAM_ALIGNMENT);
        let workspace = block(count * stride, "matrix products")?;
        streams[0].synchronize()?;
        let memory = Memory {
            persistent: persistent.bytes(),
            temporary: temporary.bytes() + scratch.bytes() + workspace.bytes(),
        };
        Ok(Self {
            programs,
            _kernels: kernels,
            persistent,
            _temporary: temporary,
            _scratch: scratch,
            workspace,
            streams,
            tensors: tensors.clone(),
            offsets: plan.persistent.clone(),
            memory,
            context: context.clone(),
        })
    }

    /// The offset of a persistent tensor, whose type and length are these.
    fn find(&self, id: TensorId, found: DType, len: usize) -> Result<usize, CudaError> {
        let tensor = &self.tensors[id];
        let name = || tensor.name.clone();
        let (true, Some(offset)) = (tensor.is_persistent(), self.offsets[id.index()]) else {
            return Err(CudaError::Temporary { name: name() });
        };
        if tensor.dtype != found {
            return Err(CudaError::Type { name: name(), expected: tensor.dtype, found });
        }
        if tensor.len() != len {
            return Err(CudaError::Length { name: name(), expected: tensor.len(), found: len });
        }
        Ok(offset)
    }

    /// Waits until everything that was run is done: for whoever measures time.
    ///
    /// # Errors
    /// A failure of an earlier run.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.context.make_current()?;
        self.streams[0].synchronize()
    }
}

impl Bound {
    fn new(
        context: &Rc<Context>,
        products: &Rc<Handle>,
        program: &ProgramPlan,
        addresses: &Addresses<'_>,
        kernels: &BTreeMap<KernelSource, Kernels>,
        streams: usize,
    ) -> Result<Self, CudaError> {
        let mut awaited = vec![false; program.steps.len()];
        for step in &program.steps {
            for &other in &step.after {
                awaited[other] = true;
            }
        }
        let mut steps = Vec::with_capacity(program.steps.len());
        for (step, awaited) in program.steps.iter().zip(awaited) {
            let address = |address| addresses.of(address, program, step.stream);
            let work = match &step.work {
                Work::Launch(launch) => BoundWork::Launch(bind(launch, kernels, address)?),
                Work::Product(product) => {
                    BoundWork::Product(BoundProduct::new(products, product, address)?)
                }
            };
            let done = awaited.then(|| Event::new(context)).transpose()?;
            steps.push(BoundStep {
                name: step.name,
                ops: step.ops.clone(),
                work,
                stream: step.stream,
                after: step.after.clone(),
                done,
            });
        }
        let joins = (1..streams).map(|_| Event::new(context)).collect::<Result<_, _>>()?;
        Ok(Self { steps, fork: Event::new(context)?, joins, graph: None, has_run: false })
    }

    /// Launches every step on its stream.
    fn launch(&mut self, streams: &[Stream], workspace: &Block) -> Result<(), CudaError> {
        let stride = workspace.bytes() / streams.len();
        let (first, others) = streams.split_at(1);
        if !others.is_empty() {
            first[0].record(&self.fork)?;
            for stream in others {
                stream.wait(&self.fork)?;
            }
        }
        for index in 0..self.steps.len() {
            let (before, rest) = self.steps.split_at_mut(index);
            let step = &mut rest[0];
            let stream = &streams[step.stream];
            for event in step.after.iter().filter_map(|&other| before[other].done.as_ref()) {
                stream.wait(event)?;
            }
            step.launch(stream, workspace.address(), stride)?;
            if let Some(event) = &step.done {
                stream.record(event)?;
            }
        }
        for (stream, event) in others.iter().zip(&self.joins) {
            stream.record(event)?;
            first[0].wait(event)?;
        }
        Ok(())
    }
}

impl BoundStep {
    /// Launches it on a stream; each stream has `stride` bytes of the workspace.
    fn launch(&mut self, stream: &Stream, workspace: u64, stride: usize) -> Result<(), CudaError> {
        match &mut self.work {
            BoundWork::Launch(call) => call.launch(stream),
            BoundWork::Product(product) => {
                product.launch(stream, workspace + (self.stream * stride) as u64)
            }
        }
    }
}

/// A kernel with its arguments where the driver reads them.
pub(super) fn bind(
    launch: &Launch,
    kernels: &BTreeMap<KernelSource, Kernels>,
    address: impl Fn(Address) -> u64,
) -> Result<Call, CudaError> {
    let file = launch.source.file.0;
    let kernels = kernels.get(&launch.source).ok_or(CudaError::NoKernelFile { file })?;
    let function = kernels.function(launch.kernel, launch.shared)?;

    const WORD: usize = size_of::<u128>();
    let values: Vec<Vec<u8>> =
        launch.arguments.iter().map(|argument| argument.bytes(&address)).collect();
    let words = values.iter().map(|value| value.len().div_ceil(WORD)).sum();
    let mut storage = vec![0_u128; words].into_boxed_slice();
    let mut at = 0;
    let mut starts = Vec::with_capacity(values.len());
    for value in &values {
        bytemuck::cast_slice_mut(&mut storage)[at * WORD..][..value.len()].copy_from_slice(value);
        starts.push(at);
        at += value.len().div_ceil(WORD);
    }
    let base = storage.as_mut_ptr();
    let arguments = starts.into_iter().map(|start| base.wrapping_add(start).cast()).collect();
    let Launch { kernel, grid, block, shared, .. } = *launch;
    Ok(Call { name: kernel, function, grid, block, shared, arguments, _storage: storage })
}

impl Executable for CudaExecutable {
    fn upload(&mut self, tensor: TensorId, data: TensorData<'_>) -> Result<(), BackendError> {
        self.context.make_current()?;
        let (dtype, len, bytes) = host::bytes(data);
        let offset = self.find(tensor, dtype, len)?;
        Ok(self.persistent.write(&self.streams[0], offset, bytes)?)
    }

    fn download(&self, tensor: TensorId, data: TensorDataMut<'_>) -> Result<(), BackendError> {
        self.context.make_current()?;
        let (dtype, len, bytes) = host::bytes_mut(data);
        let offset = self.find(tensor, dtype, len)?;
        Ok(self.persistent.read(&self.streams[0], offset, bytes)?)
    }

    fn run(&mut self, program: ProgramId) -> Result<(), BackendError> {
        self.context.make_current()?;
        let programs = self.programs.len();
        let Some(bound) = self.programs.get_mut(program.0) else {
            return Err(CudaError::NoProgram { index: program.0, programs }.into());
        };
        let (streams, workspace) = (&self.streams, &self.workspace);
        if !bound.has_run {
            bound.has_run = true;
            // What is launched for the first time is loaded.
            let _outside = capture::outside();
            return Ok(bound.launch(streams, workspace)?);
        }
        if bound.graph.is_none() {
            let graph = streams[0].capture(|| bound.launch(streams, workspace))?;
            bound.graph = Some(graph);
        }
        match &bound.graph {
            Some(graph) => Ok(streams[0].launch(graph)?),
            None => Ok(()),
        }
    }

    /// The steps run one after the other on one stream, in the order of the plan. A step that is shorter than its
    /// launch shows the launch's time.
    fn profile(&mut self, program: ProgramId) -> Result<Vec<StepTime>, BackendError> {
        self.context.make_current()?;
        let programs = self.programs.len();
        let Some(bound) = self.programs.get_mut(program.0) else {
            return Err(CudaError::NoProgram { index: program.0, programs }.into());
        };
        bound.has_run = true;
        let stream = &self.streams[0];
        let stride = self.workspace.bytes() / self.streams.len();
        let mut before = Event::timed(&self.context)?;
        stream.record(&before)?;
        let mut events = Vec::with_capacity(bound.steps.len());
        let outside = capture::outside();
        for step in &mut bound.steps {
            let event = Event::timed(&self.context)?;
            step.launch(stream, self.workspace.address(), stride)?;
            stream.record(&event)?;
            events.push(event);
        }
        drop(outside);
        stream.synchronize()?;
        let mut times: Vec<StepTime> = Vec::new();
        for (step, event) in bound.steps.iter().zip(events) {
            let time = Duration::from_secs_f64(before.seconds_to(&event)?.max(0.0));
            before = event;
            match times.last_mut() {
                // The launches of one operation, or of several that were made one.
                Some(last) if last.ops == step.ops => last.time += time,
                _ => times.push(StepTime { name: step.name, ops: step.ops.clone(), time }),
            }
        }
        Ok(times)
    }

    fn memory(&self) -> Memory {
        self.memory
    }
}

impl Drop for CudaExecutable {
    fn drop(&mut self) {
        // What is given back now must be given back to its own GPU. A failure leaves nothing to do.
        let _ = self.context.make_current();
    }
}
