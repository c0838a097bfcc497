//! A small program with its inputs, run on a backend and compared with the reference.

use std::error::Error;

use lfnn_core::backend::{Backend, Executable, TensorData, TensorDataMut};
use lfnn_core::program::{DType, Op, ProgramId, ProgramSet, TensorId, step_counter};

use crate::compare::{Contents, Tolerance};
use crate::reference::{Reference, ReferenceExecutable};
use crate::source::Source;
use crate::under_test;

/// A program under construction, its persistent tensors filled.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where further contents are drawn from.
    pub source: Source,
    /// How often the program is run.
    pub runs: usize,
    set: ProgramSet,
    ops: Vec<Op>,
    contents: Vec<(TensorId, Contents)>,
}

/// Names and contents of all persistent tensors after a run.
pub type Results = Vec<(String, Contents)>;

impl Case {
    /// An empty program, run once.
    pub fn new(seed: u64) -> Self {
        Self {
            source: Source::new(seed),
            runs: 1,
            set: ProgramSet::new(),
            ops: Vec::new(),
            contents: Vec::new(),
        }
    }

    fn fill(&mut self, name: &str, dtype: DType, shape: &[usize], contents: Contents) -> TensorId {
        let id = self.set.persistent(name, dtype, shape);
        self.contents.push((id, contents));
        id
    }

    /// A real tensor with these values.
    pub fn real(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> TensorId {
        self.fill(name, DType::Real, shape, Contents::Real(values))
    }

    /// A real tensor with values between −1 and 1.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.input_between(name, shape, -1.0, 1.0)
    }

    /// A real tensor with values from a range.
    pub fn input_between(&mut self, name: &str, shape: &[usize], low: f64, high: f64) -> TensorId {
        let values = self.source.reals(shape.iter().product(), low, high);
        self.real(name, shape, values)
    }

    /// A tensor of whole numbers with these values.
    pub fn whole(&mut self, name: &str, shape: &[usize], values: Vec<u32>) -> TensorId {
        self.fill(name, DType::U32, shape, Contents::Whole(values))
    }

    /// A tensor of whole numbers below `n`.
    pub fn whole_below(&mut self, name: &str, shape: &[usize], n: u32) -> TensorId {
        let values = (0..shape.iter().product()).map(|_| self.source.below(n)).collect();
        self.whole(name, shape, values)
    }

    /// A tensor of bytes with these values.
    pub fn bytes(&mut self, name: &str, shape: &[usize], values: Vec<u8>) -> TensorId {
        self.fill(name, DType::U8, shape, Contents::Bytes(values))
    }

    /// A tensor for a result. It holds values that show where it is not written.
    pub fn output_of(&mut self, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        let length = shape.iter().product();
        let poison = match dtype {
            DType::Real => Contents::Real(vec![f32::NAN; length]),
            DType::U32 => Contents::Whole(vec![0xDEAD_BEEF; length]),
            DType::U8 => Contents::Bytes(vec![0xFF; length]),
        };
        self.fill(name, dtype, shape, poison)
    }

    /// A real tensor for a result.
    pub fn output(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.output_of(name, DType::Real, shape)
    }

    /// A temporary tensor.
    pub fn temporary(&mut self, name: &str, dtype: DType, shape: &[usize]) -> TensorId {
        self.set.build("").temporary(name, dtype, shape)
    }

    /// A step counter at this epoch and step, with the given count of examples, a random seed and a
    /// random time.
    pub fn counter(&mut self, epoch: u32, step: u32, count: u32) -> TensorId {
        let mut values = vec![0; step_counter::LEN];
        values[step_counter::SEED_LOW] = self.source.word();
        values[step_counter::SEED_HIGH] = self.source.word();
        values[step_counter::EPOCH] = epoch;
        values[step_counter::STEP] = step;
        values[step_counter::TIME] = step + self.source.below(1000);
        values[step_counter::COUNT] = count;
        self.whole("step_counter", &[step_counter::LEN], values)
    }

    /// A step counter at some epoch and step.
    pub fn any_counter(&mut self) -> TensorId {
        let (epoch, step) = (self.source.below(3), self.source.below(5));
        self.counter(epoch, step, u32::MAX)
    }

    /// Appends an operation.
    pub fn push(&mut self, op: impl Into<Op>) {
        self.ops.push(op.into());
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> Vec<usize> {
        self.set.tensors()[id].shape.clone()
    }

    /// Closes the program that was written so far; what is pushed next belongs to another one, which
    /// shares the tensors.
    ///
    /// # Errors
    /// A program that is not well formed.
    pub fn finish(&mut self) -> Result<ProgramId, String> {
        let mut builder = self.set.build("case");
        self.ops.drain(..).for_each(|op| builder.push(op));
        builder.finish().map_err(said)
    }

    /// Compiles the programs that were finished on the reference and uploads all contents.
    ///
    /// # Errors
    /// What the backend says.
    pub fn on_reference(&self) -> Result<ReferenceExecutable, String> {
        let mut executable = ReferenceExecutable::new(&self.set, None);
        self.upload(&mut executable)?;
        Ok(executable)
    }

    /// The contents given to a tensor.
    pub fn contents(&self) -> &[(TensorId, Contents)] {
        &self.contents
    }

    /// The tensors and the finished programs.
    pub fn set(&self) -> &ProgramSet {
        &self.set
    }

    /// Compiles the finished programs on a backend and uploads all contents.
    ///
    /// # Errors
    /// What the backend says.
    pub fn compile(&self, backend: &dyn Backend) -> Result<Box<dyn Executable>, String> {
        let mut executable = backend.compile(&self.set).map_err(said)?;
        self.upload(&mut *executable)?;
        Ok(executable)
    }

    /// Uploads all contents.
    ///
    /// # Errors
    /// What the backend says.
    pub fn upload(&self, executable: &mut dyn Executable) -> Result<(), String> {
        for (id, contents) in &self.contents {
            let data = match contents {
                Contents::Real(values) => TensorData::Real(values),
                Contents::Whole(values) => TensorData::U32(values),
                Contents::Bytes(values) => TensorData::U8(values),
            };
            executable.upload(*id, data).map_err(said)?;
        }
        Ok(())
    }

    /// Runs the case on a backend.
    ///
    /// # Errors
    /// A program that is not well formed, or what the backend says.
    pub fn run(&self, backend: &dyn Backend) -> Result<Results, String> {
        let mut case = self.clone();
        let program = case.finish()?;
        let mut executable = case.compile(backend)?;
        for _ in 0..self.runs {
            executable.run(program).map_err(said)?;
        }
        case.contents.iter().map(|(id, before)| case.download(&*executable, *id, before)).collect()
    }

    fn download(
        &self,
        executable: &dyn Executable,
        id: TensorId,
        like: &Contents,
    ) -> Result<(String, Contents), String> {
        let mut contents = like.clone();
        let data = match &mut contents {
            Contents::Real(values) => TensorDataMut::Real(values),
            Contents::Whole(values) => TensorDataMut::U32(values),
            Contents::Bytes(values) => TensorDataMut::U8(values),
        };
        executable.download(id, data).map_err(said)?;
        Ok((self.set.tensors()[id].name.clone(), contents))
    }

    /// Runs the case on the backend under test and on the reference, and compares every persistent
    /// tensor.
    ///
    /// # Errors
    /// A sentence that names what differs, or what went wrong.
    pub fn agrees(&self, tolerance: Tolerance) -> Result<(), String> {
        // An odd number: two threads of the CPU, or an order of the emulator's that differs from case to case.
        let how = u64::from(self.source.clone().word()) | 1;
        let actual = under_test::run(self, how)?;
        let reference = self.run(&Reference)?;
        compare(&actual, &reference, tolerance.in_precision(under_test::precision()))
    }
}

/// Compares all tensors.
///
/// # Errors
/// A sentence that names the first element that differs.
pub fn compare(actual: &Results, reference: &Results, tolerance: Tolerance) -> Result<(), String> {
    for ((name, actual), (_, reference)) in actual.iter().zip(reference) {
        tolerance.check(name, actual, reference)?;
    }
    Ok(())
}

/// What an error and its causes say.
fn said(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
