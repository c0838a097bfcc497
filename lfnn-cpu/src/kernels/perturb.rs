//! Normal variates and inner products.

use lfnn_core::program::{Grain, step_counter};
use lfnn_core::random::Stream;
use rayon::prelude::*;

use crate::memory::{Input, Output};
use crate::simd::vectorized;
use crate::work::{CHUNK, Kernel, ScratchSize, Workspace, items_per_chunk, kernel};

/// Blocks of the random stream that are drawn side by side.
const LANES: usize = 16;

/// Where draws come from.
#[derive(Clone, Copy)]
struct Origin {
    stream: Stream,
    seed: u64,
    epoch: u32,
    step: u32,
}

/// The words of blocks `first..first + LANES`: word w of block `first + i` is `[w][i]`. The rounds of
/// `lfnn_core::random::philox`, on many counters at once.
#[inline(always)]
fn words(origin: Origin, first: u32) -> [[u32; LANES]; 4] {
    let Origin { stream, seed, epoch, step } = origin;
    let blocks = std::array::from_fn(|i| first.wrapping_add(i as u32));
    let mut c = [blocks, [step; LANES], [epoch; LANES], [stream.word(); LANES]];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(0x9E37_79B9);
            key[1] = key[1].wrapping_add(0xBB67_AE85);
        }
        for i in 0..LANES {
            let a = u64::from(c[0][i]) * 0xD251_1F53;
            let b = u64::from(c[2][i]) * 0xCD9E_8D57;
            let next = [
                (b >> 32) as u32 ^ c[1][i] ^ key[0],
                b as u32,
                (a >> 32) as u32 ^ c[3][i] ^ key[1],
                a as u32,
            ];
            for (c, next) in c.iter_mut().zip(next) {
                c[i] = next;
            }
        }
    }
    c
}

/// `√(−2 ln x)` for x = 1 − u(word). The logarithm is that of Cephes: a power of 2 and a polynomial
/// around 1.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the digits as published")]
fn radius(word: u32) -> f32 {
    let x = ((1 << 24) - (word >> 8) as i32) as f32 * (1.0 / (1 << 24) as f32);
    // x = m · 2^e with m between √½ and √2.
    let bits = x.to_bits() as i32;
    let e = (bits - 0x3F35_04F3) >> 23;
    let f = f32::from_bits((bits - (e << 23)) as u32) - 1.0;
    let e = e as f32;
    let z = f * f;
    let mut p = 7.037_683_629_2e-2;
    for c in [
        -1.151_461_031_0e-1,
        1.167_699_874_0e-1,
        -1.242_014_084_6e-1,
        1.424_932_278_7e-1,
        -1.666_805_766_5e-1,
        2.000_071_476_5e-1,
        -2.499_999_399_3e-1,
        3.333_333_117_4e-1,
    ] {
        p = p * f + c;
    }
    // ln 2 in two parts, the first of few bits.
    let low = p * f * z - 2.121_944_40e-4 * e - 0.5 * z;
    let ln = f + low + 0.693_359_375 * e;
    (-2.0 * ln).sqrt()
}

/// Box–Muller on pairs of words.
#[inline(always)]
fn normal_pairs(a: &[u32; LANES], b: &[u32; LANES]) -> [[f32; LANES]; 2] {
    let mut drawn = [[0.0; LANES]; 2];
    let [first, second] = &mut drawn;
    for i in 0..LANES {
        let radius = radius(a[i]);
        let [cos, sin] = cos_sin(b[i]);
        first[i] = radius * cos;
        second[i] = radius * sin;
    }
    drawn
}

/// Cosine and sine of 2π u(word), from polynomials within an eighth of a turn (Cephes).
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the digits as published")]
fn cos_sin(word: u32) -> [f32; 2] {
    // Turns of 2⁻²⁴; the nearest quarter, and what remains.
    let turns = (word >> 8) as i32;
    let quarter = (turns + (1 << 21)) >> 22;
    let x = (turns - (quarter << 22)) as f32 * (std::f32::consts::TAU / (1 << 24) as f32);
    let z = x * x;
    let s = (-1.951_529_589_1e-4 * z + 8.332_160_873_6e-3) * z - 1.666_665_461_1e-1;
    let s = s * z * x + x;
    let c = (2.443_315_711_809_948e-5 * z - 1.388_731_625_493_765e-3) * z;
    let c = (c + 4.166_664_568_298_827e-2) * z * z - 0.5 * z + 1.0;
    let (cos, sin) = if quarter & 1 == 0 { (c, s) } else { (s, c) };
    let flip = |x: f32, negative: bool| if negative { -x } else { x };
    [flip(cos, (quarter + 1) & 2 != 0), flip(sin, quarter & 2 != 0)]
}

vectorized! {
    /// Elements `first..` of a tensor; `first` is a multiple of 4.
    fn normal(y: &mut [f32], first: usize, origin: Origin) {
        for (chunk, y) in y.chunks_mut(4 * LANES).enumerate() {
            let [a, b, c, d] = words(origin, (first / 4 + chunk * LANES) as u32);
            let [n0, n1] = normal_pairs(&a, &b);
            let [n2, n3] = normal_pairs(&c, &d);
            for (i, y) in y.chunks_mut(4).enumerate() {
                for (y, drawn) in y.iter_mut().zip([n0[i], n1[i], n2[i], n3[i]]) {
                    *y = drawn;
                }
            }
        }
    }

    fn scale(y: &mut [f32], factor: f32) {
        for y in y {
            *y *= factor;
        }
    }

    fn inner(a: &[f32], b: &[f32]) -> f64 {
        // Sixteen sums side by side.
        let mut sums = [0.0f64; 16];
        for (a, b) in a.chunks(16).zip(b.chunks(16)) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum += f64::from(a) * f64::from(b);
            }
        }
        sums.iter().sum()
    }
}

kernel! {
    Gaussian { counter: Input<u32>, factor: Option<Input<f32>>, y: Output<f32> }
    with |op, bind| { stream: Stream = op.stream, grain: Grain = Grain::of(bind.tensors(), op.y, op.factor) }
}

impl Kernel for Gaussian {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let now = self.counter.get();
        let origin = Origin {
            stream: self.stream,
            seed: step_counter::seed(now),
            epoch: now[step_counter::EPOCH],
            step: now[step_counter::STEP],
        };
        let factors = self.factor.as_ref().map_or(&[][..], |factor| factor.get());
        let (grain, run) = (self.grain, self.grain.run.max(1));
        self.y.get().par_chunks_mut(CHUNK / 4).enumerate().for_each(|(chunk, y)| {
            let first = chunk * (CHUNK / 4);
            normal(y, first, origin);
            let mut at = first;
            let mut rest = y;
            // A chunk may begin and end inside a run.
            while let (false, Some(&factor)) = (rest.is_empty(), factors.get(grain.part(at / run)))
            {
                let (own, others) = rest.split_at_mut((run - at % run).min(rest.len()));
                scale(own, factor);
                at += own.len();
                rest = others;
            }
        });
    }
}

kernel! {
    InnerProduct { a: Input<f32>, b: Input<f32>, y: Output<f32> }
    with |op, bind| { grain: Grain = Grain::of(bind.tensors(), op.a, Some(op.y)), scale: f64 = op.scale }
}

impl Kernel for InnerProduct {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::shared(self.a.get().len().div_ceil(CHUNK))
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (a, b, y) = (self.a.get(), self.b.get(), self.y.get());
        if let [whole] = y {
            let parts = &mut work.shared[..a.len().div_ceil(CHUNK)];
            let chunks = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
            parts.par_iter_mut().zip(chunks).for_each(|(part, (a, b))| *part = inner(a, b) as f32);
            *whole = (self.scale * parts.iter().map(|&part| f64::from(part)).sum::<f64>()) as f32;
            return;
        }
        let Grain { groups, run, repeat } = self.grain;
        let scale = self.scale;
        let many = items_per_chunk((run * repeat).max(1));
        y.par_chunks_mut(many).enumerate().for_each(|(chunk, y)| {
            for (part, y) in (chunk * many..).zip(y) {
                let first = (part / groups * repeat * groups + part % groups) * run;
                let runs = (0..repeat).map(|row| first + row * groups * run);
                let sum: f64 = runs.map(|at| inner(&a[at..at + run], &b[at..at + run])).sum();
                *y = (scale * sum) as f32;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::with_each_level;
    use lfnn_core::random::{Purpose, normal_pair};

    fn origin() -> Origin {
        Origin {
            stream: Stream::new(Purpose::Perturbation, 3),
            seed: 5 << 40 | 7,
            epoch: 1,
            step: 2,
        }
    }

    #[test]
    fn draws_follow_the_stream_word_by_word_from_any_start() {
        let o = origin();
        let mut y = [9.0; 150];
        normal(&mut y, 64, o);
        for (i, y) in y.iter().enumerate() {
            let words = o.stream.block(o.seed, o.epoch, o.step, (16 + i / 4) as u32);
            let pair = &words[i % 4 / 2 * 2..];
            let expected = normal_pair(pair[0], pair[1])[i % 2];
            assert!((f64::from(*y) - expected).abs() < 2e-6, "{y} {expected}");
        }
    }

    #[test]
    fn extreme_words_give_finite_numbers() {
        for a in [0, 1 << 8, 255, u32::MAX, u32::MAX - 256, 1 << 31, 1 << 30] {
            for b in [0, 1 << 29, 1 << 30, 1 << 31, 3 << 30, u32::MAX] {
                let [cos, sin] = cos_sin(b);
                let expected = normal_pair(a, b);
                for (ours, exact) in [radius(a) * cos, radius(a) * sin].into_iter().zip(expected) {
                    assert!((f64::from(ours) - exact).abs() < 2e-6, "{a:x} {b:x} {ours} {exact}");
                }
            }
        }
    }

    #[test]
    fn every_level_of_vectors_draws_the_same_bytes() {
        let draws = std::cell::RefCell::new(Vec::new());
        with_each_level(|_| {
            let mut y = [9.0; 1000];
            normal(&mut y, 0, origin());
            draws.borrow_mut().push(y.map(f32::to_bits));
        });
        assert!(draws.into_inner().windows(2).all(|draws| draws[0] == draws[1]));
    }
}
