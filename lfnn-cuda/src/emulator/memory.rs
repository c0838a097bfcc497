//! The memory of an emulated device: as the plan lays it out, or each tensor on its own.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use lfnn_core::program::{ALIGNMENT, TensorId, Tensors};

use crate::plan::{Address, LOSS_SCALE_BYTES, Plan};

/// What memory holds that nobody has written: NaN, in every type of real numbers.
const POISON: u8 = 0xFF;

/// A block of bytes, of its exact size and aligned to [`ALIGNMENT`].
pub(super) struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block owns its memory.
unsafe impl Send for Block {}

impl Block {
    fn new(bytes: usize, fill: u8) -> Self {
        let Ok(layout) = Layout::from_size_align(bytes.max(1), ALIGNMENT) else {
            panic!("a block of {bytes} bytes");
        };
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        let mut block = Self { start, layout };
        block.bytes_mut().fill(fill);
        block
    }

    fn len(&self) -> usize {
        self.layout.size()
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this size and filled in `new`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// All memory of a program set.
pub(super) struct Memory {
    tensors: Tensors,
    blocks: Vec<Block>,
    /// For each tensor its block and the offset in it, outside any program.
    persistent: Vec<Option<(usize, usize)>>,
    /// The same for the temporaries, for each program.
    temporary: Vec<Vec<Option<(usize, usize)>>>,
    /// The blocks that a run begins with as poison, for each program.
    poisoned: Vec<Vec<usize>>,
    /// The block of scratch memory of each stream.
    scratch: Vec<usize>,
    /// The block of the loss scales, and where they begin in it.
    loss_scales: (usize, usize),
}

impl Memory {
    /// Allocates what a plan asks for; `apart` gives every tensor a block of its own.
    pub(super) fn new(plan: &Plan, tensors: &Tensors, apart: bool) -> Self {
        let mut memory = Self {
            tensors: tensors.clone(),
            blocks: Vec::new(),
            persistent: Vec::new(),
            temporary: Vec::new(),
            poisoned: Vec::new(),
            scratch: Vec::new(),
            loss_scales: (0, plan.loss_scales),
        };
        let bytes = |id: TensorId| tensors[id].len() * plan.elements[id.index()].bytes();
        let shared = memory.block(plan.persistent_bytes, 0);
        memory.loss_scales.0 = shared;
        memory.persistent = tensors
            .iter()
            .map(|(id, tensor)| match plan.persistent[id.index()] {
                _ if !tensor.is_persistent() => None,
                Some(_) if apart => Some((memory.block(bytes(id), 0), 0)),
                offset => offset.map(|offset| (shared, offset)),
            })
            .collect();
        let largest = plan.programs.iter().map(|program| program.temporary_bytes).max();
        let shared = memory.block(largest.unwrap_or(0), POISON);
        let streams = plan.programs.iter().map(|program| program.streams).max().unwrap_or(0);
        let scratch = plan.programs.iter().map(|program| program.scratch_bytes).max();
        memory.scratch = (0..streams).map(|_| memory.block(scratch.unwrap_or(0), POISON)).collect();
        for program in &plan.programs {
            let mut poisoned = vec![shared];
            poisoned.extend(&memory.scratch);
            let places = tensors
                .iter()
                .map(|(id, _)| {
                    let offset = program.temporaries[id.index()]?;
                    if !apart {
                        return Some((shared, offset));
                    }
                    let block = memory.block(bytes(id), POISON);
                    poisoned.push(block);
                    Some((block, 0))
                })
                .collect();
            memory.temporary.push(places);
            memory.poisoned.push(poisoned);
        }
        memory
    }

    fn block(&mut self, bytes: usize, fill: u8) -> usize {
        self.blocks.push(Block::new(bytes, fill));
        self.blocks.len() - 1
    }

    /// Fills what a run of a program must not read before it is written.
    pub(super) fn poison(&mut self, program: usize) {
        for &block in &self.poisoned[program] {
            self.blocks[block].bytes_mut().fill(POISON);
        }
    }

    /// The contents of a persistent tensor of which an element has `size` bytes.
    pub(super) fn bytes(&self, id: TensorId, size: usize) -> &[u8] {
        let Some((block, offset)) = self.persistent[id.index()] else { return &[] };
        &self.blocks[block].bytes()[offset..][..self.tensors[id].len() * size]
    }

    /// As [`Memory::bytes`], to be written.
    pub(super) fn bytes_mut(&mut self, id: TensorId, size: usize) -> &mut [u8] {
        let Some((block, offset)) = self.persistent[id.index()] else { return &mut [] };
        &mut self.blocks[block].bytes_mut()[offset..][..self.tensors[id].len() * size]
    }

    /// The loss scales: 0 is one that has not been used.
    pub(super) fn loss_scales(&self) -> Vec<f32> {
        let (block, start) = self.loss_scales;
        let states = self.blocks[block].bytes()[start..].chunks_exact(LOSS_SCALE_BYTES);
        states.map(|state| f32::from_ne_bytes([state[0], state[1], state[2], state[3]])).collect()
    }

    /// A pointer to an address of a step, and the bytes from there to the end of its block.
    pub(super) fn resolve(
        &mut self,
        program: usize,
        stream: usize,
        address: Address,
    ) -> (*mut u8, usize) {
        let (block, offset) = match address {
            Address::Scratch(offset) => (self.scratch[stream], offset),
            Address::LossScale(offset) => (self.loss_scales.0, self.loss_scales.1 + offset),
            Address::Tensor(id, offset) => {
                let found = self.temporary[program][id.index()].or(self.persistent[id.index()]);
                let Some((block, start)) = found else {
                    panic!("`{}` has no memory in program {program}", self.tensors[id].name)
                };
                (block, start + offset)
            }
        };
        let block = &mut self.blocks[block];
        assert!(offset <= block.len(), "an address outside its block");
        let left = block.len() - offset;
        // SAFETY: within the block, or just behind it.
        (unsafe { block.start.as_ptr().add(offset) }, left)
    }
}
