//! A module as launches and products: what the device will do, as plain data.
//!
//! Lowering knows every operation's kernels, but no driver: it needs no GPU and no CUDA library.
//! Whoever runs a plan (the device, or the emulator of the tests) allocates the blocks that it asks
//! for and does its steps in order, or so that no step runs before one on which it depends.

mod columns;
mod conv;
mod data;
mod elementwise;
mod fuse;
mod fuse_norm;
mod launch;
mod leaders;
mod linear;
mod losses;
mod lower;
mod metrics;
mod norm;
mod optimize;
mod perturb;
mod pool;
mod product;
mod roles;
mod scale;
pub mod schedule;
mod shape;
mod unit;
mod workers;

#[cfg(feature = "emulator")]
pub use product::force_tile;

pub use lower::{MAX_STREAMS, PlanError, STREAMS};
#[cfg(feature = "emulator")]
pub(crate) use scale::LOSS_SCALE_BYTES;

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

/// A module, lowered.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its arithmetic.
    pub precision: Precision,
    /// For each tensor of the module, how its elements are stored.
    pub elements: Vec<Element>,
    /// For each tensor of the module, its offset in the block of persistent tensors; none for
    /// temporaries.
    pub persistent: Vec<Option<usize>>,
    /// Bytes of the block of persistent tensors, and of the loss scales behind them.
    pub persistent_bytes: usize,
    /// Where the loss scales begin in that block.
    pub loss_scales: usize,
    /// The programs, indexed by `ProgramId`.
    pub programs: Vec<ProgramPlan>,
}

/// A program, lowered.
#[derive(Clone, Debug)]
pub struct ProgramPlan {
    /// The program's name.
    pub name: String,
    /// What is done, in an order that respects every dependence.
    pub steps: Vec<Step>,
    /// For each tensor of the module, its offset in the block of temporaries; none for persistent
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

/// A kernel source file: the kernels of one family of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub &'static str);

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The file that it is in.
    pub family: Family,
    /// The type that stands for `real` when the file is compiled: [`Element::F32`], [`Element::Bf16`]
    /// or [`Element::F16`].
    pub real: Element,
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

/// A place on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first element of a tensor, plus this many bytes.
    Tensor(TensorId, usize),
    /// An offset in bytes in the scratch memory of the step's stream. It holds nothing from one step to
    /// the next but within the steps of one operation.
    Scratch(usize),
    /// An offset in bytes in the block of persistent tensors, behind these: there lie the loss scales, zeros at first.
    Beside(usize),
}

impl Place {
    /// The place this many bytes further on.
    fn beyond(self, bytes: usize) -> Self {
        match self {
            Place::Tensor(id, offset) => Place::Tensor(id, offset + bytes),
            Place::Scratch(offset) => Place::Scratch(offset + bytes),
            Place::Beside(offset) => Place::Beside(offset + bytes),
        }
    }
}

/// An argument of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A pointer.
    Pointer(Place),
    /// A null pointer: an operand that is not there.
    Null,
    /// A whole number.
    U32(u32),
    /// A real number.
    F32(f32),
    /// A `#[repr(C)]` structure passed by value, its bytes. Pointers in it are filled in when the plan is
    /// bound: each is a place and its position in the bytes.
    Struct {
        /// The bytes.
        bytes: Vec<u8>,
        /// Position in the bytes, and what the 8-byte pointer there points to.
        pointers: Vec<(usize, Place)>,
    },
}

/// A factor or the result of a product: a matrix, or a stack of them, stored by rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix {
    /// Where it begins.
    pub place: Place,
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
    pub bias: Option<Place>,
    /// Whether factors stored in single precision may be rounded to TF32.
    pub tf32: bool,
}
