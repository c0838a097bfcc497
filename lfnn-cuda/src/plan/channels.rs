//! How a matrix is gone through by channel: sums over rows in chunks, then over chunks; and passes over all rows.

use lfnn_core::program::TensorId;

use super::lowering::Lowering;
use super::shared::shared_with_kernels;
use super::types::{Argument, Element, KernelFile};

/// Blocks that a sum over rows is cut into, at most: a few for each multiprocessor of the largest GPU.
const BLOCKS: usize = 512;
/// Rows that a thread goes through before more blocks are worth a second launch.
const ROWS: usize = 16;

shared_with_kernels! {
    constants {
        /// Threads of a block, at most.
        const CHANNEL_THREADS: usize = 256;
    }
    structures {
        /// A matrix `[rows, channels]` that is gone through by channel.
        struct ChannelGrid {
            rows: u32,
            channels: u32,
            /// Rows of a block.
            chunk: u32,
            /// Channels of a thread: 1, or `PACK`.
            vector: u32,
        }
    }
}

/// Blocks that go through a matrix by channel: a thread has `vector` consecutive channels and
/// every `block[1]`-th row of its block; blocks of one x share their channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChannelLaunch {
    parameters: ChannelGrid,
    grid: [u32; 3],
    block: [u32; 3],
}

impl ChannelLaunch {
    /// The rows and channels of an operand that is an activation, [`chunked`](Self::chunked).
    pub(super) fn of(x: TensorId, to: &Lowering<'_>) -> Self {
        Self::chunked(to.tensors().rows(x), to.tensors().channels(x), to.act())
    }

    /// Cuts the rows into chunks, a block each, so that the whole GPU has work.
    pub(super) fn chunked(rows: usize, channels: usize, element: Element) -> Self {
        Self::chunks_of(ROWS, rows, channels, element)
    }

    /// The same with this many rows of a thread before there are more blocks.
    pub(super) fn chunks_of(
        rows_of_thread: usize,
        rows: usize,
        channels: usize,
        element: Element,
    ) -> Self {
        Self::whole(rows, channels, element).cut(BLOCKS, rows_of_thread)
    }

    /// The same rows in chunks, for this many blocks at most, each thread having at least so many rows of one.
    pub(super) fn cut(mut self, blocks: usize, rows_of_thread: usize) -> Self {
        let (rows, at_once) = (self.parameters.rows as usize, self.block[1] as usize);
        let blocks = (blocks / self.grid[0] as usize).max(1);
        let chunk = rows.div_ceil(blocks).max(at_once * rows_of_thread);
        self.parameters.chunk = chunk as u32;
        self.grid[1] = rows.div_ceil(chunk).max(1) as u32;
        self
    }

    /// Leaves all the rows of some channels to one block.
    pub(super) fn whole(rows: usize, channels: usize, element: Element) -> Self {
        let pack = element.pack();
        let vector = if channels.is_multiple_of(pack) { pack } else { 1 };
        let lanes = (channels / vector).max(1);
        let tiles = lanes.div_ceil(CHANNEL_THREADS);
        let across = lanes.div_ceil(tiles);
        let down = (CHANNEL_THREADS / across).min(rows.max(1));
        Self {
            parameters: ChannelGrid {
                rows: rows as u32,
                channels: channels as u32,
                chunk: rows as u32,
                vector: vector as u32,
            },
            grid: [tiles as u32, 1, 1],
            block: [across as u32, down as u32, 1],
        }
    }

    /// The grid over the sums that the chunks leave: a row for each chunk.
    pub(super) fn of_chunks(&self) -> Self {
        Self::of_sums(self.chunks(), self.parameters.channels as usize)
    }

    /// The grid over some rows of sums.
    pub(super) fn of_sums(rows: usize, channels: usize) -> Self {
        let mut grid = Self::whole(rows, channels, Element::F32);
        // One channel a thread: the sums are few.
        let lanes = grid.parameters.channels.max(1);
        let tiles = lanes.div_ceil(CHANNEL_THREADS as u32 / 8);
        let across = lanes.div_ceil(tiles);
        let down = (CHANNEL_THREADS as u32 / across).min(grid.parameters.rows.max(1));
        grid.parameters.vector = 1;
        (grid.grid, grid.block) = ([tiles, 1, 1], [across, down, 1]);
        grid
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        self.grid[1] as usize
    }

    /// Rows of a chunk; of the last one perhaps fewer.
    pub(super) fn chunk(&self) -> usize {
        self.parameters.chunk as usize
    }

    /// Appends a launch over these blocks; the last argument of the kernel is the grid.
    pub(super) fn launch(
        &self,
        file: KernelFile,
        kernel: &'static str,
        mut arguments: Vec<Argument>,
        to: &mut Lowering<'_>,
    ) {
        arguments.push(Argument::from(&self.parameters));
        to.launch(file, kernel, self.grid, self.block, arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_and_channel() {
        for rows in [1, 2, 7, 100, 5000, 100_352] {
            for channels in [1, 3, 4, 40, 60, 255, 256, 257, 300, 1024, 40_001] {
                for element in [Element::F32, Element::Bf16] {
                    let c = ChannelLaunch::chunked(rows, channels, element);
                    let threads = c.block[0] * c.block[1];
                    assert!((1..=256).contains(&threads), "{c:?}");
                    assert!(c.grid[0] * c.block[0] * c.parameters.vector >= channels as u32);
                    assert!(c.grid[1] * c.parameters.chunk >= rows as u32, "{c:?}");
                    let last = c.of_chunks();
                    assert!(last.grid[0] * last.block[0] >= channels as u32, "{last:?}");
                    assert_eq!(last.parameters.rows as usize, c.chunks());
                }
            }
        }
    }
}
