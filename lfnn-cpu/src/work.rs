//! What a kernel is, the scratch memory it works in, and how work is cut into chunks.
//!
//! Chunks depend on shapes alone, never on the number of threads, and whatever is summed over chunks
//! is summed in their order: so the bytes do not depend on the threads. A tensor of one chunk stays on
//! the calling thread, since rayon does not split a single item.

use std::sync::{Mutex, PoisonError};

use lfnn_core::program::Tensors;
use rayon::prelude::*;

use crate::CpuError;
use crate::memory::{Block, BufferResolver};

/// Numbers in a chunk of a cheap operation: some 10 µs of work, many times what handing it out costs.
pub(crate) const CHUNK: usize = 1 << 14;

/// Items of `len` numbers in a chunk of a cheap operation; one at least.
pub(crate) fn items_per_chunk(len: usize) -> usize {
    (CHUNK / len.max(1)).max(1)
}

/// Numbers in a chunk that consists of whole items of `len` numbers; never 0.
pub(crate) fn chunk_len(len: usize) -> usize {
    items_per_chunk(len) * len.max(1)
}

/// Calls `f` with each chunk of `len` numbers of `y` and the same chunk of `x`, on all threads.
pub(crate) fn for_chunks(
    len: usize,
    x: &[f32],
    y: &mut [f32],
    f: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    y.par_chunks_mut(len).zip(x.par_chunks(len)).for_each(|(y, x)| f(x, y));
}

/// How an operation becomes a kernel: implemented beside the kernel.
pub(crate) trait Compile {
    /// The kernel, with its buffers resolved.
    fn kernel(&self, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel>;

    /// Bytes of the tables that the kernel holds, at most. They grow with the image and the window, whatever the
    /// batch.
    fn table_bytes(&self, _tensors: &Tensors) -> usize {
        0
    }
}

/// Declares the kernel of the operation of the same name: its buffers, which are named as the operation's fields, and
/// what else it makes of the operation and of its tensors, in order. `new` takes the operation; with a third argument,
/// which is an option and none for an operation alone, also what is fused with it. `NAME of OPERATION` declares one of
/// several kernels, among which [`Compile`] chooses.
macro_rules! kernel {
    ($(#[$meta:meta])* $name:ident of $operation:ident $buffers:tt) => {
        kernel! { $(#[$meta])* $name of $operation $buffers with |_op, bind| {} }
    };
    (
        $(#[$meta:meta])* $name:ident of $operation:ident $buffers:tt
        with |$op:ident, $bind:ident| $fields:tt
    ) => {
        kernel! {
            $(#[$meta])* $name of $operation $buffers with |$op, $bind, _fused: Option<()>| $fields
        }
    };
    (
        $(#[$meta:meta])* $name:ident of $operation:ident { $($buffer:ident: $type:ty),* $(,)? }
        with |$op:ident, $bind:ident, $fused:ident: $fused_type:ty| {
            $($(#[$doc:meta])* $field:ident: $field_type:ty = $value:expr),* $(,)?
        }
    ) => {
        $(#[$meta])*
        pub(crate) struct $name {
            $($buffer: $type,)*
            $($(#[$doc])* $field: $field_type,)*
        }

        impl $name {
            pub(crate) fn new(
                $op: &lfnn_core::program::$operation,
                $fused: $fused_type,
                $bind: &mut $crate::memory::BufferResolver<'_>,
            ) -> Self {
                $(let $field: $field_type = $value;)*
                Self { $($buffer: $bind.resolve(&$op.$buffer),)* $($field,)* }
            }
        }
    };
    ($(#[$meta:meta])* $name:ident $($rest:tt)*) => {
        kernel! { $(#[$meta])* $name of $name $($rest)* }

        impl $crate::work::Compile for lfnn_core::program::$name {
            fn kernel(
                &self,
                bind: &mut $crate::memory::BufferResolver<'_>,
            ) -> Box<dyn $crate::work::Kernel> {
                Box::new($name::new(self, None, bind))
            }
        }
    };
}
pub(crate) use kernel;

/// A step of a compiled program, with its buffers.
pub(crate) trait Kernel: Send {
    /// The scratch memory it needs.
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::default()
    }

    /// Does the step.
    fn run(&mut self, work: &mut Workspace<'_>);
}

/// Scratch memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScratchSize {
    /// Numbers that all chunks share: partial sums, packed weights.
    pub(crate) shared: usize,
    /// Numbers for each thread.
    pub(crate) per_thread: usize,
    /// Bytes of tables that the kernel holds itself.
    pub(crate) tables: usize,
}

impl ScratchSize {
    /// Memory that all chunks share, and no other.
    pub(crate) fn shared(shared: usize) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Memory of the threads, and no other.
    pub(crate) fn per_thread(per_thread: usize) -> Self {
        Self { per_thread, ..Self::default() }
    }

    /// The same with a table that the kernel holds.
    pub(crate) fn with_table<T>(self, table: &[T]) -> Self {
        Self { tables: self.tables + size_of_val(table), ..self }
    }
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

    /// Lends this thread's block. `f` must not wait for other chunks: one of them might be
    /// taken up by this thread and ask for the block again.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut [f32]) -> R) -> R {
        let thread = rayon::current_thread_index().unwrap_or(0);
        let mut block = self.blocks[thread].lock().unwrap_or_else(PoisonError::into_inner);
        f(block.slice_mut(0, self.len))
    }
}
