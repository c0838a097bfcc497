//! The windows of a convolution over channels-last images: their extents, and how a product reads them.
//!
//! With many channels, a row of the product is a window: its numbers are read directly from the
//! image, `channels` at a time, with a table of where each tap of each window begins and a row of zeros
//! for those outside. With few channels (the first layer) such runs are too short, and a tile of
//! windows is copied into rows of scratch memory.

use lfnn_core::program::{TensorId, Tensors, Window};

use crate::product::Rows;
use crate::simd::vectorized;

/// Extents of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// Of the input: height and width.
    pub(crate) image: [usize; 2],
    /// Of the output: height and width.
    pub(crate) result: [usize; 2],
    pub(crate) groups: usize,
    /// Input channels of a group.
    pub(crate) input: usize,
    /// Output channels of a group.
    pub(crate) output: usize,
    pub(crate) window: Window,
}

impl Geometry {
    pub(crate) fn new(
        tensors: &Tensors,
        x: TensorId,
        y: TensorId,
        window: Window,
        groups: usize,
    ) -> Self {
        let (x, y) = (&tensors[x].shape, &tensors[y].shape);
        Self {
            batch: x[0],
            image: [x[1], x[2]],
            result: [y[1], y[2]],
            groups,
            input: x[3] / groups,
            output: y[3] / groups,
            window,
        }
    }

    /// Positions of the window's kernel.
    pub(crate) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Weights of an output channel.
    pub(crate) fn depth(&self) -> usize {
        self.taps() * self.input
    }

    /// Channels of the input.
    pub(crate) fn channels(&self) -> usize {
        self.groups * self.input
    }

    /// Channels of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.groups * self.output
    }

    /// Pixels of an input image.
    pub(crate) fn pixels(&self) -> usize {
        self.image[0] * self.image[1]
    }

    /// Pixels of an output image.
    pub(crate) fn windows(&self) -> usize {
        self.result[0] * self.result[1]
    }

    /// Multiplications for one image.
    pub(crate) fn work(&self) -> usize {
        self.windows().saturating_mul(self.depth() * self.outputs())
    }

    /// Whether windows are read directly from the image.
    pub(crate) fn direct(&self) -> bool {
        self.input >= 8 || self.taps() == 1
    }

    /// Windows in a tile that is copied, so that it and its results stay in the first level of the
    /// cache.
    pub(crate) fn tile(&self) -> usize {
        ((1usize << 13) / (self.depth() + self.outputs()).max(1)).clamp(8, 1024) / 8 * 8
    }

    /// Images in a chunk: enough of them for the work to be worth handing out, and for the
    /// last rows of the chunk not to matter.
    pub(crate) fn images_per_chunk(&self) -> usize {
        let rows = self.windows().min(self.pixels()).max(1);
        (1usize << 20)
            .div_ceil(self.work().max(1))
            .max(96usize.div_ceil(rows))
            .clamp(1, self.batch.max(1))
    }
}

/// For each window and tap, where in the image it begins (channel 0 of it).
pub(crate) struct Table(Vec<u32>);

/// A tap outside the image.
pub(crate) const OUTSIDE: u32 = u32::MAX;

impl Table {
    pub(crate) fn new(g: &Geometry) -> Self {
        let mut table = Vec::with_capacity(g.windows() * g.taps());
        let [kernel, stride, padding] = [g.window.kernel, g.window.stride, g.window.padding];
        for oy in 0..g.result[0] {
            for ox in 0..g.result[1] {
                for ky in 0..kernel[0] {
                    for kx in 0..kernel[1] {
                        let y = (oy * stride[0] + ky).checked_sub(padding[0]);
                        let x = (ox * stride[1] + kx).checked_sub(padding[1]);
                        table.push(match (y, x) {
                            (Some(y), Some(x)) if y < g.image[0] && x < g.image[1] => {
                                ((y * g.image[1] + x) * g.channels()) as u32
                            }
                            _ => OUTSIDE,
                        });
                    }
                }
            }
        }
        Self(table)
    }

    /// An entry for each (row, segment), as the input gradient builds it.
    pub(crate) fn from_entries(entries: impl Iterator<Item = Option<usize>>) -> Self {
        Self(entries.map(|entry| entry.map_or(OUTSIDE, |at| at as u32)).collect())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * size_of::<u32>()
    }

    /// Copies the windows `from..` of some images into so many rows, one group's channels of each tap. `to` holds
    /// [`columns_len`] numbers.
    pub(crate) fn columns(
        &self,
        g: &Geometry,
        images: &[f32],
        group: usize,
        from: usize,
        rows: usize,
        to: &mut [f32],
    ) {
        let images = &images[group * g.input..];
        let image_len = g.pixels() * g.channels();
        // Adjacent taps, where copying them together is faster.
        let long = g.input > 1 || g.window.kernel[1] >= 8;
        let run = if g.groups == 1 && long { g.window.kernel[1] } else { 1 };
        copy_windows(images, image_len, &self.0, [g.taps(), run, g.input], from, rows, to);
    }
}

/// Numbers copied at a time, of which those beyond a run are overwritten by the next one.
const CHUNK: usize = 16;

/// Numbers that [`Table::columns`] needs for a tile of windows.
pub(crate) fn columns_len(g: &Geometry) -> usize {
    g.tile() * g.depth() + CHUNK
}

vectorized! {
    /// Copies windows `from..` of `table` into rows, for [taps of a window, taps of a run, numbers of a tap].
    fn copy_windows(
        images: &[f32],
        image_len: usize,
        table: &[u32],
        extents: [usize; 3],
        from: usize,
        rows: usize,
        to: &mut [f32],
    ) {
        let [taps, run, input] = extents;
        let (windows, len) = (table.len() / taps, run * input);
        let (mut image, mut window) = (from / windows, from % windows);
        for row in 0..rows {
            let x = &images[image * image_len..];
            let entries = &table[window * taps..][..taps];
            let to = &mut to[row * taps * input..];
            if run * input == 1 {
                for (to, &tap) in to.iter_mut().zip(entries) {
                    *to = if tap == OUTSIDE { 0.0 } else { x[tap as usize] };
                }
            } else {
                for (at, run) in entries.chunks_exact(run).enumerate() {
                    copy_run(x, run, input, &mut to[at * len..][..len.next_multiple_of(CHUNK)]);
                }
            }
            window += 1;
            if window == windows {
                (image, window) = (image + 1, 0);
            }
        }
    }
}

/// Copies adjacent taps, and perhaps some numbers behind them.
#[inline(always)]
fn copy_run(x: &[f32], taps: &[u32], input: usize, to: &mut [f32]) {
    let (first, last) = (taps[0] as usize, taps[taps.len() - 1]);
    let inside = taps[0] != OUTSIDE && last != OUTSIDE && first + to.len() <= x.len();
    if inside {
        let (to, x) = (to.as_chunks_mut::<CHUNK>().0, x[first..].as_chunks::<CHUNK>().0);
        for (to, x) in to.iter_mut().zip(x) {
            *to = *x;
        }
        return;
    }
    for (to, &tap) in to.chunks_exact_mut(input).zip(taps) {
        if tap == OUTSIDE {
            to.fill(0.0);
        } else {
            to.copy_from_slice(&x[tap as usize..][..input]);
        }
    }
}

/// Rows of a product that are read through a table.
pub(crate) struct Windows<'a> {
    /// Images, from the group's first channel on.
    pub(crate) images: &'a [f32],
    pub(crate) image_len: usize,
    pub(crate) table: &'a Table,
    /// Rows of the table.
    pub(crate) windows: usize,
    /// Entries in a row of the table.
    pub(crate) taps: usize,
    /// The entry of a row for each segment.
    pub(crate) entry: &'a [usize],
    pub(crate) zeros: &'a [f32],
    /// Numbers of one segment.
    pub(crate) depth: usize,
    /// Position of a window in the result.
    pub(crate) target: Target<'a>,
}

/// Positions of rows in a result.
pub(crate) enum Target<'a> {
    /// One after the other: distance, first.
    Rows(usize, usize),
    /// Spread out in each image of `image_len`: an offset for each window.
    Table { offsets: &'a [u32], image_len: usize, first: usize },
}

impl Rows for Windows<'_> {
    type Place = (usize, usize);

    #[inline(always)]
    fn place(&self, r: usize) -> (usize, usize) {
        let (image, window) = divide(r, self.windows);
        (image * self.image_len, window * self.taps)
    }

    #[inline(always)]
    fn segment(&self, (image, row): (usize, usize), segment: usize) -> &[f32] {
        let at = self.table.0[row + self.entry[segment]];
        if at == OUTSIDE { self.zeros } else { &self.images[image + at as usize..][..self.depth] }
    }

    #[inline(always)]
    fn target(&self, r: usize) -> usize {
        match self.target {
            Target::Rows(distance, first) => r * distance + first,
            Target::Table { offsets, image_len, first } => {
                let (image, window) = divide(r, self.windows);
                image * image_len + offsets[window] as usize + first
            }
        }
    }
}

/// Quotient and remainder, in 32 bits: twice as fast as in 64.
#[inline(always)]
fn divide(a: usize, b: usize) -> (usize, usize) {
    let (a, b) = (a as u32, b as u32);
    ((a / b) as usize, (a % b) as usize)
}
