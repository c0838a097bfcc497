//! The context in which operations are lowered: operands, scratch memory, conversions between types.
//!
//! A kernel takes each operand either as an activation (`act_t`) or as f32. A tensor is stored as `act_t` if it is
//! temporary and an activation of every operation that touches it; every other real tensor is f32. An operation that
//! meets both among its activations works in half precision, and those that are f32 are converted on the way in or out.

use lfnn_core::backend::Precision;
use lfnn_core::program::{ALIGNMENT, DType, Op, Operation, ProgramSet, TensorId, Tensors};

use super::launch::{THREADS, arguments, blocks};
use super::scale::{LOSS_SCALE_BYTES, Scales, Scaling};
use super::types::{
    Address, Argument, Element, KernelFile, KernelSource, Launch, Product, Step, Work,
};

/// The file of the conversions.
const ELEMENTWISE: KernelFile = KernelFile("elementwise");

/// An operation with kernels.
pub(super) trait Lower {
    /// Appends the operation's launches and products.
    fn lower(&self, to: &mut Lowering<'_>);
}

/// A program that is being lowered.
pub(super) struct Lowering<'a> {
    tensors: &'a Tensors,
    elements: &'a [Element],
    precision: Precision,
    scales: &'a Scales,
    pub(super) steps: Vec<Step>,
    /// The name of what is being lowered.
    name: &'static str,
    /// Positions of what is being lowered in the program.
    ops: Vec<usize>,
    /// The type of activations in its kernels.
    act: Element,
    /// Whether it is to be done by one block, if that does not matter otherwise.
    pub(super) one_block: bool,
    /// Scratch memory that it has taken.
    scratch: usize,
    pub(super) scratch_bytes: usize,
    /// What its results must be converted to when it is done.
    results: Vec<(Address, TensorId)>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(
        tensors: &'a Tensors,
        elements: &'a [Element],
        precision: Precision,
        scales: &'a Scales,
    ) -> Self {
        Self {
            tensors,
            elements,
            precision,
            scales,
            steps: Vec::new(),
            name: "",
            ops: Vec::new(),
            act: Element::F32,
            one_block: false,
            scratch: 0,
            scratch_bytes: 0,
            results: Vec::new(),
        }
    }

    /// Begins an operation, or several that are lowered together: `ops` are their positions in the program.
    pub(super) fn begin(&mut self, name: &'static str, ops: Vec<usize>, act: Element) {
        (self.name, self.ops, self.act) = (name, ops, act);
    }

    /// Appends what `lower` does, and converts its results.
    pub(super) fn add(&mut self, lower: impl FnOnce(&mut Self)) {
        self.scratch = 0;
        lower(self);
        for (address, id) in std::mem::take(&mut self.results) {
            let n = self.tensors[id].len();
            self.launch_1d(
                ELEMENTWISE,
                "cast_to_float",
                n,
                arguments![address, self.address(id), n],
            );
        }
    }

    /// The tensors of the program set.
    pub(super) fn tensors(&self) -> &'a Tensors {
        self.tensors
    }

    /// The arithmetic of the plan.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// The type of activations in this operation's kernels.
    pub(super) fn act(&self) -> Element {
        self.act
    }

    /// Elements of a tensor.
    pub(super) fn len(&self, id: TensorId) -> usize {
        self.tensors[id].len()
    }

    /// The extents of an image tensor.
    pub(super) fn image(&self, id: TensorId) -> [usize; 4] {
        let shape = &self.tensors[id].shape;
        std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1))
    }

    /// A tensor that kernels take as it is stored: f32, whole numbers, bytes.
    pub(super) fn address(&self, id: TensorId) -> Address {
        Address::Tensor(id, 0)
    }

    /// The same of a tensor that may be missing.
    pub(super) fn optional(&self, id: Option<TensorId>) -> Option<Address> {
        id.map(|id| self.address(id))
    }

    /// The scale of the loss of which a gradient begins in this tensor, of whose gradients this is the factor, or
    /// which moves this parameter; there may be none.
    pub(super) fn loss_scale(&self, id: TensorId) -> Scaling {
        self.scales.of(id).map_or_else(Scaling::none, |number| {
            let state = Address::LossScale(number * LOSS_SCALE_BYTES);
            Scaling::new(state, self.scales.first(number))
        })
    }

    /// Scratch memory of this operation.
    pub(super) fn scratch(&mut self, bytes: usize) -> Address {
        let offset = self.scratch;
        self.scratch += bytes.next_multiple_of(ALIGNMENT);
        self.scratch_bytes = self.scratch_bytes.max(self.scratch);
        Address::Scratch(offset)
    }

    /// A tensor that the operation reads as `act_t`.
    pub(super) fn read(&mut self, id: TensorId) -> Address {
        let address = self.address(id);
        if self.elements[id.index()] == self.act {
            return address;
        }
        let n = self.tensors[id].len();
        let converted = self.scratch(n * self.act.bytes());
        self.launch_1d(ELEMENTWISE, "cast_to_act", n, arguments![address, converted, n]);
        converted
    }

    /// A tensor that the operation writes as `act_t`.
    pub(super) fn write(&mut self, id: TensorId) -> Address {
        if self.elements[id.index()] == self.act {
            return self.address(id);
        }
        let address = self.scratch(self.tensors[id].len() * self.act.bytes());
        self.results.push((address, id));
        address
    }

    /// Appends a launch with as many blocks as this many threads need, of a kernel that strides over its grid.
    pub(super) fn launch_1d(
        &mut self,
        file: KernelFile,
        kernel: &'static str,
        threads: usize,
        arguments: Vec<Argument>,
    ) {
        self.launch(file, kernel, [blocks(threads), 1, 1], [THREADS, 1, 1], arguments);
    }

    /// Appends a launch.
    pub(super) fn launch(
        &mut self,
        file: KernelFile,
        kernel: &'static str,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: Vec<Argument>,
    ) {
        self.launch_shared(file, kernel, grid, block, 0, arguments);
    }

    /// Appends a launch with this many bytes of dynamic shared memory.
    pub(super) fn launch_shared(
        &mut self,
        file: KernelFile,
        kernel: &'static str,
        grid: [u32; 3],
        block: [u32; 3],
        shared: u32,
        arguments: Vec<Argument>,
    ) {
        let source = KernelSource { file, act: self.act };
        self.push(Work::Launch(Launch { source, kernel, grid, block, shared, arguments }));
    }

    /// Appends a matrix product.
    pub(super) fn product(&mut self, product: Product) {
        self.push(Work::Product(product));
    }

    fn push(&mut self, work: Work) {
        let (name, ops) = (self.name, self.ops.clone());
        self.steps.push(Step { name, ops, work, stream: 0, after: Vec::new() });
    }
}

/// How each tensor of a program set is stored.
pub(super) fn elements(set: &ProgramSet, precision: Precision) -> Vec<Element> {
    let tensors = set.tensors();
    let mut is_activation: Vec<bool> = tensors
        .iter()
        .map(|(_, tensor)| !tensor.is_persistent() && tensor.dtype == DType::Real)
        .collect();
    for op in set.programs().iter().flat_map(|program| program.ops()) {
        let activations = op.activations();
        let touched = [op.reads(), op.writes(), op.updates()].concat();
        for id in touched.into_iter().filter(|id| !activations.contains(id)) {
            is_activation[id.index()] = false;
        }
    }
    tensors
        .iter()
        .map(|(id, tensor)| match tensor.dtype {
            DType::U32 => Element::U32,
            DType::U8 => Element::U8,
            DType::Real if is_activation[id.index()] => activation(precision),
            DType::Real => Element::F32,
        })
        .collect()
}

/// The type of activations.
pub(super) fn activation(precision: Precision) -> Element {
    match precision {
        Precision::F32 | Precision::Tf32 => Element::F32,
        Precision::Bf16 => Element::Bf16,
        Precision::F16 => Element::F16,
    }
}

/// The type of activations in the kernels that do these operations at once: half precision if any has such an operand.
pub(super) fn act_of<'o>(ops: impl IntoIterator<Item = &'o Op>, elements: &[Element]) -> Element {
    let stored = ops.into_iter().flat_map(Operation::activations).map(|id| elements[id.index()]);
    stored.into_iter().find(|&element| element != Element::F32).unwrap_or(Element::F32)
}
