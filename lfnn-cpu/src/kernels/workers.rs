//! Softmax of every worker, and the logits of filter workers.

use lfnn_core::program;
use rayon::prelude::*;

use super::reduce::sum_rows;
use crate::memory::{BufferResolver, Input, Output};
use crate::simd::vectorized;
use crate::work::{CHUNK, Kernel, ScratchSize, Workspace, for_chunks, items_per_chunk, kernel};

/// Softmax of runs of `width` numbers; `log_sums` receives `log Σ exp x` of each, where it is wanted.
pub(crate) fn softmax(x: &[f32], width: usize, y: &mut [f32], mut log_sums: Option<&mut [f32]>) {
    let blocks = x.chunks(BLOCK * width).zip(y.chunks_mut(BLOCK * width));
    for (block, (x, y)) in blocks.enumerate() {
        let runs = x.len() / width;
        let of_block = softmax_block(x, width, y);
        if let Some(log_sums) = &mut log_sums {
            log_sums[block * BLOCK..][..runs].copy_from_slice(&of_block[..runs]);
        }
    }
}

/// Runs whose numbers stay in the first level of the cache.
const BLOCK: usize = 64;

/// The largest of a run; not `max`, which takes several instructions.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest })
}

vectorized! {
    /// Softmax of up to [`BLOCK`] runs; gives `log Σ exp x` of each.
    fn softmax_block(x: &[f32], width: usize, y: &mut [f32]) -> [f32; BLOCK] {
        // Of runs that are not there, the sum is 1, whose logarithm is as good as any.
        let (mut most, mut sums) = ([0.0; BLOCK], [1.0; BLOCK]);
        let runs = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for (most, (y, x)) in most.iter_mut().zip(runs) {
            *most = largest(x);
            for (y, x) in y.iter_mut().zip(x) {
                *y = x - *most;
            }
        }
        for y in y.iter_mut() {
            *y = exponential(*y);
        }
        for (sum, y) in sums.iter_mut().zip(y.chunks_exact_mut(width)) {
            *sum = y.iter().sum();
            let share = 1.0 / *sum;
            for y in y {
                *y *= share;
            }
        }
        for (most, sum) in most.iter_mut().zip(sums) {
            *most += logarithm(sum);
        }
        most
    }
}

/// `ln x` for normal x > 0 within two units in the last place of 1 or of the result, whichever is more; infinity
/// and NaN stay. As [`exponential`], without branches or calls.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // The mantissa from √½ to √2, and the exponent that belongs to it.
    let bits = x.to_bits();
    let below = (bits & 0x007f_ffff) < 0x0035_04f3;
    let exponent = (bits >> 23) as i32 - if below { 127 } else { 126 };
    let mantissa =
        f32::from_bits(bits & 0x007f_ffff | if below { 0x3f80_0000 } else { 0x3f00_0000 });
    let (x_1, exponent) = (mantissa - 1.0, exponent as f32);
    // Cephes' polynomial.
    let mut p = 7.037_683_6e-2;
    for c in [
        -0.115_146_1,
        0.116_769_99,
        -0.124_201_41,
        0.142_493_23,
        -0.166_680_58,
        0.200_007_15,
        -0.249_999_94,
        0.333_333_3,
    ] {
        p = p * x_1 + c;
    }
    let square = x_1 * x_1;
    let y = p * x_1 * square + exponent * LN_2[1] - 0.5 * square + x_1 + exponent * LN_2[0];
    if x < f32::INFINITY { y } else { x }
}

/// `exp x` for x ≤ 0 within two units in the last place; 0 where it is not a normal number. Without
/// branches or calls, so that a loop becomes vectors, and the same bytes whatever the mathematical library.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // Adding and taking away 1.5 · 2²³ rounds to a whole number, which stays in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first has few digits: its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Not `max`, which would lose a NaN.
    let tiny = x < -87.0;
    let x = if tiny { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let x = x - whole * LN_2[0] - whole * LN_2[1];
    // Cephes' polynomial for |x| ≤ ln 2 / 2.
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * x + c;
    }
    let y = p * (x * x) + x + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if tiny { 0.0 } else { y * power }
}

/// `dx = y ∘ (dy − Σ y dy)` for one run.
pub(crate) fn softmax_grad(y: &[f32], dy: impl Fn(usize) -> f32, dx: &mut [f32]) {
    let sum: f32 = y.iter().enumerate().map(|(i, y)| y * dy(i)).sum();
    for (i, (dx, y)) in dx.iter_mut().zip(y).enumerate() {
        *dx = y * (dy(i) - sum);
    }
}

/// Numbers in a chunk of whole runs of `width` numbers.
fn run_chunk(width: usize) -> usize {
    (CHUNK / 4 / width).max(1) * width
}

kernel! {
    Softmax { x: Input<f32>, y: Output<f32> }
    with |op, bind| { width: usize = op.width }
}

impl Kernel for Softmax {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let width = self.width;
        for_chunks(run_chunk(width), self.x.get(), self.y.get(), |x, y| softmax(x, width, y, None));
    }
}

kernel! {
    SoftmaxGrad { y: Input<f32>, dy: Input<f32>, dx: Output<f32> }
    with |op, bind| { width: usize = op.width }
}

impl Kernel for SoftmaxGrad {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (width, chunk) = (self.width, run_chunk(self.width));
        let inputs = self.y.get().par_chunks(chunk).zip(self.dy.get().par_chunks(chunk));
        self.dx.get().par_chunks_mut(chunk).zip(inputs).for_each(|(dx, (y, dy))| {
            let runs = y.chunks_exact(width).zip(dy.chunks_exact(width));
            for (dx, (y, dy)) in dx.chunks_exact_mut(width).zip(runs) {
                softmax_grad(y, |i| dy[i], dx);
            }
        });
    }
}

/// Extents of a unit of filter workers.
#[derive(Clone, Copy)]
struct Filters {
    /// Numbers of an image.
    len: usize,
    channels: usize,
    workers: usize,
    width: usize,
    /// What the sum over space and channels is multiplied by.
    factor: f32,
}

impl Filters {
    fn new(image: &[usize], workers: usize, width: usize, scale: f64) -> Self {
        let (pixels, channels) = (image[1] * image[2], image[3]);
        let summands = pixels * (channels / (workers * width));
        let factor = (scale / summands as f64) as f32;
        Self { len: pixels * channels, channels, workers, width, factor }
    }

    /// The logit that a channel counts for.
    fn logit(&self, channel: usize) -> usize {
        let each = self.channels / self.workers;
        channel / each * self.width + channel % each % self.width
    }
}

kernel! {
    FilterLogits { x: Input<f32>, z: Output<f32> }
    with |op, bind| {
        filters: Filters =
            Filters::new(&bind.tensor(op.x).shape, op.workers, op.width, op.scale),
    }
}

impl Kernel for FilterLogits {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::per_thread(self.filters.channels)
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let f = self.filters;
        let (logits, images) = (f.workers * f.width, items_per_chunk(f.len));
        let x = self.x.get().par_chunks(images * f.len);
        let buffers = work.buffers;
        self.z.get().par_chunks_mut(images * logits).zip(x).for_each(|(z, x)| {
            buffers.with(|slot| {
                let sums = &mut slot[..f.channels];
                for (z, x) in z.chunks_exact_mut(logits).zip(x.chunks_exact(f.len)) {
                    sums.fill(0.0);
                    sum_rows(x, sums);
                    z.fill(0.0);
                    for (channel, sum) in sums.iter().enumerate() {
                        z[f.logit(channel)] += sum * f.factor;
                    }
                }
            });
        });
    }
}

/// The backward rule of filter workers, image by image.
pub(crate) struct LogitsGradRule {
    dz: Input<f32>,
    filters: Filters,
}

impl LogitsGradRule {
    pub(crate) fn new(op: &program::FilterLogitsGrad, bind: &mut BufferResolver<'_>) -> Self {
        let filters = Filters::new(&bind.tensor(op.dx).shape, op.workers, op.width, op.scale);
        Self { dz: bind.read(op.dz), filters }
    }

    /// Spreads the gradient of image `i`.
    pub(crate) fn image(&self, i: usize, dx: &mut [f32]) {
        let f = &self.filters;
        let logits = f.workers * f.width;
        let dz = &self.dz.get()[i * logits..][..logits];
        // The first pixel, and copies of it.
        let (first, rest) = dx.split_at_mut(f.channels);
        for (channel, dx) in first.iter_mut().enumerate() {
            *dx = dz[f.logit(channel)] * f.factor;
        }
        rest.chunks_exact_mut(f.channels).for_each(|dx| dx.copy_from_slice(first));
    }
}

kernel! {
    FilterLogitsGrad { dx: Output<f32> }
    with |op, bind| { rule: LogitsGradRule = LogitsGradRule::new(op, bind) }
}

impl Kernel for FilterLogitsGrad {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (rule, len) = (&self.rule, self.rule.filters.len);
        let images = items_per_chunk(len);
        self.dx.get().par_chunks_mut(images * len).enumerate().for_each(|(chunk, dx)| {
            for (i, dx) in dx.chunks_exact_mut(len).enumerate() {
                rule.image(chunk * images + i, dx);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_at_any_size_of_logits() {
        let mut y = [0.0; 3];
        let mut log_sums = [0.0];
        softmax(&[1000.0, 1000.0, 0.0], 3, &mut y, Some(&mut log_sums));
        let [log_sum] = log_sums;
        assert_eq!(y, [0.5, 0.5, 0.0]);
        assert!((log_sum - 1_000.693_1).abs() < 1e-3);
        let mut dx = [9.0; 3];
        softmax_grad(&y, |i| i as f32, &mut dx);
        assert_eq!(dx, [-0.25, 0.25, 0.0]);
    }

    #[test]
    fn channels_speak_for_classes_in_turn() {
        let filters = Filters::new(&[1, 1, 1, 12], 2, 3, 4.0);
        let logits: Vec<usize> = (0..12).map(|c| filters.logit(c)).collect();
        assert_eq!(logits, [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
        assert_eq!(filters.factor, 2.0);
    }

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exponential(x)) - exact).abs() / exact;
            assert!(error <= 2.0 * f64::from(f32::EPSILON), "{x}: {error}");
        }
        assert_eq!(exponential(0.0), 1.0);
        assert!(exponential(f32::NEG_INFINITY) == 0.0 && exponential(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms_are_right_to_two_units_in_the_last_place() {
        for i in 0..=1_000_000 {
            // From a half, across every power of two, to some thousands.
            let x = 0.5 * (i as f32 * 1e-5).exp();
            let exact = f64::from(x).ln();
            let error = (f64::from(logarithm(x)) - exact).abs();
            assert!(error <= f64::from(f32::EPSILON) * exact.abs().max(1.0), "{x}: {error}");
        }
        assert_eq!(logarithm(1.0), 0.0);
        assert!(logarithm(f32::INFINITY) == f32::INFINITY && logarithm(f32::NAN).is_nan());
    }

    #[test]
    fn softmax_goes_through_any_number_of_runs() {
        for runs in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let x: Vec<f32> = (0..3 * runs).map(|i| (i * 37 % 19) as f32 * 0.3 - 2.0).collect();
            let (mut y, mut log_sums) = (vec![0.0; x.len()], vec![0.0; runs]);
            softmax(&x, 3, &mut y, Some(&mut log_sums));
            for ((x, y), log_sum) in x.chunks(3).zip(y.chunks(3)).zip(log_sums) {
                let sum: f64 = x.iter().map(|&x| f64::from(x).exp()).sum();
                assert!((f64::from(log_sum) - sum.ln()).abs() < 1e-6);
                for (x, y) in x.iter().zip(y) {
                    assert!((f64::from(*y) - f64::from(*x).exp() / sum).abs() < 1e-6);
                }
            }
        }
    }
}
