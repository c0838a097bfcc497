//! The inner loops of products on vectors, written with intrinsics, since a compiler does not keep a block of
//! accumulators in registers by itself: 8 rows of three vectors where there are 32 registers (AVX-512), 6 rows of two
//! where there are 16, each row's number broadcast.
//!
//! Every number of a result is one chain of multiply-adds in the order of the depth, so vectors of 8 and of 16 give the
//! same bytes.

use super::operands::{Gather, Rows, Transposed};
use super::pack::panel_width;
use crate::simd::Vector;

/// Divides `columns` into panels: (first vector, vectors).
#[inline(always)]
fn panels(columns: usize, lanes: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let (vectors, width) = (columns.div_ceil(lanes), panel_width(columns, lanes, most));
    (0..vectors).step_by(width).map(move |first| (first, width.min(vectors - first)))
}

/// [`gather_product`](super::gather_product) for one kind of vector, in panels of at most `PANEL` vectors, with so many rows
/// at a time in panels of one, two and three.
///
/// # Safety
/// The machine has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn gather<
    V,
    const PANEL: usize,
    const ONE: usize,
    const TWO: usize,
    const THREE: usize,
    R,
>(
    source: &R,
    job: Gather<'_>,
    y: &mut [f32],
) where
    V: Vector,
    R: Rows,
{
    let mut packed = job.packed;
    for (first, width) in panels(job.columns, V::LANES, PANEL) {
        let (panel, rest) = packed.split_at(job.packed_depth * width * V::LANES);
        packed = rest;
        // SAFETY: the caller has the instructions.
        unsafe {
            match width {
                1 => gather_panel::<V, ONE, 1, R>(source, job, panel, first * V::LANES, y),
                2 => gather_panel::<V, TWO, 2, R>(source, job, panel, first * V::LANES, y),
                _ => gather_panel::<V, THREE, 3, R>(source, job, panel, first * V::LANES, y),
            }
        }
    }
}

/// The columns of one panel.
///
/// # Safety
/// The machine has the vector's instructions.
#[inline(always)]
unsafe fn gather_panel<V: Vector, const ROWS: usize, const WIDTH: usize, R: Rows>(
    source: &R,
    job: Gather<'_>,
    panel: &[f32],
    column: usize,
    y: &mut [f32],
) {
    let Gather { rows, segments, depth, .. } = job;
    let count = (job.columns - column).min(WIDTH * V::LANES);
    let stride = WIDTH * V::LANES;
    // SAFETY: instructions by the caller; every pointer comes from a slice whose length was checked.
    unsafe {
        let last = V::mask(count - (WIDTH - 1) * V::LANES);
        let mut bias = [V::zero(); WIDTH];
        if let Some(numbers) = job.bias {
            bias = load_row(numbers[column..][..count].as_ptr(), last);
        }
        for r in (0..rows).step_by(ROWS) {
            let here = ROWS.min(rows - r);
            let places: [R::Place; ROWS] =
                std::array::from_fn(|i| source.place(r + i.min(here - 1)));
            let mut sums = [bias; ROWS];
            for &segment in segments {
                let a: [*const f32; ROWS] =
                    std::array::from_fn(|i| source.segment(places[i], segment)[..depth].as_ptr());
                let b = panel[segment * depth * stride..][..depth * stride].as_ptr();
                multiply::<V, ROWS, WIDTH>(&mut sums, a, b, depth);
            }
            for (i, sums) in sums.iter().enumerate().take(here) {
                let to = y[source.target(r + i) + column..][..count].as_mut_ptr();
                store_row(sums, to, last);
            }
        }
    }
}

/// The inner loop: `sums[i] += Σ_k a[i][k] · b[k]`, with rows of b one after the other.
///
/// # Safety
/// Instructions, and pointers good for `length` steps.
#[inline(always)]
unsafe fn multiply<V: Vector, const ROWS: usize, const WIDTH: usize>(
    sums: &mut [[V; WIDTH]; ROWS],
    a: [*const f32; ROWS],
    b: *const f32,
    length: usize,
) {
    for k in 0..length {
        // SAFETY: the caller's.
        unsafe {
            let b = b.add(k * WIDTH * V::LANES);
            let vectors: [V; WIDTH] = std::array::from_fn(|j| V::load(b.add(j * V::LANES)));
            for (sums, a) in sums.iter_mut().zip(a) {
                let factor = V::splat(*a.add(k));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = sum.multiply_add(factor, vector);
                }
            }
        }
    }
}

/// # Safety
/// Instructions, and a pointer good for the vectors, of the last one as many as the mask says.
#[inline(always)]
unsafe fn load_row<V: Vector, const WIDTH: usize>(from: *const f32, last: V::Mask) -> [V; WIDTH] {
    // SAFETY: the caller's.
    unsafe {
        std::array::from_fn(|j| {
            let from = from.add(j * V::LANES);
            if j + 1 < WIDTH { V::load(from) } else { V::load_first(from, last) }
        })
    }
}

/// # Safety
/// Instructions, and a pointer good for the vectors, of the last one as many as the mask says.
#[inline(always)]
unsafe fn store_row<V: Vector, const WIDTH: usize>(row: &[V; WIDTH], to: *mut f32, last: V::Mask) {
    // SAFETY: the caller's.
    unsafe {
        for (j, vector) in row.iter().enumerate() {
            let to = to.add(j * V::LANES);
            if j + 1 < WIDTH { vector.store(to) } else { vector.store_first(to, last) }
        }
    }
}

/// [`transposed_product`](super::transposed_product) for one kind of vector, as [`gather`].
///
/// # Safety
/// The machine has the vector's instructions; every pair's rows and the result's are in the slices.
#[inline(always)]
pub(super) unsafe fn transposed<
    V: Vector,
    const PANEL: usize,
    const ONE: usize,
    const TWO: usize,
    const THREE: usize,
>(
    job: Transposed<'_>,
    c: &mut [f32],
) {
    for (first, width) in panels(job.columns[1], V::LANES, PANEL) {
        let column = first * V::LANES;
        let whole = column + width * V::LANES <= job.columns[1];
        // SAFETY: the caller's.
        unsafe {
            match (width, whole) {
                (1, true) => transposed_panel::<V, ONE, 1, true>(job, column, c),
                (1, false) => transposed_panel::<V, ONE, 1, false>(job, column, c),
                (2, true) => transposed_panel::<V, TWO, 2, true>(job, column, c),
                (2, false) => transposed_panel::<V, TWO, 2, false>(job, column, c),
                (_, true) => transposed_panel::<V, THREE, 3, true>(job, column, c),
                (_, false) => transposed_panel::<V, THREE, 3, false>(job, column, c),
            }
        }
    }
}

/// The columns of one panel: blocks of `ROWS` rows, then as few as can be of four, of two and of one.
/// `WHOLE` says that every vector of the panel is within the columns.
///
/// # Safety
/// As for [`transposed`].
#[inline(always)]
unsafe fn transposed_panel<V: Vector, const ROWS: usize, const WIDTH: usize, const WHOLE: bool>(
    job: Transposed<'_>,
    column: usize,
    c: &mut [f32],
) {
    let rows = job.columns[0];
    // Small blocks wait for the latency of their sums: a large one less may save two of them.
    let fours = (0..3).find(|n| n * 4 <= rows && (rows - n * 4).is_multiple_of(ROWS));
    let large = (rows - fours.unwrap_or(0) * 4) / ROWS * ROWS;
    let mut i = 0;
    // SAFETY: the caller's; no block goes beyond the last row.
    unsafe {
        while i < large {
            transposed_block::<V, ROWS, WIDTH, WHOLE>(job, i, column, c);
            i += ROWS;
        }
        while i + 4 <= rows {
            transposed_block::<V, 4, WIDTH, WHOLE>(job, i, column, c);
            i += 4;
        }
        if i + 2 <= rows {
            transposed_block::<V, 2, WIDTH, WHOLE>(job, i, column, c);
            i += 2;
        }
        if i < rows {
            transposed_block::<V, 1, WIDTH, WHOLE>(job, i, column, c);
        }
    }
}

/// `ROWS` rows of the result from row `i` on, in the columns of one panel.
///
/// # Safety
/// As for [`transposed`], and the rows are there.
#[inline(always)]
unsafe fn transposed_block<V: Vector, const ROWS: usize, const WIDTH: usize, const WHOLE: bool>(
    job: Transposed<'_>,
    i: usize,
    column: usize,
    c: &mut [f32],
) {
    let count = (job.columns[1] - column).min(WIDTH * V::LANES);
    // SAFETY: the caller's: columns i..i + ROWS of A, and `count` columns of B and of the result.
    unsafe {
        let last = V::mask(count - (WIDTH - 1) * V::LANES);
        let (a, b) = (job.a.as_ptr().add(i), job.b.as_ptr().add(column));
        let mut sums = [[V::zero(); WIDTH]; ROWS];
        for pair in job.pairs {
            let (a, b) = (a.add(pair[0] as usize), b.add(pair[1] as usize));
            let vectors: [V; WIDTH] = if WHOLE {
                std::array::from_fn(|j| V::load(b.add(j * V::LANES)))
            } else {
                load_row(b, last)
            };
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*a.add(r));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = sum.multiply_add(factor, vector);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let to = c.as_mut_ptr().add((i + r) * job.stride + column);
            let mut row = *sums;
            if !job.overwrite {
                let before: [V; WIDTH] = load_row(to, last);
                for (sum, before) in row.iter_mut().zip(before) {
                    *sum = sum.add(before);
                }
            }
            store_row(&row, to, last);
        }
    }
}
