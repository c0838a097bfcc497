//! A bias for every channel and its gradient, and how a matrix is gone through by columns.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{AddBias, BiasGrad};

use super::launch::arguments;
use super::lower::Lowering;
use super::{Argument, Element, Family, Launch};
use crate::kernels::COLUMNS;

/// Threads of a block, at most.
const THREADS: usize = 256;
/// Blocks that a sum over rows is cut into, at most: a few for each multiprocessor of the largest GPU.
const BLOCKS: usize = 512;
/// Rows that a thread goes through before more blocks are worth a second launch.
const ROWS: usize = 16;

/// `Columns` of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    rows: u32,
    channels: u32,
    chunk: u32,
    vector: u32,
}

/// A matrix `[rows, channels]` that blocks of threads go through by columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    parameters: Parameters,
    grid: [u32; 3],
    block: [u32; 3],
}

impl Columns {
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
        let tiles = lanes.div_ceil(THREADS);
        let across = lanes.div_ceil(tiles);
        let down = (THREADS / across).min(rows.max(1));
        Self {
            parameters: Parameters {
                rows: rows as u32,
                channels: channels as u32,
                chunk: rows as u32,
                vector: vector as u32,
            },
            grid: [tiles as u32, 1, 1],
            block: [across as u32, down as u32, 1],
        }
    }

    /// The columns of the sums that the chunks leave: a row for each chunk.
    pub(super) fn of_chunks(&self) -> Self {
        Self::of_sums(self.chunks(), self.parameters.channels as usize)
    }

    /// The columns of some rows of sums.
    pub(super) fn of_sums(rows: usize, channels: usize) -> Self {
        let mut columns = Self::whole(rows, channels, Element::F32);
        // One channel a thread: the sums are few.
        let lanes = columns.parameters.channels.max(1);
        let tiles = lanes.div_ceil(THREADS as u32 / 8);
        let across = lanes.div_ceil(tiles);
        let down = (THREADS as u32 / across).min(columns.parameters.rows.max(1));
        columns.parameters.vector = 1;
        (columns.grid, columns.block) = ([tiles, 1, 1], [across, down, 1]);
        columns
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        self.grid[1] as usize
    }

    /// Rows of a chunk; of the last one perhaps fewer.
    pub(super) fn chunk(&self) -> usize {
        self.parameters.chunk as usize
    }

    /// The structure that kernels take.
    pub(super) fn argument(&self) -> Argument {
        Argument::of(&self.parameters, Vec::new())
    }

    /// A launch over these blocks.
    pub(super) fn launch(
        &self,
        family: Family,
        kernel: &'static str,
        real: Element,
        arguments: Vec<Argument>,
    ) -> Launch {
        family.launch(kernel, real, self.grid, self.block, arguments)
    }
}

pub(super) fn add_bias(op: &AddBias, to: &mut Lowering<'_>) {
    let tensors = to.tensors();
    let columns = Columns::chunked(tensors.rows(op.x), tensors.channels(op.x), to.real());
    let (x, y) = (to.read(op.x), to.write(op.y));
    let arguments = arguments![x, to.place(op.bias), y, columns.argument()];
    to.launch(columns.launch(COLUMNS, "add_bias", to.real(), arguments));
}

pub(super) fn bias_grad(op: &BiasGrad, to: &mut Lowering<'_>) {
    let tensors = to.tensors();
    let channels = tensors.channels(op.dy);
    let columns = Columns::chunked(tensors.rows(op.dy), channels, to.real());
    let (dy, dbias) = (to.read(op.dy), to.place(op.dbias));
    if columns.chunks() == 1 {
        let arguments = arguments![dy, dbias, columns.argument()];
        return to.launch(columns.launch(COLUMNS, "sum_rows", to.real(), arguments));
    }
    let sums = to.scratch(columns.chunks() * channels * size_of::<f32>());
    let arguments = arguments![dy, sums, columns.argument()];
    to.launch(columns.launch(COLUMNS, "sum_rows", to.real(), arguments));
    let last = columns.of_chunks();
    let arguments = arguments![sums, dbias, last.argument()];
    to.launch(last.launch(COLUMNS, "sum_chunks", to.real(), arguments));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_and_channel() {
        for rows in [1, 2, 7, 100, 5000, 100_352] {
            for channels in [1, 3, 4, 40, 60, 255, 256, 257, 300, 1024, 40_001] {
                for element in [Element::F32, Element::Bf16] {
                    let c = Columns::chunked(rows, channels, element);
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
