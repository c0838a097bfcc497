//! Vector instructions: which this machine has, and functions compiled for each.
//!
//! [`vectorized!`] compiles a plain function on slices three times and picks one when it is called.
//! None of the three reorders a sum, so all give the same bytes. [`Vector`] is what the products
//! (`product`) and the transforms of convolutions (`kernels/winograd`) are written with. Other modules with
//! `unsafe`: those two, `memory`, `peak_rates` and `counting`.

#[cfg(test)]
use std::cell::Cell;
use std::sync::LazyLock;

/// The widest vectors to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// 16 numbers (x86-64-v4).
    Avx512,
    /// 8 numbers and fused multiply-add (x86-64-v3).
    Avx2,
    /// Whatever the target has in any case.
    Baseline,
}

/// The level of this machine.
#[inline]
pub(crate) fn level() -> Level {
    static LEVEL: LazyLock<Level> = LazyLock::new(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx2 && avx512 {
                return Level::Avx512;
            }
            if avx2 {
                return Level::Avx2;
            }
        }
        Level::Baseline
    });
    #[cfg(test)]
    if let Some(level) = FORCED.get() {
        return level;
    }
    *LEVEL
}

#[cfg(test)]
thread_local! {
    /// The level to use on this thread in place of the machine's.
    pub(crate) static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// Compiles functions for every [`Level`]; each call runs the one for this machine. Arguments are
/// plain names.
macro_rules! vectorized {
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident $(<$($generic:ident : $bound:path),*>)?
        ($($argument:ident : $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    )*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel takes its slices and its numbers")]
        $visibility fn $name $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn body $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx512 $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
                body($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx2 $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
                body($($argument),*)
            }
            match $crate::simd::level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` has found the features.
                $crate::simd::Level::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` has found the features.
                $crate::simd::Level::Avx2 => unsafe { avx2($($argument),*) },
                _ => body($($argument),*),
            }
        }
    )*};
}
pub(crate) use vectorized;

/// Compiles functions that are generic in a [`Vector`] for every [`Level`]; each call runs the one for this
/// machine. Arguments are plain names.
///
/// # Safety
/// The body uses the vector's instructions, which are there, and answers for its pointers.
macro_rules! with_vectors {
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident <$vector:ident> ($($argument:ident : $type:ty),* $(,)?) $body:block
    )*) => {$(
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) {
            #[inline(always)]
            unsafe fn body<$vector: $crate::simd::Vector>($($argument: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn avx512($($argument: $type),*) {
                // SAFETY: this function has the instructions.
                unsafe { body::<std::arch::x86_64::__m512>($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) {
                // SAFETY: this function has the instructions.
                unsafe { body::<std::arch::x86_64::__m256>($($argument),*) }
            }
            match $crate::simd::level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` has found the features.
                $crate::simd::Level::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` has found the features.
                $crate::simd::Level::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: `Four` needs no instructions.
                _ => unsafe { body::<$crate::simd::Four>($($argument),*) },
            }
        }
    )*};
}
pub(crate) use with_vectors;

/// A vector of one level. `first` functions touch the first `n` numbers only.
///
/// # Safety
/// The machine has the level's instructions, and pointers are good for the numbers touched.
pub(crate) unsafe trait Vector: Copy {
    /// Numbers in one.
    const LANES: usize;
    /// Vectors side by side in a panel of a product, at most: what the registers hold.
    const PANEL: usize;
    /// Which numbers of a vector to touch.
    type Mask: Copy;
    unsafe fn mask(n: usize) -> Self::Mask;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_first(from: *const f32, mask: Self::Mask) -> Self;
    unsafe fn store_first(self, to: *mut f32, mask: Self::Mask);
    unsafe fn store(self, to: *mut f32);
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, a: Self) -> Self;
    unsafe fn subtract(self, a: Self) -> Self;
    unsafe fn multiply(self, a: Self) -> Self;
    /// Writes 8 × 8 numbers, whose rows are `from.1` apart, as columns of rows `to.1` apart.
    #[inline(always)]
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller's.
                unsafe { *to.0.add(i * to.1 + j) = *from.0.add(j * from.1 + i) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    /// # Safety
    /// AVX2, and as for [`Vector::transpose`].
    #[inline(always)]
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
        // SAFETY: the caller's.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                // Halves of rows i and i + 4 side by side, so that what follows stays within halves.
                let (a, b) = (from.0.add(i * from.1), from.0.add((i + 4) * from.1));
                let low = _mm256_castps128_ps256(_mm_loadu_ps(a));
                let high = _mm256_castps128_ps256(_mm_loadu_ps(a.add(4)));
                rows[i] = _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(b));
                rows[i + 4] = _mm256_insertf128_ps::<1>(high, _mm_loadu_ps(b.add(4)));
            }
            for half in [0, 4] {
                let (a, b, c, d) = (rows[half], rows[half + 1], rows[half + 2], rows[half + 3]);
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (to, width) = ([to.0.add(half * to.1), to.0.add((half + 2) * to.1)], to.1);
                _mm256_storeu_ps(to[0], _mm256_shuffle_ps::<0x44>(ab, cd));
                _mm256_storeu_ps(to[0].add(width), _mm256_shuffle_ps::<0xEE>(ab, cd));
                let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                _mm256_storeu_ps(to[1], _mm256_shuffle_ps::<0x44>(ab, cd));
                _mm256_storeu_ps(to[1].add(width), _mm256_shuffle_ps::<0xEE>(ab, cd));
            }
        }
    }

    // SAFETY: each function is the intrinsic of its name.
    unsafe impl Vector for __m512 {
        const LANES: usize = 16;
        const PANEL: usize = 3;
        type Mask = __mmask16;
        #[inline(always)]
        unsafe fn mask(n: usize) -> __mmask16 {
            ((1u32 << n) - 1) as __mmask16
        }
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller has the instructions; so in all that follow.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, mask: __mmask16) -> Self {
            // SAFETY: as above; lanes outside the mask are not read.
            unsafe { _mm512_maskz_loadu_ps(mask, from) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, mask: __mmask16) {
            // SAFETY: as above; lanes outside the mask are not written.
            unsafe { _mm512_mask_storeu_ps(to, mask, self) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn add(self, a: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_add_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn subtract(self, a: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_sub_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
            // SAFETY: as above.
            unsafe { transpose(from, to) }
        }
        #[inline(always)]
        unsafe fn multiply(self, a: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_mul_ps(self, a) }
        }
    }

    // SAFETY: each function is the intrinsic of its name.
    unsafe impl Vector for __m256 {
        const LANES: usize = 8;
        const PANEL: usize = 2;
        type Mask = __m256i;
        #[inline(always)]
        unsafe fn mask(n: usize) -> __m256i {
            // SAFETY: the caller has the instructions; so in all that follow.
            unsafe {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes)
            }
        }
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: as above.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, mask: __m256i) -> Self {
            // SAFETY: as above; lanes outside the mask are not read.
            unsafe { _mm256_maskload_ps(from, mask) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, mask: __m256i) {
            // SAFETY: as above; lanes outside the mask are not written.
            unsafe { _mm256_maskstore_ps(to, mask, self) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn add(self, a: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_add_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn subtract(self, a: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_sub_ps(self, a) }
        }
        #[inline(always)]
        unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
            // SAFETY: as above.
            unsafe { transpose(from, to) }
        }
        #[inline(always)]
        unsafe fn multiply(self, a: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_mul_ps(self, a) }
        }
    }
}

/// Four numbers, without intrinsics.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub(crate) struct Four([f32; 4]);

// SAFETY: needs no instructions; the pointers are used as the trait says.
unsafe impl Vector for Four {
    const LANES: usize = 4;
    const PANEL: usize = 2;
    type Mask = usize;
    #[inline(always)]
    unsafe fn mask(n: usize) -> usize {
        n
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's pointer is good for four.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mut four = [0.0; 4];
        for (i, x) in four.iter_mut().enumerate().take(n) {
            // SAFETY: the caller's pointer is good for n.
            *x = unsafe { *from.add(i) };
        }
        Self(four)
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        for (i, &x) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller's pointer is good for n.
            unsafe { *to.add(i) = x };
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's pointer is good for four.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + a.0[i]))
    }
    #[inline(always)]
    unsafe fn subtract(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - a.0[i]))
    }
    #[inline(always)]
    unsafe fn multiply(self, a: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * a.0[i]))
    }
}

/// [`Vector::LANES`] and [`Vector::PANEL`] of this machine.
pub(crate) fn lanes_and_panel() -> (usize, usize) {
    match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => of::<std::arch::x86_64::__m512>(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => of::<std::arch::x86_64::__m256>(),
        _ => of::<Four>(),
    }
}

fn of<V: Vector>() -> (usize, usize) {
    (V::LANES, V::PANEL)
}
