//! What a plan consists of: launches and products with their operands, as plain data.

use std::collections::BTreeSet;
use std::fmt;

use lfnn_core::backend::Precision;
use lfnn_core::program::TensorId;

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// IEEE single precision.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// Unsigned whole numbers of 32 bits.
    U32,
    /// Bytes.
    U8,
}

impl Element {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 | Element::U32 => 4,
            Element::Bf16 | Element::F16 => 2,
            Element::U8 => 1,
        }
    }

    /// As many as one access of 16 bytes moves: `PACK` of the kernels.
    pub(crate) const fn pack(self) -> usize {
        16 / self.bytes()
    }
}

/// A program set as launches and products.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its arithmetic.
    pub precision: Precision,
    /// For each tensor of the program set, how its elements are stored.
    pub elements: Vec<Element>,
    /// For each tensor of the program set, its offset in the block of persistent tensors; none for
    /// temporaries.
    pub persistent: Vec<Option<usize>>,
    /// Bytes of the block of persistent tensors and of the loss scales that follow them.
    pub persistent_bytes: usize,
    /// Where the loss scales begin in that block.
    pub loss_scales: usize,
    /// The programs, indexed by `ProgramId`.
    pub programs: Vec<ProgramPlan>,
}

impl Plan {
    /// The kernel files that it needs.
    pub fn sources(&self) -> BTreeSet<KernelSource> {
        let steps = self.programs.iter().flat_map(|program| &program.steps);
        let sources = steps.filter_map(|step| match &step.work {
            Work::Launch(launch) => Some(launch.source),
            Work::Product(_) => None,
        });
        sources.collect()
    }
}

/// A program as launches and products.
#[derive(Clone, Debug)]
pub struct ProgramPlan {
    /// The program's name.
    pub name: String,
    /// What is done, in an order that respects every dependency.
    pub steps: Vec<Step>,
    /// For each tensor of the program set, its offset in the block of temporaries; none for persistent
    /// tensors and those that the program does not use.
    pub temporaries: Vec<Option<usize>>,
    /// Bytes of the block of temporaries.
    pub temporary_bytes: usize,
    /// Bytes of scratch memory that the steps of one stream need.
    pub scratch_bytes: usize,
    /// How many streams the steps use.
    pub streams: usize,
}

/// One launch or product.
#[derive(Clone, Debug)]
pub struct Step {
    /// The operation that it belongs to, or the operations that were made one: for profiles and messages.
    pub name: &'static str,
    /// Positions of those operations in the program.
    pub ops: Vec<usize>,
    /// What is done.
    pub work: Work,
    /// Which stream it belongs to: steps of one stream run in order.
    pub stream: usize,
    /// Earlier steps of other streams, by position, that must be done before.
    pub after: Vec<usize>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Runs a kernel of the crate.
    Launch(Launch),
    /// A matrix product of the vendor's library.
    Product(Product),
}

/// A kernel file, by its name without `.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelFile(pub &'static str);

/// A kernel file as it is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelSource {
    /// The file.
    pub file: KernelFile,
    /// The type of activations, `act_t`: [`Element::F32`], [`Element::Bf16`] or [`Element::F16`].
    pub act: Element,
}

impl fmt::Display for KernelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.cu, act_t = {:?}", self.file.0, self.act)
    }
}

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// What the kernel is in.
    pub source: KernelSource,
    /// The kernel's name: an `extern "C" __global__` function.
    pub kernel: &'static str,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block in each direction.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Arguments in order.
    pub arguments: Vec<Argument>,
}

/// An address on the device, before memory is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// The first element of a tensor, plus this many bytes.
    Tensor(TensorId, usize),
    /// An offset in bytes in the scratch memory of the step's stream. It keeps its contents only between the
    /// steps of one operation.
    Scratch(usize),
    /// An offset in bytes in the loss scales, which follow the persistent tensors and start as zeros.
    LossScale(usize),
}

impl Address {
    /// The address this many bytes later.
    pub(super) fn plus(self, bytes: usize) -> Self {
        match self {
            Address::Tensor(id, offset) => Address::Tensor(id, offset + bytes),
            Address::Scratch(offset) => Address::Scratch(offset + bytes),
            Address::LossScale(offset) => Address::LossScale(offset + bytes),
        }
    }
}

/// An argument of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A pointer, or a null pointer where an operand is missing.
    Pointer(Option<Address>),
    /// A whole number.
    U32(u32),
    /// A real number.
    F32(f32),
    /// A structure passed by value.
    Struct(StructBytes),
}

impl Argument {
    /// The bytes that the kernel receives; `resolve` gives the number of an address.
    pub(crate) fn bytes(&self, mut resolve: impl FnMut(Address) -> u64) -> Vec<u8> {
        match self {
            Argument::Pointer(address) => address.map_or(0, resolve).to_ne_bytes().to_vec(),
            Argument::U32(value) => value.to_ne_bytes().to_vec(),
            Argument::F32(value) => value.to_ne_bytes().to_vec(),
            Argument::Struct(StructBytes { bytes, pointers }) => {
                let mut bytes = bytes.clone();
                for (at, address) in pointers {
                    bytes[*at..][..8].copy_from_slice(&resolve(*address).to_ne_bytes());
                }
                bytes
            }
        }
    }
}

/// A structure as a kernel receives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StructBytes {
    /// Its bytes. Pointers in it are zeros until the plan is bound.
    pub bytes: Vec<u8>,
    /// Where its pointers are in the bytes, and what they point to.
    pub pointers: Vec<(usize, Address)>,
}

/// A factor or the result of a product: a matrix, or a stack of them, stored by rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix {
    /// Its first element.
    pub address: Address,
    /// How elements are stored.
    pub element: Element,
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one matrix of the stack to the next.
    pub stack_stride: usize,
    /// Whether the factor is the transpose of what is stored.
    pub transposed: bool,
}

/// `d = a b`, or `d = a b + bias`: `a` is `[rows, inner]`, `b` `[inner, columns]` after transposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Rows of `d`.
    pub rows: usize,
    /// Columns of `d`.
    pub columns: usize,
    /// The axis that is summed over.
    pub inner: usize,
    /// Number of products in the stack.
    pub stack: usize,
    /// First factor.
    pub a: Matrix,
    /// Second factor.
    pub b: Matrix,
    /// Result.
    pub d: Matrix,
    /// Added to every row: `columns` numbers in single precision, `columns` further ones for
    /// each matrix of the stack.
    pub bias: Option<Address>,
    /// Whether factors stored in single precision may be rounded to TF32.
    pub tf32: bool,
}
