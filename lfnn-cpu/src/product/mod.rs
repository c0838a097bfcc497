//! The two products that everything with a weight runs on: [`gather_product`] of rows that are anywhere with a packed
//! matrix (forward and input gradient), and [`transposed_product`] of pairs of rows (weight gradient).
//!
//! `vectors` has loops for AVX2 and AVX-512; where there is neither, `portable` calls `matrixmultiply`. The loops are
//! lfnn's own because that library allocates a packing buffer in every call, wants the windows of a convolution copied
//! into a matrix first, and does not sum over rows that are apart from one another.

mod operands;
mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vectors;

pub(crate) use self::operands::{Gather, RowPair, RowPairs, Rows, StridedRows};
pub(crate) use self::pack::{
    PANEL_ROWS, copy_panel, pack, pack_transposed, packed_len, panel_columns,
};
pub(crate) use self::portable::multiply;

use self::operands::Transposed;
use crate::simd::by_level;

/// `y[r] = bias + Σ_segments row_r(segment) · B[segment]`.
pub(crate) fn gather_product<R: Rows>(source: &R, job: Gather<'_>, y: &mut [f32]) {
    by_level! {
        fn<R: Rows>(source: &R, job: Gather<'_>, y: &mut [f32]);
        // SAFETY: the function has the instructions.
        avx512 => unsafe { vectors::gather::<std::arch::x86_64::__m512, 3, 8, 8, 8, R>(source, job, y) },
        // SAFETY: as above.
        avx2 => unsafe { vectors::gather::<std::arch::x86_64::__m256, 2, 8, 6, 4, R>(source, job, y) },
        portable => portable::gather(source, job, y),
    }
}

/// `c[i][j] += Σ_pairs A[pair][i] · B[pair][j]` for `columns` = [columns of A, columns of B]: a product with the first
/// factor transposed, whose rows are anywhere. The rows of the result are `stride` apart. Where `overwrite` is set, `=`
/// in place of `+=`.
pub(crate) fn transposed_product(
    pairs: RowPairs<'_>,
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
    by_level! {
        fn(job: Transposed<'_>, c: &mut [f32]);
        // SAFETY: the function has the instructions, and the lengths were checked.
        avx512 => unsafe { vectors::transposed::<std::arch::x86_64::__m512, 3, 8, 8, 8>(job, c) },
        // SAFETY: as above.
        avx2 => unsafe { vectors::transposed::<std::arch::x86_64::__m256, 2, 8, 6, 4>(job, c) },
        portable => portable::transposed(job, c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::with_each_level;

    /// Rows of two segments, with a gap between them, whose results are in the opposite order.
    struct Reversed<'a> {
        a: &'a [f32],
        rows: usize,
        depth: usize,
        columns: usize,
    }

    impl Rows for Reversed<'_> {
        type Place = usize;
        fn place(&self, r: usize) -> usize {
            r * self.depth
        }
        fn segment(&self, place: usize, segment: usize) -> &[f32] {
            // In B there is a segment between them that is not used.
            &self.a[place + segment / 2 * self.rows * self.depth..]
        }
        fn target(&self, r: usize) -> usize {
            (self.rows - 1 - r) * (self.columns + 3)
        }
    }

    /// Whole numbers so small that their sums are exact in any order.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed) % 17) as f32 - 8.0).collect()
    }

    /// `Σ_k a(k) b(k)` in double precision.
    fn inner(depth: usize, a: impl Fn(usize) -> f32, b: impl Fn(usize) -> f32) -> f64 {
        (0..depth).map(|k| f64::from(a(k)) * f64::from(b(k))).sum()
    }

    fn each_odd_shape(check: impl Fn([usize; 3])) {
        for rows in [1, 3, 9, 17, 131] {
            for depth in [1, 2, 7, 40] {
                for columns in [1, 5, 16, 31, 40, 64, 113] {
                    check([rows, depth, columns]);
                }
            }
        }
    }

    #[test]
    fn gathered_rows_of_every_shape_give_the_oracles_product_at_every_level() {
        with_each_level(|level| {
            each_odd_shape(|shape| {
                let [rows, depth, columns] = shape;
                let (a, bias) = (numbers(2 * rows * depth, 1), numbers(columns, 2));
                let b = numbers(3 * depth * columns, 3);
                let turned: Vec<f32> =
                    (0..b.len()).map(|i| b[i % (3 * depth) * columns + i / (3 * depth)]).collect();
                let source = Reversed { a: &a, rows, depth, columns };
                for (turn, bias) in [(false, None), (true, Some(&*bias))] {
                    let mut packed = vec![9.0; packed_len(3 * depth, columns)];
                    if turn {
                        pack(&turned, |k| k, 3 * depth, 3 * depth, columns, &mut packed);
                    } else {
                        pack(&b, |k| k * columns, 1, 3 * depth, columns, &mut packed);
                    }
                    let job = Gather {
                        rows,
                        segments: &[0, 2],
                        depth,
                        packed: &packed,
                        packed_depth: 3 * depth,
                        columns,
                        bias,
                    };
                    let mut y = vec![9.0; rows * (columns + 3)];
                    gather_product(&source, job, &mut y);
                    for r in 0..rows {
                        let y = &y[source.target(r)..][..columns + 3];
                        for (j, &y) in y[..columns].iter().enumerate() {
                            let a = |k: usize| a[(k / depth * rows + r) * depth + k % depth];
                            let b = |k: usize| b[(k / depth * 2 * depth + k % depth) * columns + j];
                            let bias = bias.map_or(0.0, |bias| f64::from(bias[j]));
                            let expected = inner(2 * depth, a, b) + bias;
                            assert_eq!(f64::from(y), expected, "{level:?} {shape:?} {r} {j}");
                        }
                        assert_eq!(y[columns..], [9.0; 3], "{level:?} {shape:?}");
                    }
                }
            });
        });
    }

    #[test]
    fn transposed_rows_of_every_shape_give_the_oracles_product_at_every_level() {
        with_each_level(|level| {
            each_odd_shape(|shape| {
                let [rows, depth, columns] = shape;
                let (a, b) = (numbers(depth * rows, 1), numbers(2 * depth * columns, 2));
                // Every second row of B, from the last one on.
                let pair = |k: usize| [k * rows, 2 * (depth - 1 - k) * columns];
                let pairs: Vec<RowPair> = (0..depth).map(|k| pair(k).map(|at| at as u32)).collect();
                let stride = columns + 3;
                let mut c = vec![9.0; rows * stride];
                for times in [1.0, 2.0] {
                    let (size, overwrite) = ([rows, columns], times == 1.0);
                    let pairs = RowPairs::new(&pairs);
                    transposed_product(pairs, &a, &b, size, overwrite, &mut c, stride);
                    for (i, c) in c.chunks_exact(stride).enumerate() {
                        for (j, &c) in c[..columns].iter().enumerate() {
                            let sum = inner(depth, |k| a[pair(k)[0] + i], |k| b[pair(k)[1] + j]);
                            assert_eq!(f64::from(c), times * sum, "{level:?} {shape:?} {i} {j}");
                        }
                        assert_eq!(c[columns..], [9.0; 3], "{level:?} {shape:?}");
                    }
                }
                // No pairs give zeros, or leave what is there.
                for (overwrite, expected) in [(false, c[0]), (true, 0.0)] {
                    let none = RowPairs::new(&[]);
                    transposed_product(none, &a, &b, [rows, columns], overwrite, &mut c, stride);
                    assert_eq!(c[0], expected, "{level:?} {shape:?}");
                }
            });
        });
    }
}
