//! Matrices packed for products: panels of a few columns, so that what the inner loop reads is contiguous.

use rayon::prelude::*;

use crate::simd::{Level, level, with_vectors};

/// Columns of A in a panel of a transposed product: some blocks.
pub(crate) const PANEL_ROWS: usize = 24;

/// Numbers in a vector, and vectors in a panel at most: what the registers hold. `matrixmultiply` packs by itself, so
/// there is one panel.
fn limits() -> (usize, usize) {
    match level() {
        Level::Avx512 => (16, 3),
        Level::Avx2 => (8, 2),
        Level::Portable => (1, usize::MAX),
    }
}

/// Vectors in each panel, of `most` at most; the last panel may have fewer.
pub(super) fn panel_width(columns: usize, lanes: usize, most: usize) -> usize {
    let vectors = columns.div_ceil(lanes).max(1);
    vectors.div_ceil(vectors.div_ceil(most))
}

/// Columns in a panel of a matrix of so many.
pub(crate) fn panel_columns(columns: usize) -> usize {
    let (lanes, most) = limits();
    panel_width(columns, lanes, most) * lanes
}

/// Length of the packed form of a matrix of `depth` rows and `columns` columns.
pub(crate) fn packed_len(depth: usize, columns: usize) -> usize {
    depth * columns.next_multiple_of(limits().0)
}

/// Packs a matrix B of `depth` rows for a product of gathered rows: panel after panel, each row by row, filled
/// up with zeros. Element (k, j) is `b[row(k) + j * stride]`; where the stride is not 1, `row(k)` is
/// `row(0) + k`.
pub(crate) fn pack(
    b: &[f32],
    row: impl Fn(usize) -> usize + Sync,
    stride: usize,
    depth: usize,
    columns: usize,
    packed: &mut [f32],
) {
    let width = panel_columns(columns);
    let panels = packed[..packed_len(depth, columns)].par_chunks_mut((depth * width).max(1));
    panels.enumerate().for_each(|(panel, to)| {
        let start = panel * width;
        let width = to.len() / depth;
        let count = (columns - start).min(width);
        if stride == 1 {
            for (k, to) in to.chunks_exact_mut(width).enumerate() {
                to[..count].copy_from_slice(&b[row(k) + start..][..count]);
                to[count..].fill(0.0);
            }
            return;
        }
        let from = &b[row(0) + start * stride..];
        pack_transposed(from, stride, depth, count, width, to);
    });
}

with_vectors! {
    /// A panel of `width` columns whose first `count` are rows of `b`, `stride` apart.
    pub(crate) fn pack_transposed<V>(
        b: &[f32],
        stride: usize,
        depth: usize,
        count: usize,
        width: usize,
        to: &mut [f32],
    ) {
        let whole = [depth / 8 * 8, count / 8 * 8];
        assert!(count <= width && to.len() >= depth * width);
        assert!(count == 0 || b.len() >= (count - 1) * stride + depth);
        for k in (0..whole[0]).step_by(8) {
            for j in (0..whole[1]).step_by(8) {
                let (from, to) = (b[j * stride + k..].as_ptr(), to[k * width + j..].as_mut_ptr());
                // SAFETY: eight rows of eight numbers in both, as was asserted.
                unsafe { V::transpose((from, stride), (to, width)) };
            }
        }
        for (k, to) in to[..depth * width].chunks_exact_mut(width).enumerate() {
            for j in if k < whole[0] { whole[1] } else { 0 }..count {
                to[j] = b[j * stride + k];
            }
            to[count..].fill(0.0);
        }
    }
}

/// Copies `width` columns of a matrix from column `first` on, of which as many as there are.
pub(crate) fn copy_panel(x: &[f32], columns: usize, first: usize, width: usize, to: &mut [f32]) {
    let count = width.min(columns - first);
    for (to, x) in to.chunks_exact_mut(width).zip(x.chunks_exact(columns)) {
        to[..count].copy_from_slice(&x[first..first + count]);
    }
}
