//! What this machine can do at best, measured: to read achieved rates against.

use std::time::{Duration, Instant};

use lfnn_core::backend::PeakRates;
use rayon::prelude::*;

use crate::simd::{Four, Level, Vector, level};

/// How long one trial of each takes, about.
const TRIAL: Duration = Duration::from_millis(40);
/// The best of so many trials counts: other work on the machine only ever takes away.
const TRIALS: usize = 5;
/// Numbers that each thread copies: 64 MiB there and back, more than caches hold.
const COPIED: usize = 1 << 23;

/// Measures on the threads of the current pool.
pub(crate) fn measure() -> PeakRates {
    let threads = rayon::current_num_threads();
    let (mut flops, mut bytes) = (0.0f64, 0.0f64);
    // Long enough for the clock to settle, and then as often as fills a trial.
    let mut rounds = 1 << 16;
    while time(|| each_thread(threads, rounds)) < TRIAL {
        rounds *= 2;
    }
    for _ in 0..TRIALS {
        let seconds = time(|| each_thread(threads, rounds)).as_secs_f64();
        flops = flops.max((threads * rounds * flops_of_a_round()) as f64 / seconds);
    }
    let mut blocks = vec![(vec![1.0f32; COPIED], vec![0.0f32; COPIED]); threads];
    for _ in 0..TRIALS {
        let seconds = time(|| {
            blocks.par_iter_mut().for_each(|(from, to)| to.copy_from_slice(from));
            std::hint::black_box(&mut blocks);
        });
        let moved = threads * 2 * COPIED * size_of::<f32>();
        bytes = bytes.max(moved as f64 / seconds.as_secs_f64());
    }
    PeakRates { flops, bytes }
}

fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

fn each_thread(threads: usize, rounds: usize) {
    (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
        std::hint::black_box(multiply_add(rounds));
    });
}

/// Sums that are in flight at once: more than the latency of an addition needs, no more than the
/// registers hold.
const SUMS: usize = 12;

fn flops_of_a_round() -> usize {
    2 * SUMS * crate::simd::lanes_and_panel().0
}

/// Multiplies and adds in registers alone.
fn multiply_add(rounds: usize) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m256, __m512};

        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn avx512(rounds: usize) -> f32 {
            // SAFETY: this function has the instructions.
            unsafe { chains::<__m512>(rounds) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(rounds: usize) -> f32 {
            // SAFETY: this function has the instructions.
            unsafe { chains::<__m256>(rounds) }
        }
        match level() {
            // SAFETY: `level` has found the features.
            Level::Avx512 => return unsafe { avx512(rounds) },
            // SAFETY: `level` has found the features.
            Level::Avx2 => return unsafe { avx2(rounds) },
            Level::Baseline => {}
        }
    }
    // SAFETY: `Four` needs no instructions.
    unsafe { chains::<Four>(rounds) }
}

/// # Safety
/// The machine has the vector's instructions.
#[inline(always)]
unsafe fn chains<V: Vector>(rounds: usize) -> f32 {
    // SAFETY: the caller's; the array holds a vector.
    unsafe {
        let mut sums = [V::zero(); SUMS];
        let (a, b) = (V::splat(0.999), V::splat(0.001));
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = b.multiply_add(*sum, a);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = total.add(*sum);
        }
        let mut numbers = [0.0; 16];
        total.store(numbers.as_mut_ptr());
        numbers[0]
    }
}
