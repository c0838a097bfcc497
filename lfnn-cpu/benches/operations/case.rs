//! A program of one operation, or of a few that become one kernel, with its inputs.

use std::error::Error;

use criterion::{BenchmarkId, Criterion, Throughput};
use lfnn_core::backend::{Backend, StepTime, TensorData};
use lfnn_core::program::{Cost, DType, Op, Operation, ProgramSet, TensorId, step_counter};
use lfnn_core::random::{Purpose, Stream, below, unit};
use lfnn_cpu::Cpu;

/// Images in a batch.
pub(crate) const BATCH: usize = 128;

/// Where cases are run.
pub(crate) struct Suite {
    pub(crate) criterion: Criterion,
    /// Numbers of threads, and a backend with each.
    pub(crate) devices: Vec<(String, Cpu)>,
}

/// A program and what is in its tensors.
#[derive(Default)]
pub(crate) struct Case {
    set: ProgramSet,
    ops: Vec<Op>,
    contents: Vec<(TensorId, Contents)>,
}

enum Contents {
    Real(Vec<f32>),
    Whole(Vec<u32>),
    Bytes(Vec<u8>),
}

impl Case {
    /// A real tensor with random values from a range.
    pub(crate) fn between(&mut self, shape: &[usize], low: f32, high: f32) -> TensorId {
        let draw = |word: u32| low + (high - low) * unit(word) as f32;
        let values = words(shape).map(draw).collect();
        self.fill(DType::Real, shape, Contents::Real(values))
    }

    /// A real tensor with random values between −1 and 1.
    pub(crate) fn input(&mut self, shape: &[usize]) -> TensorId {
        self.between(shape, -1.0, 1.0)
    }

    /// Whole numbers below `n`.
    pub(crate) fn whole_below(&mut self, shape: &[usize], n: u32) -> TensorId {
        let values = words(shape).map(|word| below(word, n)).collect();
        self.fill(DType::U32, shape, Contents::Whole(values))
    }

    /// Bytes below `n`.
    pub(crate) fn bytes_below(&mut self, shape: &[usize], n: u8) -> TensorId {
        let values = words(shape).map(|word| below(word, u32::from(n)) as u8).collect();
        self.fill(DType::U8, shape, Contents::Bytes(values))
    }

    /// A step counter at the first step.
    pub(crate) fn counter(&mut self) -> TensorId {
        let mut now = step_counter::start(1);
        now[step_counter::COUNT] = BATCH as u32;
        self.fill(DType::U32, &[step_counter::LEN], Contents::Whole(now.to_vec()))
    }

    /// A real tensor for a result.
    pub(crate) fn output(&mut self, shape: &[usize]) -> TensorId {
        self.output_of(DType::Real, shape)
    }

    /// A tensor for a result.
    pub(crate) fn output_of(&mut self, dtype: DType, shape: &[usize]) -> TensorId {
        self.set.persistent("output", dtype, shape)
    }

    /// A real tensor between operations that become one.
    pub(crate) fn between_operations(&mut self, shape: &[usize]) -> TensorId {
        self.set.build("").real("between", shape)
    }

    /// Appends an operation.
    pub(crate) fn push(&mut self, op: impl Into<Op>) {
        self.ops.push(op.into());
    }

    fn fill(&mut self, dtype: DType, shape: &[usize], contents: Contents) -> TensorId {
        let id = self.set.persistent("input", dtype, shape);
        self.contents.push((id, contents));
        id
    }
}

/// Random words, the same in every run.
fn words(shape: &[usize]) -> impl Iterator<Item = u32> {
    let count: usize = shape.iter().product();
    let blocks = count.div_ceil(4) as u32;
    let stream = Stream::new(Purpose::Init, 0);
    (0..blocks).flat_map(move |block| stream.block(0, 0, 0, block)).take(count)
}

impl Suite {
    /// Measures a case with every number of threads, under the name of the one kernel that it becomes: products by
    /// their multiplications and additions, which criterion calls elements, the rest by the bytes of every tensor that
    /// the single operations would read or write.
    ///
    /// # Errors
    /// A case that becomes several kernels: what is to be measured as one is no longer done as one.
    pub(crate) fn measure(&mut self, shape: &str, case: Case) -> Result<(), Box<dyn Error>> {
        let Case { mut set, ops, contents } = case;
        let Cost { flops, bytes } = ops.iter().map(|op| op.cost(set.tensors())).sum();
        let mut builder = set.build("operation");
        for op in ops {
            builder.push(op);
        }
        let program = builder.finish()?;
        let throughput =
            if flops > 0 { Throughput::Elements(flops) } else { Throughput::Bytes(bytes) };
        for (threads, cpu) in &self.devices {
            let mut executable = cpu.compile(&set)?;
            for (id, contents) in &contents {
                let data = match contents {
                    Contents::Real(values) => TensorData::Real(values),
                    Contents::Whole(values) => TensorData::U32(values),
                    Contents::Bytes(values) => TensorData::U8(values),
                };
                executable.upload(*id, data)?;
            }
            // Whatever can fail does so here.
            let steps = executable.profile(program)?;
            let [StepTime { name, .. }] = &steps[..] else {
                let names: Vec<_> = steps.iter().map(|step| step.name).collect();
                return Err(format!("{shape}: expected one kernel, found {names:?}").into());
            };
            let mut group = self.criterion.benchmark_group(*name);
            group.throughput(throughput.clone());
            group.bench_function(BenchmarkId::from_parameter(format!("{shape}, {threads}")), |b| {
                b.iter(|| executable.run(program));
            });
            group.finish();
        }
        Ok(())
    }
}
