//! Vector instructions: which to use, and functions compiled for each.
//!
//! [`vectorized!`] compiles a plain function on slices three times, once for each [`Level`], and picks one when it is
//! called. None of the three reorders a sum, so all give the same bytes. The transforms of convolutions
//! (`kernels/winograd`) and the loops of products (`product`) are written with [`Vector`]. Other modules with `unsafe`:
//! those two, `memory`, `peak_rates` and `counting`.

use std::sync::LazyLock;

use crate::CpuError;

/// The instructions to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Those of every processor of the target, and products by `matrixmultiply`.
    Portable,
    /// Vectors of 8 numbers and fused multiply-add (x86-64-v3).
    Avx2,
    /// Vectors of 16 numbers (x86-64-v4).
    Avx512,
}

impl Level {
    /// All levels, the best one first.
    const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];
    /// The environment variable that names a level to use in place of the best one.
    const VARIABLE: &str = "LFNN_CPU_LEVEL";

    /// Its name in the environment variable.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The best one that this machine has.
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx2 && avx512 {
                return Self::Avx512;
            }
            if avx2 {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Those that a machine with this best one has.
    fn available(best: Self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |&level| level <= best)
    }

    /// The level of this name, or the best one if none is asked for.
    fn choose(name: Option<&str>, best: Self) -> Result<Self, CpuError> {
        let Some(name) = name else { return Ok(best) };
        Self::available(best).find(|level| level.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::available(best).map(Self::name).collect();
            CpuError::Level {
                variable: Self::VARIABLE,
                found: name.to_owned(),
                available: names.join(", "),
            }
        })
    }

    /// The level that kernels use.
    ///
    /// # Errors
    /// An environment variable that names none that this machine has.
    pub(crate) fn selected() -> Result<Self, CpuError> {
        let name = std::env::var_os(Self::VARIABLE).map(|name| name.to_string_lossy().into_owned());
        Self::choose(name.as_deref(), Self::best())
    }
}

/// The level that kernels use, looked up once. There is no backend, and so no kernel, where it cannot be selected.
#[inline]
pub(crate) fn level() -> Level {
    static LEVEL: LazyLock<Level> = LazyLock::new(|| Level::selected().unwrap_or(Level::Portable));
    #[cfg(test)]
    if let Some(level) = FORCED.get() {
        return level;
    }
    *LEVEL
}

#[cfg(test)]
thread_local! {
    /// The level to use on this thread in place of the machine's.
    static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) };
}

/// Runs a test with each level that this machine has.
#[cfg(test)]
pub(crate) fn with_each_level(test: impl Fn(Level)) {
    for level in Level::available(Level::best()) {
        FORCED.set(Some(level));
        test(level);
        FORCED.set(None);
    }
}

/// Evaluates the expression of the [`Level`] in use. The expressions are compiled with the level's instructions and use
/// the arguments of the surrounding function, which are plain names.
macro_rules! by_level {
    (
        fn $(<$($generic:ident : $bound:path),*>)? ($($argument:ident : $type:ty),* $(,)?) $(-> $result:ty)?;
        avx512 => $avx512:expr,
        avx2 => $avx2:expr,
        portable => $portable:expr $(,)?
    ) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        #[allow(clippy::too_many_arguments, reason = "a kernel takes its slices and its numbers")]
        fn avx512 $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
            $avx512
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        #[allow(clippy::too_many_arguments, reason = "as above")]
        fn avx2 $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
            $avx2
        }
        match $crate::simd::level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is selected only where the machine has its instructions.
            $crate::simd::Level::Avx512 => unsafe { avx512($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            $crate::simd::Level::Avx2 => unsafe { avx2($($argument),*) },
            _ => $portable,
        }
    }};
}
pub(crate) use by_level;

/// Compiles functions for every [`Level`]; each call runs the one for the level in use. Arguments are plain names.
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
            $crate::simd::by_level! {
                fn $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)?;
                avx512 => body($($argument),*),
                avx2 => body($($argument),*),
                portable => body($($argument),*),
            }
        }
    )*};
}
pub(crate) use vectorized;

/// Compiles functions that are generic in a [`Vector`] for every [`Level`]; each call runs the one for the level in
/// use. Arguments are plain names.
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
            $crate::simd::by_level! {
                fn($($argument: $type),*);
                // SAFETY: the function has the instructions.
                avx512 => unsafe { body::<std::arch::x86_64::__m512>($($argument),*) },
                // SAFETY: as above.
                avx2 => unsafe { body::<std::arch::x86_64::__m256>($($argument),*) },
                // SAFETY: `F32x4` needs no instructions.
                portable => unsafe { body::<$crate::simd::F32x4>($($argument),*) },
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

/// Functions of a vector that are one expression.
macro_rules! expressions {
    ($(fn $name:ident($($arguments:tt)*) $(-> $result:ty)? = $expression:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe, reason = "some need no instructions")]
        unsafe fn $name($($arguments)*) $(-> $result)? {
            // SAFETY: the caller has the instructions and the numbers; those outside a mask are not touched.
            unsafe { $expression }
        }
    )*};
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
        type Mask = __mmask16;
        expressions! {
            fn mask(n: usize) -> __mmask16 = ((1u32 << n) - 1) as __mmask16;
            fn zero() -> Self = _mm512_setzero_ps();
            fn splat(x: f32) -> Self = _mm512_set1_ps(x);
            fn load(from: *const f32) -> Self = _mm512_loadu_ps(from);
            fn load_first(from: *const f32, mask: __mmask16) -> Self = _mm512_maskz_loadu_ps(mask, from);
            fn store_first(self, to: *mut f32, mask: __mmask16) = _mm512_mask_storeu_ps(to, mask, self);
            fn store(self, to: *mut f32) = _mm512_storeu_ps(to, self);
            fn multiply_add(self, a: Self, b: Self) -> Self = _mm512_fmadd_ps(a, b, self);
            fn add(self, a: Self) -> Self = _mm512_add_ps(self, a);
            fn subtract(self, a: Self) -> Self = _mm512_sub_ps(self, a);
            fn multiply(self, a: Self) -> Self = _mm512_mul_ps(self, a);
            fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) = transpose(from, to);
        }
    }

    // SAFETY: each function is the intrinsic of its name.
    unsafe impl Vector for __m256 {
        const LANES: usize = 8;
        type Mask = __m256i;
        expressions! {
            fn mask(n: usize) -> __m256i =
                _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            fn zero() -> Self = _mm256_setzero_ps();
            fn splat(x: f32) -> Self = _mm256_set1_ps(x);
            fn load(from: *const f32) -> Self = _mm256_loadu_ps(from);
            fn load_first(from: *const f32, mask: __m256i) -> Self = _mm256_maskload_ps(from, mask);
            fn store_first(self, to: *mut f32, mask: __m256i) = _mm256_maskstore_ps(to, mask, self);
            fn store(self, to: *mut f32) = _mm256_storeu_ps(to, self);
            fn multiply_add(self, a: Self, b: Self) -> Self = _mm256_fmadd_ps(a, b, self);
            fn add(self, a: Self) -> Self = _mm256_add_ps(self, a);
            fn subtract(self, a: Self) -> Self = _mm256_sub_ps(self, a);
            fn multiply(self, a: Self) -> Self = _mm256_mul_ps(self, a);
            fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) = transpose(from, to);
        }
    }
}

/// Four numbers, without intrinsics: a compiler turns them into NEON or SSE.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub(crate) struct F32x4([f32; 4]);

// SAFETY: needs no instructions; the pointers are used as the trait says.
unsafe impl Vector for F32x4 {
    const LANES: usize = 4;
    type Mask = usize;
    expressions! {
        fn mask(n: usize) -> usize = n;
        fn zero() -> Self = Self([0.0; 4]);
        fn splat(x: f32) -> Self = Self([x; 4]);
        fn load(from: *const f32) -> Self = Self(from.cast::<[f32; 4]>().read_unaligned());
        fn load_first(from: *const f32, n: usize) -> Self =
            Self(std::array::from_fn(|i| if i < n { *from.add(i) } else { 0.0 }));
        fn store_first(self, to: *mut f32, n: usize) =
            (0..n).zip(self.0).for_each(|(i, x)| *to.add(i) = x);
        fn store(self, to: *mut f32) = to.cast::<[f32; 4]>().write_unaligned(self.0);
        fn multiply_add(self, a: Self, b: Self) -> Self =
            Self(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]));
        fn add(self, a: Self) -> Self = Self(std::array::from_fn(|i| self.0[i] + a.0[i]));
        fn subtract(self, a: Self) -> Self = Self(std::array::from_fn(|i| self.0[i] - a.0[i]));
        fn multiply(self, a: Self) -> Self = Self(std::array::from_fn(|i| self.0[i] * a.0[i]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_the_best_or_one_that_is_named_and_there() {
        assert_eq!(Level::choose(None, Level::Avx2).unwrap(), Level::Avx2);
        for level in Level::ALL {
            assert_eq!(Level::choose(Some(level.name()), Level::Avx512).unwrap(), level);
        }
        let message = |name| Level::choose(Some(name), Level::Avx2).unwrap_err().to_string();
        for name in ["avx512", "AVX2", ""] {
            assert_eq!(
                message(name),
                format!(
                    "LFNN_CPU_LEVEL is `{name}`; expected one that this machine has: avx2, portable"
                )
            );
        }
    }
}
