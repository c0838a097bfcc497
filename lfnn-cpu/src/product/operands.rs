//! The operands of products.

use crate::simd::vectorized;

/// How the rows of a product are found.
pub(crate) trait Rows {
    /// Where a row is, computed once.
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
    /// B, from [`pack`](super::pack()).
    pub(crate) packed: &'a [f32],
    /// Rows of B.
    pub(crate) packed_depth: usize,
    /// Columns of B.
    pub(crate) columns: usize,
    /// Added to every row of the result.
    pub(crate) bias: Option<&'a [f32]>,
}

/// Rows of a matrix that are a fixed distance apart, as those of the result are. They have one segment.
pub(crate) struct StridedRows<'a> {
    pub(crate) data: &'a [f32],
    /// From one row to the next.
    pub(crate) stride: usize,
    pub(crate) depth: usize,
    /// From one row of the result to the next, and where the first begins.
    pub(crate) distance: usize,
    pub(crate) first: usize,
}

impl Rows for StridedRows<'_> {
    type Place = usize;

    #[inline(always)]
    fn place(&self, r: usize) -> usize {
        r * self.stride
    }

    #[inline(always)]
    fn segment(&self, place: usize, _: usize) -> &[f32] {
        &self.data[place..][..self.depth]
    }

    #[inline(always)]
    fn target(&self, r: usize) -> usize {
        r * self.distance + self.first
    }
}

/// Where a row of A and the row of B that it is multiplied with begin: offsets in their slices.
pub(crate) type RowPair = [u32; 2];

/// Pairs of rows, and the last rows that they name.
#[derive(Clone, Copy)]
pub(crate) struct RowPairs<'a> {
    pub(super) list: &'a [RowPair],
    pub(super) last: RowPair,
}

impl<'a> RowPairs<'a> {
    pub(crate) fn new(list: &'a [RowPair]) -> Self {
        Self { list, last: last(list) }
    }
}

vectorized! {
    fn last(pairs: &[RowPair]) -> RowPair {
        pairs.iter().fold([0; 2], |last, pair| [last[0].max(pair[0]), last[1].max(pair[1])])
    }
}

/// A product of transposed rows of A with rows of B.
#[derive(Clone, Copy)]
pub(super) struct Transposed<'a> {
    pub(super) pairs: &'a [RowPair],
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
    /// Columns of A and of B.
    pub(super) columns: [usize; 2],
    /// Whether the result replaces what was there, rather than being added to it.
    pub(super) overwrite: bool,
    /// From one row of the result to the next.
    pub(super) stride: usize,
}
