//! The weights of a convolution, transformed and packed for the products.

use rayon::prelude::*;

use super::transform::{self, FREQUENCIES};
use crate::product;
use crate::work::ThreadBuffers;

/// Input channels that are transposed together: they stay in the first-level cache.
const CHUNK: usize = 16;

/// The extents of weights, as the convolution that they serve sees them.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    /// Channels that are summed over.
    pub(super) input: usize,
    /// Channels of the result.
    pub(super) output: usize,
    /// Whether filters are the channels summed over and turned by 180°, as for the input gradient; otherwise they are
    /// those of the result.
    pub(super) turned: bool,
}

/// Some columns of a frequency's matrix `[input, output]`.
pub(super) struct Panel<'a> {
    pub(super) first: usize,
    pub(super) columns: usize,
    pub(super) packed: &'a [f32],
}

impl Weights {
    /// Numbers of the packed form: for each panel of columns, the matrices of all frequencies.
    pub(super) fn len(&self) -> usize {
        FREQUENCIES * product::packed_len(self.input, self.output)
    }

    /// Numbers of scratch memory for a thread.
    pub(super) fn scratch(&self) -> usize {
        9 * CHUNK * product::panel_columns(self.output)
    }

    /// Numbers of a panel, of all frequencies.
    fn panel_len(&self) -> usize {
        FREQUENCIES * self.input * product::panel_columns(self.output)
    }

    /// The panels of a frequency.
    pub(super) fn panels<'a>(
        &self,
        packed: &'a [f32],
        frequency: usize,
    ) -> impl Iterator<Item = Panel<'a>> {
        let (width, output) = (product::panel_columns(self.output), self.output);
        packed.chunks(self.panel_len()).enumerate().map(move |(panel, packed)| {
            let (first, len) = (panel * width, packed.len() / FREQUENCIES);
            let packed = &packed[frequency * len..][..len];
            Panel { first, columns: width.min(output - first), packed }
        })
    }

    /// Transforms weights `[filters, 3, 3, channels]`.
    pub(super) fn transform(&self, weight: &[f32], buffers: &ThreadBuffers, packed: &mut [f32]) {
        let width = product::panel_columns(self.output);
        let panels = packed.par_chunks_mut(self.panel_len()).enumerate();
        panels.for_each(|(panel, packed)| {
            let first = panel * width;
            let width = packed.len() / (FREQUENCIES * self.input);
            let columns = [first, width.min(self.output - first)];
            if self.turned {
                self.rows(weight, columns, width, packed);
            } else {
                buffers.with(|buffer| self.columns(weight, columns, width, buffer, packed));
            }
        });
    }

    /// A panel whose columns are channels: rows are read in place.
    fn rows(&self, weight: &[f32], columns: [usize; 2], width: usize, packed: &mut [f32]) {
        let [first, count] = columns;
        let (channels, distance) = (self.output, self.input * width);
        for (filter, weight) in weight.chunks_exact(9 * channels).enumerate() {
            let to = &mut packed[filter * width..];
            transform::weights(&weight[first..], true, [channels, distance], count, to);
        }
        if count < width {
            packed.chunks_exact_mut(width).for_each(|row| row[count..].fill(0.0));
        }
    }

    /// A panel whose columns are filters, transposed a few channels at a time.
    fn columns(
        &self,
        weight: &[f32],
        columns: [usize; 2],
        width: usize,
        buffer: &mut [f32],
        packed: &mut [f32],
    ) {
        let [first, count] = columns;
        let (channels, distance) = (self.input, self.input * width);
        let weight = &weight[first * 9 * channels..];
        for from in (0..channels).step_by(CHUNK) {
            let chunk = CHUNK.min(channels - from);
            for (tap, to) in buffer.chunks_exact_mut(chunk * width).take(9).enumerate() {
                let weight = &weight[tap * channels + from..];
                product::pack_transposed(weight, 9 * channels, chunk, count, width, to);
            }
            for k in 0..chunk {
                let (row, to) = (&buffer[k * width..], &mut packed[(from + k) * width..]);
                transform::weights(row, false, [chunk * width, distance], width, to);
            }
        }
    }
}
