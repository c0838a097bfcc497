//! The two product loops that everything with a weight runs on: [`gather_product`] of rows that lie
//! anywhere with a packed matrix (forward and input gradient), and [`transposed_product`] of rows
//! that meet in pairs (weight gradient).
//!
//! They are written with intrinsics, since a compiler does not keep a block of accumulators in
//! registers by itself: 8 rows of three vectors where there are 32 registers (AVX-512), 6 rows of two
//! where there are 16, each row's number broadcast. They are ours because
//! `matrixmultiply` allocates a packing buffer in every call, because a library wants the windows of a
//! convolution copied into a matrix first, and because a weight gradient sums over rows that lie
//! apart.
//!
//! Every number of a result is one chain of multiply-adds in the order of the depth, so vectors of 8
//! and of 16 give the same bytes.

use rayon::prelude::*;

use crate::simd::{Four, Level, Vector, lanes_and_panel, level, vectorized, with_vectors};

/// Vectors in each panel, of `most` at most; the last panel may have fewer.
fn panel_width(columns: usize, lanes: usize, most: usize) -> usize {
    let vectors = columns.div_ceil(lanes).max(1);
    vectors.div_ceil(vectors.div_ceil(most))
}

/// Divides `columns` into panels: (first vector, vectors).
#[inline(always)]
fn panels<V: Vector>(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let (vectors, width) = (columns.div_ceil(V::LANES), panel_width(columns, V::LANES, V::PANEL));
    (0..vectors).step_by(width).map(move |first| (first, width.min(vectors - first)))
}

/// Columns in a panel of a matrix of so many.
pub(crate) fn panel_columns(columns: usize) -> usize {
    let (lanes, most) = lanes_and_panel();
    panel_width(columns, lanes, most) * lanes
}

/// Length of the packed form of a matrix of `depth` rows and `columns` columns.
pub(crate) fn packed_len(depth: usize, columns: usize) -> usize {
    depth * columns.next_multiple_of(lanes_and_panel().0)
}

/// Packs a matrix B of `depth` rows for [`gather_product`]: panel after panel, each row by row, filled
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

/// How the rows of a product are found.
pub(crate) trait Rows {
    /// Where a row lies, worked out once.
    type Place: Copy;
    /// The place of row `r`.
    fn place(&self, r: usize) -> Self::Place;
    /// The `depth` numbers of a row in one segment of the depth.
    fn segment(&self, place: Self::Place, segment: usize) -> &[f32];
    /// Offset of the row in the result.
    fn target(&self, r: usize) -> usize;
}

/// A product of gathered rows with a packed matrix B.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a> {
    /// Rows of the result.
    pub(crate) rows: usize,
    /// The segments that the depth of B falls into: those that are used.
    pub(crate) segments: &'a [usize],
    /// Rows of B in a segment.
    pub(crate) depth: usize,
    /// B, from [`pack`].
    pub(crate) packed: &'a [f32],
    /// Rows of B.
    pub(crate) packed_depth: usize,
    /// Columns of B.
    pub(crate) columns: usize,
    /// Added to every row of the result.
    pub(crate) bias: Option<&'a [f32]>,
}

/// `y[r] = bias + Σ_segments row_r(segment) · B[segment]`.
pub(crate) fn gather_product<R: Rows>(source: &R, job: Gather<'_>, y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m256, __m512};

        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512<R: Rows>(source: &R, job: Gather<'_>, y: &mut [f32]) {
            // SAFETY: this function has the instructions.
            unsafe { gather::<__m512, 8, 8, 8, R>(source, job, y) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R: Rows>(source: &R, job: Gather<'_>, y: &mut [f32]) {
            // SAFETY: this function has the instructions.
            unsafe { gather::<__m256, 8, 6, 4, R>(source, job, y) }
        }
        match level() {
            // SAFETY: `level` has found the features.
            Level::Avx512 => return unsafe { avx512(source, job, y) },
            // SAFETY: `level` has found the features.
            Level::Avx2 => return unsafe { avx2(source, job, y) },
            Level::Baseline => {}
        }
    }
    // SAFETY: `Four` needs no instructions.
    unsafe { gather::<Four, 8, 6, 4, R>(source, job, y) }
}

/// [`gather_product`] for one kind of vector, with so many rows at a time in panels of one, two and
/// three vectors.
///
/// # Safety
/// The machine has the vector's instructions.
#[inline(always)]
unsafe fn gather<V: Vector, const ONE: usize, const TWO: usize, const THREE: usize, R: Rows>(
    source: &R,
    job: Gather<'_>,
    y: &mut [f32],
) {
    let mut packed = job.packed;
    for (first, width) in panels::<V>(job.columns) {
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

/// Where a row of A and the row of B that it meets begin: offsets in their slices.
pub(crate) type Pair = [u32; 2];

/// Columns of A in a panel of a [`transposed_product`]: some blocks.
pub(crate) const PANEL_ROWS: usize = 24;

/// Copies `width` columns of a matrix from column `first` on, of which as many as there are.
pub(crate) fn copy_panel(x: &[f32], columns: usize, first: usize, width: usize, to: &mut [f32]) {
    let count = width.min(columns - first);
    for (to, x) in to.chunks_exact_mut(width).zip(x.chunks_exact(columns)) {
        to[..count].copy_from_slice(&x[first..first + count]);
    }
}

/// Pairs of rows, and the last rows that they name.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<'a> {
    list: &'a [Pair],
    last: Pair,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(list: &'a [Pair]) -> Self {
        Self { list, last: last(list) }
    }
}

vectorized! {
    fn last(pairs: &[Pair]) -> Pair {
        pairs.iter().fold([0; 2], |last, pair| [last[0].max(pair[0]), last[1].max(pair[1])])
    }
}

/// `c[i][j] += Σ_pairs A[pair][i] · B[pair][j]` for `columns` = [columns of A, columns of B]: a product
/// with the first factor transposed, whose rows lie anywhere. The rows of the result are `stride` apart.
/// Where `overwrite` is set, `=` in place of `+=`.
pub(crate) fn transposed_product(
    pairs: Pairs<'_>,
    a: &[f32],
    b: &[f32],
    columns: [usize; 2],
    overwrite: bool,
    c: &mut [f32],
    stride: usize,
) {
    // The loops trust these.
    let ([last_a, last_b], pairs) = (pairs.last.map(|last| last as usize), pairs.list);
    let fits = last_a + columns[0] <= a.len() && last_b + columns[1] <= b.len();
    assert!(pairs.is_empty() || fits, "rows that end outside their matrices");
    if columns[0] == 0 || columns[1] == 0 {
        return;
    }
    assert!((columns[0] - 1) * stride + columns[1] <= c.len(), "a result of the wrong length");
    let job = Transposed { pairs, a, b, columns, overwrite, stride };
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m256, __m512};

        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512(job: Transposed<'_>, c: &mut [f32]) {
            // SAFETY: this function has the instructions, and the lengths were checked.
            unsafe { transposed::<__m512, 8, 8, 8>(job, c) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(job: Transposed<'_>, c: &mut [f32]) {
            // SAFETY: this function has the instructions, and the lengths were checked.
            unsafe { transposed::<__m256, 8, 6, 4>(job, c) }
        }
        match level() {
            // SAFETY: `level` has found the features.
            Level::Avx512 => return unsafe { avx512(job, c) },
            // SAFETY: `level` has found the features.
            Level::Avx2 => return unsafe { avx2(job, c) },
            Level::Baseline => {}
        }
    }
    // SAFETY: `Four` needs no instructions, and the lengths were checked.
    unsafe { transposed::<Four, 8, 6, 4>(job, c) }
}

#[derive(Clone, Copy)]
struct Transposed<'a> {
    pairs: &'a [Pair],
    a: &'a [f32],
    b: &'a [f32],
    columns: [usize; 2],
    overwrite: bool,
    stride: usize,
}

/// [`transposed_product`] for one kind of vector, with so many rows at a time in panels of one, two
/// and three vectors.
///
/// # Safety
/// The machine has the vector's instructions; every pair's rows and the result's lie in the slices.
#[inline(always)]
unsafe fn transposed<V: Vector, const ONE: usize, const TWO: usize, const THREE: usize>(
    job: Transposed<'_>,
    c: &mut [f32],
) {
    for (first, width) in panels::<V>(job.columns[1]) {
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
/// `WHOLE` says that every vector of the panel lies within the columns.
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

#[cfg(test)]
mod tests {
    use ndarray::ArrayView2;

    use super::*;
    use crate::simd::FORCED;

    struct Plain<'a> {
        a: &'a [f32],
        stride: usize,
        depth: usize,
        columns: usize,
    }

    impl Rows for Plain<'_> {
        type Place = usize;
        fn place(&self, r: usize) -> usize {
            r * self.stride
        }
        fn segment(&self, place: usize, segment: usize) -> &[f32] {
            &self.a[place + segment * self.depth..]
        }
        fn target(&self, r: usize) -> usize {
            r * self.columns
        }
    }

    fn numbers(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 17) as f32 - 8.0).collect()
    }

    /// The product by `matrixmultiply`, which ndarray calls: another's loops as an oracle.
    fn matrixmultiply_product(
        a: &[f32],
        b: &[f32],
        [rows, depth, columns]: [usize; 3],
    ) -> Vec<f32> {
        let a = ArrayView2::from_shape((rows, depth), a).unwrap();
        let b = ArrayView2::from_shape((depth, columns), b).unwrap();
        a.dot(&b).iter().copied().collect()
    }

    /// Whole numbers this small are summed exactly, so every shape must give equality.
    #[test]
    fn products_of_every_small_shape_are_exact_at_every_level() {
        let best = level();
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            if best == Level::Avx512 || level == best || level == Level::Baseline {
                FORCED.set(Some(level));
                check_products();
                FORCED.set(None);
            }
        }
    }

    fn check_products() {
        for rows in [1, 3, 8, 9, 17] {
            for depth in [1, 2, 6, 40] {
                for columns in [1, 5, 16, 31, 40, 64, 80, 113] {
                    let (a, b) = (numbers(rows * depth), numbers(depth * columns));
                    let expected = matrixmultiply_product(&a, &b, [rows, depth, columns]);
                    let segments = if depth % 2 == 0 { 2 } else { 1 };
                    let source = Plain { a: &a, stride: depth, depth: depth / segments, columns };
                    let mut packed = vec![9.0; packed_len(depth, columns)];
                    let list = [0, 1];
                    let mut y = vec![9.0; rows * columns];
                    let transposed: Vec<f32> =
                        (0..depth * columns).map(|i| b[i % depth * columns + i / depth]).collect();
                    for transpose in [false, true] {
                        if transpose {
                            pack(&transposed, |k| k, depth, depth, columns, &mut packed);
                        } else {
                            pack(&b, |k| k * columns, 1, depth, columns, &mut packed);
                        }
                        let job = Gather {
                            rows,
                            segments: &list[..segments],
                            depth: depth / segments,
                            packed: &packed,
                            packed_depth: depth,
                            columns,
                            bias: None,
                        };
                        gather_product(&source, job, &mut y);
                        assert_eq!(y, expected, "{rows} {depth} {columns}");
                    }

                    // The transposed product takes A as [depth, rows].
                    let a_t: Vec<f32> =
                        (0..rows * depth).map(|i| a[i % rows * depth + i / rows]).collect();
                    let pairs: Vec<Pair> =
                        (0..depth).map(|k| [(k * rows) as u32, (k * columns) as u32]).collect();
                    let size = [rows, columns];
                    transposed_product(Pairs::new(&pairs), &a_t, &b, size, true, &mut y, columns);
                    assert_eq!(y, expected, "{rows} {depth} {columns}");
                    transposed_product(Pairs::new(&pairs), &a_t, &b, size, false, &mut y, columns);
                    assert!(y.iter().zip(&expected).all(|(y, e)| *y == 2.0 * e));
                }
            }
        }
    }
}
