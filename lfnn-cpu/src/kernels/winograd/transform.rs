//! The transforms of F(2×2, 3×3) and F(3×3, 2×2), on vectors of channels.
//!
//! One dimension of F(2, 3): `y = Aᵀ [(G w) ⊙ (Bᵀ x)]` for 4 inputs, 3 weights and 2 results; F(3, 2), with 2
//! gradients in place of 3 weights, has the same Bᵀ. Two dimensions apply each matrix to rows and then to columns.
//! The 16 numbers of a transformed tile go into 16 matrices, `distance` apart.

use crate::simd::{Vector, with_vectors};

/// Numbers of a transformed tile.
pub(crate) const FREQUENCIES: usize = 16;
/// A pixel outside the image.
pub(crate) const OUTSIDE: u32 = u32::MAX;

/// Where the pixels of an image's tiles lie.
pub(crate) struct Lattice {
    /// For each tile, where each of its pixels begins.
    offsets: Vec<u32>,
    /// Tiles of an image.
    pub(crate) tiles: usize,
    /// Numbers of an image.
    image_len: usize,
    pub(crate) channels: usize,
}

impl Lattice {
    /// Tiles of `side` × `side` pixels that begin at every second pixel of every second row, the first `padding`
    /// before the image.
    pub(crate) fn new(
        grid: [usize; 2],
        side: usize,
        padding: [usize; 2],
        image: [usize; 2],
        channels: usize,
    ) -> Self {
        let at = |axis: usize, tile: usize, i: usize| {
            (2 * tile + i).checked_sub(padding[axis]).filter(|&at| at < image[axis])
        };
        let mut offsets = Vec::with_capacity(grid[0] * grid[1] * side * side);
        for (ty, tx) in (0..grid[0]).flat_map(|ty| (0..grid[1]).map(move |tx| (ty, tx))) {
            for (i, j) in (0..side).flat_map(|i| (0..side).map(move |j| (i, j))) {
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

    /// The channels of a tile's `N` pixels; `zeros` stands for those outside.
    #[inline(always)]
    fn pixels<'a, const N: usize>(
        &self,
        images: &'a [f32],
        tile: usize,
        zeros: &'a [f32],
    ) -> [&'a [f32]; N] {
        let (image, tile) = (tile / self.tiles, tile % self.tiles);
        let image = &images[image * self.image_len..][..self.image_len];
        let offsets = &self.offsets[tile * N..][..N];
        let mut pixels = [zeros; N];
        for (pixel, &at) in pixels.iter_mut().zip(offsets) {
            if at != OUTSIDE {
                *pixel = &image[at as usize..][..self.channels];
            }
        }
        pixels
    }
}

impl Part {
    /// Its number of channels.
    ///
    /// # Panics
    /// Channels that are not there, or matrices that it does not fit in: the loops trust both.
    fn fit(&self, lattice: &Lattice, len: usize, distance: usize) -> usize {
        let [first, count] = self.channels;
        assert!(first + count <= lattice.channels && count <= self.stride);
        assert!((FREQUENCIES - 1) * distance + self.tiles[1] * self.stride <= len);
        count
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

impl Matrix<4, 4> for Input {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
        // SAFETY: the caller's; so in all that follow.
        unsafe { [a.subtract(c), b.add(c), c.subtract(b), b.subtract(d)] }
    }
}

/// Aᵀ of F(2, 3).
struct Result;

impl Matrix<2, 4> for Result {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
        // SAFETY: as above.
        unsafe { [a.add(b).add(c), b.subtract(c).subtract(d)] }
    }
}

/// G of F(2, 3).
struct Weight;

impl Matrix<4, 3> for Weight {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c]: [V; 3]) -> [V; 4] {
        // SAFETY: as above.
        unsafe {
            let half = V::splat(0.5);
            let (sum, b) = (a.add(c).multiply(half), b.multiply(half));
            [a, sum.add(b), sum.subtract(b), c]
        }
    }
}

/// G of F(3, 2).
struct Gradient;

impl Matrix<4, 2> for Gradient {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b]: [V; 2]) -> [V; 4] {
        // SAFETY: as above.
        unsafe {
            let half = V::splat(0.5);
            [a, a.add(b).multiply(half), a.subtract(b).multiply(half), b]
        }
    }
}

/// Aᵀ of F(3, 2).
struct WeightGradient;

impl Matrix<3, 4> for WeightGradient {
    #[inline(always)]
    unsafe fn times<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 3] {
        // SAFETY: as above.
        unsafe {
            let sum = b.add(c);
            [a.add(sum), b.subtract(c), sum.subtract(d)]
        }
    }
}

/// `M x Mᵀ`.
///
/// # Safety
/// The vector's instructions.
#[inline(always)]
unsafe fn both_sides<V: Vector, M: Matrix<R, C>, const R: usize, const C: usize>(
    x: [[V; C]; C],
) -> [[V; R]; R] {
    // Loops and no closures: a closure that is not inlined would lose the instructions.
    // SAFETY: the caller's.
    unsafe {
        let mut rows = [[V::zero(); R]; C];
        for i in 0..C {
            rows[i] = M::times(x[i]);
        }
        let mut y = [[V::zero(); R]; R];
        for j in 0..R {
            let mut column = [V::zero(); C];
            for i in 0..C {
                column[i] = rows[i][j];
            }
            let column = M::times(column);
            for i in 0..R {
                y[i][j] = column[i];
            }
        }
        y
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

/// Some channels of some tiles.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// The first tile, of all images', and how many.
    pub(crate) tiles: [usize; 2],
    /// The first channel, and how many.
    pub(crate) channels: [usize; 2],
    /// Numbers from one tile's row to the next in the matrices.
    pub(crate) stride: usize,
}

/// Transforms tiles of `SIDE` × `SIDE` pixels by a matrix: the results have a row for each.
///
/// # Safety
/// The vector's instructions.
#[inline(always)]
unsafe fn tiles<V: Vector, M: Matrix<4, SIDE>, const SIDE: usize, const PIXELS: usize>(
    lattice: &Lattice,
    images: &[f32],
    part: Part,
    zeros: &[f32],
    to: &mut [f32],
    distance: usize,
) {
    let (zeros, channels) = (&zeros[..lattice.channels], part.fit(lattice, to.len(), distance));
    for t in 0..part.tiles[1] {
        let from = lattice.pixels::<PIXELS>(images, part.tiles[0] + t, zeros);
        let from = from.map(|from| from[part.channels[0]..].as_ptr());
        let to = to[t * part.stride..].as_mut_ptr();
        // SAFETY: the pointers are good for the channels, as are those of each matrix, which was asserted.
        unsafe {
            each_vector!(V, channels, c, mask, {
                let mut x = [[V::zero(); SIDE]; SIDE];
                for i in 0..PIXELS {
                    x[i / SIDE][i % SIDE] = load::<V, WHOLE>(from[i].add(c), mask);
                }
                let x = both_sides::<V, M, 4, SIDE>(x);
                for f in 0..FREQUENCIES {
                    store::<V, WHOLE>(x[f / 4][f % 4], to.add(f * distance + c), mask);
                }
            });
        }
    }
}

with_vectors! {
    /// Transforms the input's tiles.
    pub(crate) fn inputs<V>(
        lattice: &Lattice,
        images: &[f32],
        part: Part,
        zeros: &[f32],
        to: &mut [f32],
        distance: usize,
    ) {
        // SAFETY: the instructions are there.
        unsafe { tiles::<V, Input, 4, 16>(lattice, images, part, zeros, to, distance) }
    }

    /// Transforms the gradient's tiles.
    pub(crate) fn gradients<V>(
        lattice: &Lattice,
        images: &[f32],
        part: Part,
        zeros: &[f32],
        to: &mut [f32],
        distance: usize,
    ) {
        // SAFETY: the instructions are there.
        unsafe { tiles::<V, Gradient, 2, 4>(lattice, images, part, zeros, to, distance) }
    }

    /// Transforms products back into the pixels of tiles, of which those outside are left out.
    pub(crate) fn results<V>(
        lattice: &Lattice,
        from: &[f32],
        distance: usize,
        bias: Option<&[f32]>,
        images: &mut [f32],
    ) {
        let channels = lattice.channels;
        let count = images.len() / lattice.image_len * lattice.tiles;
        assert!((FREQUENCIES - 1) * distance + count * channels <= from.len());
        assert!(bias.is_none_or(|bias| bias.len() >= channels));
        for t in 0..count {
            let from = from[t * channels..].as_ptr();
            let (image, tile) = (t / lattice.tiles, t % lattice.tiles);
            let image = &mut images[image * lattice.image_len..][..lattice.image_len];
            let offsets = &lattice.offsets[tile * 4..][..4];
            let to: [*mut f32; 4] = std::array::from_fn(|i| match offsets[i] {
                OUTSIDE => std::ptr::null_mut(),
                at => image[at as usize..][..channels].as_mut_ptr(),
            });
            // SAFETY: every matrix has the row, which was asserted, and every pixel the channels.
            unsafe {
                each_vector!(V, channels, c, mask, {
                    let mut x = [[V::zero(); 4]; 4];
                    for f in 0..FREQUENCIES {
                        x[f / 4][f % 4] = load::<V, WHOLE>(from.add(f * distance + c), mask);
                    }
                    let y = both_sides::<V, Result, 2, 4>(x);
                    let mut shift = V::zero();
                    if let Some(bias) = bias {
                        shift = load::<V, WHOLE>(bias.as_ptr().add(c), mask);
                    }
                    for i in 0..4 {
                        if !to[i].is_null() {
                            store::<V, WHOLE>(y[i / 2][i % 2].add(shift), to[i].add(c), mask);
                        }
                    }
                });
            }
        }
    }

    /// Transforms a filter's weights `[3, 3, channels]` into a row of each matrix; `flip` turns them by 180°.
    pub(crate) fn weights<V>(from: &[f32], flip: bool, to: &mut [f32], distance: usize) {
        let channels = from.len() / 9;
        assert!((FREQUENCIES - 1) * distance + channels <= to.len());
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        // SAFETY: nine rows of weights, and a row in every matrix, which was asserted.
        unsafe {
            each_vector!(V, channels, c, mask, {
                let mut w = [[V::zero(); 3]; 3];
                for i in 0..9 {
                    let tap = if flip { 8 - i } else { i };
                    w[i / 3][i % 3] = load::<V, WHOLE>(from.add(tap * channels + c), mask);
                }
                let w = both_sides::<V, Weight, 4, 3>(w);
                for f in 0..FREQUENCIES {
                    store::<V, WHOLE>(w[f / 4][f % 4], to.add(f * distance + c), mask);
                }
            });
        }
    }

    /// Transforms a row of each matrix back into a filter's gradient `[3, 3, channels]`.
    pub(crate) fn weight_gradients<V>(from: &[f32], distance: usize, to: &mut [f32]) {
        let channels = to.len() / 9;
        assert!((FREQUENCIES - 1) * distance + channels <= from.len());
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        // SAFETY: a row in every matrix, which was asserted, and nine rows of weights.
        unsafe {
            each_vector!(V, channels, c, mask, {
                let mut w = [[V::zero(); 4]; 4];
                for f in 0..FREQUENCIES {
                    w[f / 4][f % 4] = load::<V, WHOLE>(from.add(f * distance + c), mask);
                }
                let w = both_sides::<V, WeightGradient, 3, 4>(w);
                for tap in 0..9 {
                    store::<V, WHOLE>(w[tap / 3][tap % 3], to.add(tap * channels + c), mask);
                }
            });
        }
    }
}
