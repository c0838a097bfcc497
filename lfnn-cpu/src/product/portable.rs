//! Products by `matrixmultiply`, which has NEON and SSE, where there are no vectors for the loops of `vectors`.
//!
//! It takes matrices whose rows are a fixed distance apart, so rows that are anywhere are copied first. The copies and
//! the library's packing buffer are allocated in every call.

use super::operands::{Gather, RowPair, Rows, Transposed};

/// Numbers copied at a time, if that is more than some rows.
const COPIED: usize = 1 << 17;

/// [`gather_product`](super::gather_product).
pub(super) fn gather<R: Rows>(source: &R, job: Gather<'_>, y: &mut [f32]) {
    let Gather { rows, segments, depth, columns, .. } = job;
    let packed = &job.packed[..job.packed_depth * columns];
    let block = (COPIED / (segments.len() * depth).max(1)).max(64);
    let (mut a, mut c) = (Vec::new(), Vec::new());
    for first in (0..rows).step_by(block) {
        let block = first..rows.min(first + block);
        c.clear();
        match job.bias {
            Some(bias) => block.clone().for_each(|_| c.extend_from_slice(&bias[..columns])),
            None => c.resize(block.len() * columns, 0.0),
        }
        // Segments that follow one another in B are one matrix.
        for run in segments.chunk_by(|one, next| one + 1 == *next) {
            a.clear();
            for r in block.clone() {
                let place = source.place(r);
                for &segment in run {
                    a.extend_from_slice(&source.segment(place, segment)[..depth]);
                }
            }
            let size = [block.len(), run.len() * depth, columns];
            let b = &packed[run[0] * depth * columns..];
            multiply(size, (&a, [size[1], 1]), b, 1.0, (&mut c, columns));
        }
        for (r, c) in block.zip(c.chunks_exact(columns.max(1))) {
            y[source.target(r)..][..columns].copy_from_slice(c);
        }
    }
}

/// [`transposed_product`](super::transposed_product).
pub(super) fn transposed(job: Transposed<'_>, c: &mut [f32]) {
    let Transposed { pairs, columns: [rows, columns], stride, .. } = job;
    let copy = |from: &[f32], start: fn(&RowPair) -> u32, count: usize| {
        let mut to = Vec::with_capacity(pairs.len() * count);
        pairs.iter().for_each(|pair| to.extend_from_slice(&from[start(pair) as usize..][..count]));
        to
    };
    let (a, b) = (copy(job.a, |pair| pair[0], rows), copy(job.b, |pair| pair[1], columns));
    let before = if job.overwrite { 0.0 } else { 1.0 };
    multiply([rows, pairs.len(), columns], (&a, [1, rows]), &b, before, (c, stride));
}

/// `C = A B + before · C` for `[rows, depth, columns]`: A comes with the distance of its rows and of its columns, B is
/// dense, C comes with the distance of its rows.
pub(crate) fn multiply(
    [rows, depth, columns]: [usize; 3],
    (a, [row, column]): (&[f32], [usize; 2]),
    b: &[f32],
    before: f32,
    (c, stride): (&mut [f32], usize),
) {
    if rows == 0 || columns == 0 {
        return;
    }
    let last = |count: usize, distance: usize| count.saturating_sub(1) * distance;
    assert!(
        depth == 0 || last(rows, row) + last(depth, column) < a.len(),
        "a matrix A of its size"
    );
    assert!(depth * columns <= b.len(), "a matrix B of its size");
    assert!(columns <= stride && last(rows, stride) + columns <= c.len(), "a result of its size");
    let [row, column, width, stride] = [row, column, columns, stride].map(|n| n as isize);
    // SAFETY: what is read of A and B and what is written of C is in their slices, as was asserted, and rows of C do
    // not overlap.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            depth,
            columns,
            1.0,
            a.as_ptr(),
            row,
            column,
            b.as_ptr(),
            width,
            1,
            before,
            c.as_mut_ptr(),
            stride,
            1,
        );
    }
}
