//! What this machine can do at best, measured: to read achieved rates against.

use std::time::{Duration, Instant};

use lfnn_core::backend::PeakRates;
use rayon::prelude::*;

use crate::product::multiply;
use crate::simd::by_level;

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
    // Long enough for the step counter to settle, and then as often as fills a trial.
    let mut rounds = 1;
    while time(|| on_each_thread(threads, rounds)).0 < TRIAL {
        rounds *= 2;
    }
    for _ in 0..TRIALS {
        let (duration, done) = time(|| on_each_thread(threads, rounds));
        flops = flops.max(done as f64 / duration.as_secs_f64());
    }
    let mut blocks = vec![(vec![1.0f32; COPIED], vec![0.0f32; COPIED]); threads];
    for _ in 0..TRIALS {
        let (duration, ()) = time(|| {
            blocks.par_iter_mut().for_each(|(from, to)| to.copy_from_slice(from));
            std::hint::black_box(&mut blocks);
        });
        let moved = threads * 2 * COPIED * size_of::<f32>();
        bytes = bytes.max(moved as f64 / duration.as_secs_f64());
    }
    PeakRates { flops, bytes }
}

fn time<R>(f: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = f();
    (start.elapsed(), result)
}

/// Operations that all threads do in so many rounds.
fn on_each_thread(threads: usize, rounds: usize) -> usize {
    (0..threads).into_par_iter().with_max_len(1).map(|_| multiply_add(rounds)).sum()
}

/// Multiplies and adds; the number of operations.
fn multiply_add(rounds: usize) -> usize {
    by_level! {
        fn(rounds: usize) -> usize;
        // SAFETY: the function has the instructions.
        avx512 => unsafe { chains::<std::arch::x86_64::__m512>(rounds) },
        // SAFETY: as above.
        avx2 => unsafe { chains::<std::arch::x86_64::__m256>(rounds) },
        portable => products(rounds),
    }
}

/// Multiplies and adds in registers alone.
///
/// # Safety
/// The machine has the vector's instructions.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn chains<V: crate::simd::Vector>(rounds: usize) -> usize {
    // In flight at once: more than the latency of an addition needs, no more than the registers hold.
    const SUMS: usize = 12;
    // Many at once, since a call must not cost more than they do.
    const EACH: usize = 1 << 10;
    // SAFETY: the caller's; the array holds a vector.
    unsafe {
        let mut sums = [V::zero(); SUMS];
        let (a, b) = (V::splat(0.999), V::splat(0.001));
        for _ in 0..rounds * EACH {
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
        std::hint::black_box(numbers);
    }
    2 * SUMS * V::LANES * rounds * EACH
}

/// Multiplies matrices that stay near the processor.
fn products(rounds: usize) -> usize {
    const SIDE: usize = 128;
    let (a, b, mut c) =
        (vec![0.999; SIDE * SIDE], vec![0.001; SIDE * SIDE], vec![0.0; SIDE * SIDE]);
    for _ in 0..rounds {
        multiply([SIDE; 3], (&a, [SIDE, 1]), &b, 0.0, (&mut c, SIDE));
    }
    std::hint::black_box(c);
    2 * SIDE.pow(3) * rounds
}
