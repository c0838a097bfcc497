//! The transforms of F(4×4, 3×3) and F(3×3, 4×4), on vectors of channels.
//!
//! One dimension of F(4, 3): `y = Aᵀ [(G w) ⊙ (Bᵀ x)]` for 6 inputs, 3 weights and 4 results; F(3, 4), with 4
//! gradients in place of 3 weights, has the same Bᵀ. Two dimensions apply each matrix to rows and then to columns.
//!
//! The matrices are Toom and Cook's for the points 0, ±√½, ±√2 and infinity: with ±1 and ±2, which are usual, rounding
//! errors are four times as large (Barabasz et al. 2020, arXiv 1803.10986, on the choice of points).

use std::f32::consts::SQRT_2;

use crate::kernels::windows::OUTSIDE;
use crate::simd::{Vector, with_vectors};

/// Numbers of a transformed tile along each axis.
const SIDE: usize = 6;
/// Numbers of a transformed tile.
pub(crate) const FREQUENCIES: usize = SIDE * SIDE;
/// Pixels of a tile of results along each axis.
const STEP: usize = 4;

/// Tiles along each axis of the result.
pub(crate) fn grid(result: [usize; 2]) -> [usize; 2] {
    result.map(|extent| extent.div_ceil(STEP))
}

/// Numbers from one matrix of a transformed tensor to the next: a cache line more than they hold, because lines a power
/// of two apart would evict one another.
pub(crate) fn distance(rows: usize, columns: usize) -> usize {
    (rows * columns).next_multiple_of(16) + 16
}

/// Where the pixels of an image's tiles are.
pub(crate) struct TileGrid {
    /// For each tile, where each of its pixels begins.
    offsets: Vec<u32>,
    /// Tiles of an image.
    pub(crate) tiles: usize,
    /// Numbers of an image.
    image_len: usize,
    pub(crate) channels: usize,
}

impl TileGrid {
    /// Tiles of the pixels that results are made of: they overlap. The first begin `padding` before the image.
    pub(crate) fn inputs(
        grid: [usize; 2],
        padding: [usize; 2],
        image: [usize; 2],
        channels: usize,
    ) -> Self {
        Self::new::<SIDE>(grid, padding, image, channels)
    }

    /// Tiles of results.
    pub(crate) fn results(grid: [usize; 2], image: [usize; 2], channels: usize) -> Self {
        Self::new::<STEP>(grid, [0, 0], image, channels)
    }

    fn new<const PIXELS: usize>(
        grid: [usize; 2],
        padding: [usize; 2],
        image: [usize; 2],
        channels: usize,
    ) -> Self {
        let at = |axis: usize, tile: usize, i: usize| {
            (STEP * tile + i).checked_sub(padding[axis]).filter(|&at| at < image[axis])
        };
        let mut offsets = Vec::with_capacity(grid[0] * grid[1] * PIXELS * PIXELS);
        for (ty, tx) in (0..grid[0]).flat_map(|ty| (0..grid[1]).map(move |tx| (ty, tx))) {
            for (i, j) in (0..PIXELS).flat_map(|i| (0..PIXELS).map(move |j| (i, j))) {
                offsets.push(match (at(0, ty, i), at(1, tx, j)) {
                    (Some(y), Some(x)) => ((y * image[1] + x) * channels) as u32,
                    _ => OUTSIDE,
                });
            }
        }
        let image_len = image[0] * image[1] * channels;
        Self { offsets, tiles: grid[0] * grid[1], image_len, channels }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.offsets)
    }

    /// The image of a tile, and where its pixels are in it.
    #[inline(always)]
    fn tile<const PIXELS: usize>(&self, tile: usize) -> (usize, &[u32]) {
        let (image, tile) = (tile / self.tiles, tile % self.tiles);
        (image * self.image_len, &self.offsets[tile * PIXELS * PIXELS..][..PIXELS * PIXELS])
    }
}

/// A matrix that a transform multiplies by.
trait Matrix<const ROWS: usize, const COLUMNS: usize> {
    /// The product with a column.
    ///
    /// # Safety
    /// The vector's instructions.
    unsafe fn times<V: Vector>(x: [V; COLUMNS]) -> [V; ROWS];
}

/// Bᵀ.
struct Input;

impl Matrix<6, 6> for Input {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's; so in all that follow.
        unsafe {
            let (two, half, middle) = (V::splat(-2.0), V::splat(-0.5), V::splat(-2.5));
            let (near, far) = (V::splat(SQRT_2 / 2.0), V::splat(SQRT_2));
            let (even, odd) = (e.multiply_add(two, c), d.multiply_add(two, b).multiply(near));
            let (even2, odd2) = (e.multiply_add(half, c), d.multiply_add(half, b).multiply(far));
            [
                a.add(e).multiply_add(middle, c),
                even.add(odd),
                even.subtract(odd),
                even2.add(odd2),
                even2.subtract(odd2),
                b.add(f).multiply_add(middle, d),
            ]
        }
    }
}

/// What Aᵀ of F(4, 3) and of F(3, 4) share: their first two rows, and the sum and difference of each pair of points.
///
/// # Safety
/// The vector's instructions.
#[inline(always)]
unsafe fn sums<V: Vector>(a: V, [b, c]: [V; 2], [d, e]: [V; 2]) -> [V; 6] {
    // SAFETY: the caller's.
    unsafe {
        let (even, odd, even2, odd2) = (b.add(c), b.subtract(c), d.add(e), d.subtract(e));
        let second = odd2.multiply_add(V::splat(0.5), odd).multiply(V::splat(SQRT_2));
        [a.add(even).add(even2), second, even, odd, even2, odd2]
    }
}

/// What G of F(4, 3) and of F(3, 4) share: the values at all points, by the coefficients of degree 0 and 2, the odd
/// part at each pair of points, and the last coefficient.
///
/// # Safety
/// The vector's instructions.
#[inline(always)]
unsafe fn values<V: Vector>(a: V, c: V, [odd, odd2]: [V; 2], last: V) -> [V; 6] {
    // SAFETY: the caller's.
    unsafe {
        let (third, sixth) = (V::splat(1.0 / 3.0), V::splat(1.0 / 6.0));
        let even = a.multiply(V::splat(-2.0 / 3.0)).multiply_add(V::splat(-1.0 / 3.0), c);
        let even2 = a.multiply(sixth).multiply_add(third, c);
        [a, even.subtract(odd), even.add(odd), even2.add(odd2), even2.subtract(odd2), last]
    }
}

/// Aᵀ of F(4, 3).
struct Result;

impl Matrix<4, 6> for Result {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 4] {
        // SAFETY: as above.
        unsafe {
            let [first, second, even, odd, even2, odd2] = sums(a, [b, c], [d, e]);
            let (two, half) = (V::splat(2.0), V::splat(0.5));
            [
                first,
                second,
                even.multiply(half).multiply_add(two, even2),
                f.multiply_add(V::splat(SQRT_2 / 4.0), odd)
                    .multiply_add(V::splat(2.0 * SQRT_2), odd2),
            ]
        }
    }
}

/// Aᵀ of F(3, 4).
struct WeightGradient;

impl Matrix<3, 6> for WeightGradient {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 3] {
        // SAFETY: as above.
        unsafe {
            let [first, second, even, _, even2, _] = sums(a, [b, c], [d, e]);
            let (two, half) = (V::splat(2.0), V::splat(0.5));
            [first, second, f.multiply_add(half, even).multiply_add(two, even2)]
        }
    }
}

/// G of F(4, 3).
struct Weight;

impl Matrix<6, 3> for Weight {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c]: [V; 3]) -> [V; 6] {
        // SAFETY: as above.
        unsafe {
            let odd = b.multiply(V::splat(SQRT_2 / 3.0));
            let odd2 = b.multiply(V::splat(SQRT_2 / 6.0));
            values(a, c, [odd, odd2], c)
        }
    }
}

/// G of F(3, 4).
struct Gradient;

impl Matrix<6, 4> for Gradient {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 6] {
        // SAFETY: as above.
        unsafe {
            let (half, two) = (V::splat(0.5), V::splat(2.0));
            let odd = b.multiply_add(half, d).multiply(V::splat(SQRT_2 / 3.0));
            let odd2 = b.multiply_add(two, d).multiply(V::splat(SQRT_2 / 6.0));
            values(a, c, [odd, odd2], d)
        }
    }
}

/// Runs a body for each vector `c` of channels; `WHOLE` says in it whether all of the vector is touched, or what
/// the mask says.
macro_rules! each_vector {
    ($vector:ident, $channels:ident, $c:ident, $mask:ident, $body:block) => {{
        let whole = $channels / $vector::LANES * $vector::LANES;
        let $mask = $vector::mask($channels - whole);
        let mut $c = 0;
        while $c < whole {
            const WHOLE: bool = true;
            $body
            $c += $vector::LANES;
        }
        if $c < $channels {
            const WHOLE: bool = false;
            $body
        }
    }};
}

/// # Safety
/// Instructions, and a pointer good for what is touched.
#[inline(always)]
unsafe fn load<V: Vector, const WHOLE: bool>(from: *const f32, mask: V::Mask) -> V {
    // SAFETY: the caller's.
    unsafe { if WHOLE { V::load(from) } else { V::load_first(from, mask) } }
}

/// # Safety
/// As for [`load`], to write.
#[inline(always)]
unsafe fn store<V: Vector, const WHOLE: bool>(x: V, to: *mut f32, mask: V::Mask) {
    // SAFETY: the caller's.
    unsafe { if WHOLE { x.store(to) } else { x.store_first(to, mask) } }
}

/// `M x Mᵀ` for each channel, plus its shift if there are any.
///
/// # Safety
/// The vector's instructions; pointers good for so many channels, those to write to for nobody else.
#[inline(always)]
unsafe fn transform<V: Vector, M: Matrix<R, C>, const R: usize, const C: usize>(
    from: &[[*const f32; C]; C],
    to: &[[*mut f32; R]; R],
    shift: Option<*const f32>,
    channels: usize,
) {
    // Loops and no closures: a closure that is not inlined would lose the instructions. A row is transformed as soon
    // as it is there and a column written at once, as the registers do not hold a tile.
    // SAFETY: the caller's.
    unsafe {
        each_vector!(V, channels, c, mask, {
            let mut rows = [[V::zero(); R]; C];
            for i in 0..C {
                let mut row = [V::zero(); C];
                for j in 0..C {
                    row[j] = load::<V, WHOLE>(from[i][j].add(c), mask);
                }
                rows[i] = M::times(row);
            }
            for j in 0..R {
                let mut column = [V::zero(); C];
                for i in 0..C {
                    column[i] = rows[i][j];
                }
                let column = M::times(column);
                for i in 0..R {
                    let mut y = column[i];
                    if let Some(shift) = shift {
                        y = y.add(load::<V, WHOLE>(shift.add(c), mask));
                    }
                    store::<V, WHOLE>(y, to[i][j].add(c), mask);
                }
            }
        });
    }
}

/// Some channels of some tiles, as rows of matrices.
#[derive(Clone, Copy)]
pub(crate) struct TileBlock {
    /// The first tile, of all images', and how many.
    pub(crate) tiles: [usize; 2],
    /// The first channel, and how many.
    pub(crate) channels: [usize; 2],
    /// Numbers from one tile's row to the next in the matrices.
    pub(crate) stride: usize,
    /// Numbers from one frequency's matrix to the next.
    pub(crate) distance: usize,
}

impl TileBlock {
    /// # Panics
    /// Channels that are not there, or matrices of `len` numbers that it does not fit in: the loops trust both.
    fn check(&self, grid: &TileGrid, len: usize) {
        let [first, count] = self.channels;
        assert!(first + count <= grid.channels && count <= self.stride);
        assert!((FREQUENCIES - 1) * self.distance + self.tiles[1] * self.stride <= len);
    }
}

/// Transforms tiles of `PIXELS` × `PIXELS` pixels by a matrix: the results have a row for each. `zeros` stands for
/// pixels outside.
///
/// # Safety
/// The vector's instructions.
#[inline(always)]
unsafe fn tiles<V: Vector, M: Matrix<SIDE, PIXELS>, const PIXELS: usize>(
    grid: &TileGrid,
    images: &[f32],
    block: TileBlock,
    zeros: &[f32],
    to: &mut [f32],
) {
    block.check(grid, to.len());
    let [first, count] = block.channels;
    let zeros = zeros[..count].as_ptr();
    for t in 0..block.tiles[1] {
        let (image, offsets) = grid.tile::<PIXELS>(block.tiles[0] + t);
        let image = &images[image..][..grid.image_len];
        let mut from = [[zeros; PIXELS]; PIXELS];
        for (from, &at) in from.as_flattened_mut().iter_mut().zip(offsets) {
            if at != OUTSIDE {
                *from = image[at as usize..][..grid.channels][first..].as_ptr();
            }
        }
        let row = to[t * block.stride..].as_mut_ptr();
        let mut to = [[row; SIDE]; SIDE];
        // SAFETY: every matrix has the row, which was asserted; every pixel and the zeros have the channels.
        unsafe {
            for (f, to) in to.as_flattened_mut().iter_mut().enumerate() {
                *to = row.add(f * block.distance);
            }
            transform::<V, M, SIDE, PIXELS>(&from, &to, None, count);
        }
    }
}

with_vectors! {
    /// Transforms the input's tiles.
    pub(crate) fn inputs<V>(
        grid: &TileGrid,
        images: &[f32],
        block: TileBlock,
        zeros: &[f32],
        to: &mut [f32],
    ) {
        // SAFETY: the instructions are there.
        unsafe { tiles::<V, Input, SIDE>(grid, images, block, zeros, to) }
    }

    /// Transforms the gradient's tiles.
    pub(crate) fn gradients<V>(
        grid: &TileGrid,
        images: &[f32],
        block: TileBlock,
        zeros: &[f32],
        to: &mut [f32],
    ) {
        // SAFETY: the instructions are there.
        unsafe { tiles::<V, Gradient, STEP>(grid, images, block, zeros, to) }
    }

    /// Transforms products back into the pixels of images' tiles; those outside go to `sink`.
    pub(crate) fn results<V>(
        grid: &TileGrid,
        from: &[f32],
        block: TileBlock,
        bias: Option<&[f32]>,
        sink: &mut [f32],
        images: &mut [f32],
    ) {
        block.check(grid, from.len());
        let channels = grid.channels;
        assert!(block.channels == [0, channels]);
        let (bias, sink) = (bias.map(|bias| bias[..channels].as_ptr()), &mut sink[..channels]);
        for t in 0..block.tiles[1] {
            let row = from[t * block.stride..].as_ptr();
            let mut from = [[row; SIDE]; SIDE];
            let (image, offsets) = grid.tile::<STEP>(block.tiles[0] + t);
            let image = &mut images[image..][..grid.image_len];
            let mut to = [[sink.as_mut_ptr(); STEP]; STEP];
            for (to, &at) in to.as_flattened_mut().iter_mut().zip(offsets) {
                if at != OUTSIDE {
                    *to = image[at as usize..][..channels].as_mut_ptr();
                }
            }
            // SAFETY: every matrix has the row, which was asserted; every pixel, the sink and the bias have the channels.
            unsafe {
                for (f, from) in from.as_flattened_mut().iter_mut().enumerate() {
                    *from = row.add(f * block.distance);
                }
                transform::<V, Result, STEP, SIDE>(&from, &to, bias, channels);
            }
        }
    }

    /// Transforms nine taps, `distance[0]` apart and turned by 180° if `turned`, into the same row of every
    /// matrix, `distance[1]` apart.
    pub(crate) fn weights<V>(
        from: &[f32],
        turned: bool,
        distance: [usize; 2],
        channels: usize,
        to: &mut [f32],
    ) {
        assert!(8 * distance[0] + channels <= from.len());
        assert!((FREQUENCIES - 1) * distance[1] + channels <= to.len());
        let (first, row) = (from.as_ptr(), to.as_mut_ptr());
        let (mut from, mut to) = ([[first; 3]; 3], [[row; SIDE]; SIDE]);
        // SAFETY: nine rows of weights, and a row in every matrix: asserted.
        unsafe {
            for (i, from) in from.as_flattened_mut().iter_mut().enumerate() {
                *from = first.add(if turned { 8 - i } else { i } * distance[0]);
            }
            for (f, to) in to.as_flattened_mut().iter_mut().enumerate() {
                *to = row.add(f * distance[1]);
            }
            transform::<V, Weight, SIDE, 3>(&from, &to, None, channels);
        }
    }

    /// Transforms a row of each matrix back into a filter's gradient `[3, 3, channels]`.
    pub(crate) fn weight_gradients<V>(from: &[f32], distance: usize, to: &mut [f32]) {
        let channels = to.len() / 9;
        assert!((FREQUENCIES - 1) * distance + channels <= from.len());
        let (row, first) = (from.as_ptr(), to.as_mut_ptr());
        let (mut from, mut to) = ([[row; SIDE]; SIDE], [[first; 3]; 3]);
        // SAFETY: a row in every matrix, which was asserted, and nine rows of weights.
        unsafe {
            for (f, from) in from.as_flattened_mut().iter_mut().enumerate() {
                *from = row.add(f * distance);
            }
            for (tap, to) in to.as_flattened_mut().iter_mut().enumerate() {
                *to = first.add(tap * channels);
            }
            transform::<V, WeightGradient, 3, SIDE>(&from, &to, None, channels);
        }
    }
}
