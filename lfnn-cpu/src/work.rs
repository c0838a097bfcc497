//! What a kernel is, the scratch memory it works in, and how work is cut into pieces.
//!
//! Pieces depend on shapes alone, never on the number of threads, and whatever is summed over pieces
//! is summed in their order: so the bytes do not depend on the threads. A tensor of one piece stays on
//! the calling thread, since rayon does not split a single item.

use std::sync::{Mutex, PoisonError};

use crate::CpuError;
use crate::memory::Block;

/// Numbers in a piece of a cheap operation: some 10 µs of work, many times what handing it out costs.
pub(crate) const GRAIN: usize = 1 << 14;

/// Numbers in a piece that holds whole rows of `columns`.
pub(crate) fn piece(columns: usize) -> usize {
    piece_rows(columns) * columns.max(1)
}

/// Rows of `columns` numbers in a piece.
pub(crate) fn piece_rows(columns: usize) -> usize {
    (GRAIN / columns.max(1)).max(1)
}

/// A step of a compiled program, with its tensors.
pub(crate) trait Kernel: Send {
    /// The scratch memory it wants.
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::default()
    }

    /// Does the step.
    fn run(&mut self, work: &mut Workspace<'_>);
}

/// Scratch memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScratchSize {
    /// Numbers that all pieces share: partial sums, packed weights.
    pub(crate) shared: usize,
    /// Numbers for each thread.
    pub(crate) each: usize,
    /// Bytes of tables that the kernel holds itself.
    pub(crate) tables: usize,
}

/// Scratch memory while a step runs. Its contents are arbitrary.
pub(crate) struct Workspace<'a> {
    /// As long as asked for, or longer.
    pub(crate) shared: &'a mut [f32],
    /// Memory of the threads.
    pub(crate) buffers: &'a ThreadBuffers,
}

/// A block for each thread of the pool.
pub(crate) struct ThreadBuffers {
    blocks: Vec<Mutex<Block>>,
    len: usize,
}

impl ThreadBuffers {
    /// `threads` blocks of `len` numbers.
    pub(crate) fn new(threads: usize, len: usize) -> Result<Self, CpuError> {
        let block = || Ok(Mutex::new(Block::new(len * size_of::<f32>(), "scratch memory")?));
        Ok(Self { blocks: (0..threads).map(|_| block()).collect::<Result<_, CpuError>>()?, len })
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len() * self.len * size_of::<f32>()
    }

    /// Lends this thread's block. `f` must not wait for other pieces of work: one of them might be
    /// taken up by this thread and ask for the block again.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut [f32]) -> R) -> R {
        let thread = rayon::current_thread_index().unwrap_or(0);
        let mut block = self.blocks[thread].lock().unwrap_or_else(PoisonError::into_inner);
        f(block.slice_mut(0, self.len))
    }
}
