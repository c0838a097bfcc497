//! Memory that is allocated once, and the buffers in it that the steps of a program use.
//!
//! Kernels hold [`Input`]s and [`Output`]s: addresses that are resolved when the program is
//! compiled. One of the few modules with `unsafe` (see `simd`). Why it is
//! sound:
//! * a [`BufferResolver`] resolves the buffers of one step at a time, and [`BufferResolver::check`] refuses a step in
//!   which a buffer that is written overlaps any other, or a buffer of a step in the other half of its phase;
//! * an [`Output`] gives its slice only to the holder of a mutable reference, and steps run one after the other
//!   (`Executable::run` takes `&mut self`), except in the two halves of a phase: so only steps that were checked
//!   against one another hold slices at the same time;
//! * the blocks outlive the steps, since one struct owns both and they are never reallocated.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

use lfnn_core::program::{ALIGNMENT, DType, MemoryPlan, Tensor, TensorId, Tensors};

use crate::CpuError;

/// A block of zeroed memory, aligned to [`ALIGNMENT`].
pub(crate) struct Block {
    start: NonNull<u8>,
    layout: Option<Layout>,
}

// SAFETY: a block owns its memory, as a `Box<[u8]>` does, and gives slices of it by its own borrow.
unsafe impl Send for Block {}
// SAFETY: as above; a shared block can only be read.
unsafe impl Sync for Block {}

impl Block {
    /// Allocates `bytes` zeros.
    pub(crate) fn new(bytes: usize, what: &'static str) -> Result<Self, CpuError> {
        if bytes == 0 {
            return Ok(Self { start: NonNull::<Aligned>::dangling().cast(), layout: None });
        }
        let failed = CpuError::OutOfMemory { what, bytes };
        let Ok(layout) = Layout::from_size_align(bytes, ALIGNMENT) else { return Err(failed) };
        // SAFETY: the layout's size is not 0.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Ok(Self { start, layout: Some(layout) }),
            None => Err(failed),
        }
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> usize {
        self.layout.map_or(0, |layout| layout.size())
    }

    /// Elements of it, from an offset in bytes.
    pub(crate) fn slice<T: Element>(&self, offset: usize, len: usize) -> &[T] {
        self.check::<T>(offset, len);
        // SAFETY: in the block and aligned as just checked; any bytes are a `T`; borrowed from self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset).cast(), len) }
    }

    /// Elements of it to write, from an offset in bytes.
    pub(crate) fn slice_mut<T: Element>(&mut self, offset: usize, len: usize) -> &mut [T] {
        self.check::<T>(offset, len);
        // SAFETY: as for `slice`, and borrowed mutably from self.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset).cast(), len) }
    }

    fn check<T: Element>(&self, offset: usize, len: usize) {
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.bytes()), "a buffer outside its block");
        assert!(offset.is_multiple_of(align_of::<T>()), "a buffer that is not aligned");
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = self.layout {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

#[repr(align(64))]
struct Aligned;

/// Types of elements: any bytes are one.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// What a tensor of them says.
    const TYPE: DType;
}

impl Element for f32 {
    const TYPE: DType = DType::Real;
}

impl Element for u32 {
    const TYPE: DType = DType::U32;
}

impl Element for u8 {
    const TYPE: DType = DType::U8;
}

/// A tensor that a step reads.
pub(crate) struct Input<T> {
    start: NonNull<T>,
    len: usize,
}

/// A tensor that a step writes.
pub(crate) struct Output<T> {
    start: NonNull<T>,
    len: usize,
    own: PhantomData<*mut T>,
}

// SAFETY: the slices that it gives are of `Send + Sync` elements; see the head of the module.
unsafe impl<T: Element> Send for Input<T> {}
// SAFETY: as above; it only reads.
unsafe impl<T: Element> Sync for Input<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Send for Output<T> {}

impl<T: Element> Input<T> {
    /// The elements.
    #[inline]
    pub(crate) fn get(&self) -> &[T] {
        // SAFETY: see the head of the module: in its block, and nobody writes while its step runs.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Element> Output<T> {
    /// How many elements it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The elements.
    #[inline]
    pub(crate) fn get(&mut self) -> &mut [T] {
        // SAFETY: see the head of the module: in its block, and no other buffer of its step overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// What a kernel holds of the tensors in one field of its operation: a buffer, an optional one, or several.
pub(crate) trait Buffer {
    /// The field.
    type Ids;

    fn resolve(ids: &Self::Ids, resolver: &mut BufferResolver<'_>) -> Self;
}

impl<T: Element> Buffer for Input<T> {
    type Ids = TensorId;

    fn resolve(id: &TensorId, resolver: &mut BufferResolver<'_>) -> Self {
        resolver.read(*id)
    }
}

impl<T: Element> Buffer for Output<T> {
    type Ids = TensorId;

    fn resolve(id: &TensorId, resolver: &mut BufferResolver<'_>) -> Self {
        resolver.write(*id)
    }
}

impl<B: Buffer> Buffer for Option<B> {
    type Ids = Option<B::Ids>;

    fn resolve(id: &Self::Ids, resolver: &mut BufferResolver<'_>) -> Self {
        id.as_ref().map(|id| B::resolve(id, resolver))
    }
}

impl<B: Buffer> Buffer for Vec<B> {
    type Ids = Vec<B::Ids>;

    fn resolve(ids: &Self::Ids, resolver: &mut BufferResolver<'_>) -> Self {
        ids.iter().map(|id| B::resolve(id, resolver)).collect()
    }
}

/// Resolves the tensors of one step after the other to addresses.
pub(crate) struct BufferResolver<'a> {
    tensors: &'a Tensors,
    persistent: (&'a mut Block, &'a [usize]),
    temporary: (&'a mut Block, &'a MemoryPlan),
    taken: Vec<(Range<usize>, bool)>,
    /// Buffers of the steps in the first half of the phase.
    concurrent: Vec<(Range<usize>, bool)>,
}

/// Whether two buffers overlap and one of them is written.
fn collide((a, a_written): &(Range<usize>, bool), (b, b_written): &(Range<usize>, bool)) -> bool {
    (*a_written || *b_written) && a.start < b.end && b.start < a.end
}

impl<'a> BufferResolver<'a> {
    /// A resolver for a program; `persistent` comes with the offset of each tensor in it.
    pub(crate) fn new(
        tensors: &'a Tensors,
        persistent: (&'a mut Block, &'a [usize]),
        temporary: (&'a mut Block, &'a MemoryPlan),
    ) -> Self {
        Self { tensors, persistent, temporary, taken: Vec::new(), concurrent: Vec::new() }
    }

    /// A tensor's declaration.
    pub(crate) fn tensor(&self, id: TensorId) -> &'a Tensor {
        &self.tensors[id]
    }

    /// All declarations.
    pub(crate) fn tensors(&self) -> &'a Tensors {
        self.tensors
    }

    /// Rows of a tensor, in the sense of [`Tensors::rows`], that belong to one example.
    pub(crate) fn rows_per_example(&self, id: TensorId) -> usize {
        self.tensors.rows(id).checked_div(self.tensors[id].shape[0]).unwrap_or(0)
    }

    /// The buffers of a kernel that an operation names in one of its fields.
    pub(crate) fn resolve<B: Buffer>(&mut self, ids: &B::Ids) -> B {
        B::resolve(ids, self)
    }

    /// A tensor that the step reads.
    pub(crate) fn read<T: Element>(&mut self, id: TensorId) -> Input<T> {
        let (start, len) = self.address(id, false);
        Input { start, len }
    }

    /// A tensor that the step writes, or updates.
    pub(crate) fn write<T: Element>(&mut self, id: TensorId) -> Output<T> {
        let (start, len) = self.address(id, true);
        Output { start, len, own: PhantomData }
    }

    /// Begins a phase.
    pub(crate) fn begin_phase(&mut self) {
        self.concurrent.clear();
    }

    /// Ends a step in the first or second half of its phase: checks that nothing it writes overlaps anything
    /// else that it uses, and nothing of the other half's.
    pub(crate) fn check(&mut self, step: &'static str, second_half: bool) -> Result<(), CpuError> {
        let others = if second_half { &self.concurrent[..] } else { &[] };
        for (i, buffer) in self.taken.iter().enumerate() {
            if self.taken[..i].iter().chain(others).any(|other| collide(buffer, other)) {
                return Err(CpuError::Aliased { step });
            }
        }
        if second_half {
            self.taken.clear();
        } else {
            self.concurrent.append(&mut self.taken);
        }
        Ok(())
    }

    fn address<T: Element>(&mut self, id: TensorId, written: bool) -> (NonNull<T>, usize) {
        let tensor = &self.tensors[id];
        assert_eq!(tensor.dtype, T::TYPE, "the type of `{}`", tensor.name);
        let len = tensor.len();
        let (block, offset) = match self.temporary.1.offsets[id.index()] {
            Some(offset) => (&mut *self.temporary.0, offset),
            None => (&mut *self.persistent.0, self.persistent.1[id.index()]),
        };
        block.check::<T>(offset, len);
        // SAFETY: in the block, as just checked.
        let start = unsafe { block.start.add(offset) };
        let address = start.as_ptr() as usize;
        if len > 0 {
            self.taken.push((address..address + len * size_of::<T>(), written));
        }
        (start.cast(), len)
    }
}
