//! Similarity matching: deviations over positions, normalised rows, and the loss of their similarities.
//!
//! Means are taken of differences from the first number. Those of equal numbers are exactly 0, and so are their
//! deviation and its gradient.

use lfnn_core::program::{self, DType, ROW_EPSILON, TensorId};
use rayon::prelude::*;

use super::reduce::lane_sums;
use crate::memory::{BufferResolver, Input, Output};
use crate::simd::vectorized;
use crate::work::{Kernel, ScratchSize, Workspace, items_per_chunk, kernel};

vectorized! {
    /// Means and standard deviations of the channels of one image.
    fn deviation(x: &[f32], mean: &mut [f32], y: &mut [f32]) {
        let channels = mean.len();
        let (first, y) = (&x[..channels], &mut y[..channels]);
        let positions = (x.len() / channels) as f32;
        mean.fill(0.0);
        for x in x.chunks_exact(channels) {
            for c in 0..channels {
                mean[c] += x[c] - first[c];
            }
        }
        for c in 0..channels {
            mean[c] = first[c] + mean[c] / positions;
        }
        y.fill(0.0);
        for x in x.chunks_exact(channels) {
            for c in 0..channels {
                y[c] += (x[c] - mean[c]) * (x[c] - mean[c]);
            }
        }
        for y in y {
            *y = (*y / (positions - 1.0)).sqrt();
        }
    }

    /// `dx = (x − mean) · scale` in each channel of one image.
    fn spread(x: &[f32], mean: &[f32], scale: &[f32], dx: &mut [f32]) {
        let channels = mean.len();
        let scale = &scale[..channels];
        for (dx, x) in dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                dx[c] = (x[c] - mean[c]) * scale[c];
            }
        }
    }

    /// `dy = Σ dx · (x − mean)` in each channel of one image.
    fn gather(x: &[f32], mean: &[f32], dx: &[f32], dy: &mut [f32]) {
        let channels = mean.len();
        let dy = &mut dy[..channels];
        dy.fill(0.0);
        for (dx, x) in dx.chunks_exact(channels).zip(x.chunks_exact(channels)) {
            for c in 0..channels {
                dy[c] += dx[c] * (x[c] - mean[c]);
            }
        }
    }

    /// `y` receives the centred row, divided by its norm and ε; the norm comes back.
    fn normalize(x: &[f32], y: &mut [f32]) -> f32 {
        let first = x.first().copied().unwrap_or(0.0);
        let mean = first + sum(x, x, |x, _| x - first) / x.len() as f32;
        let norm = sum(x, x, |x, _| (x - mean) * (x - mean)).sqrt();
        let share = 1.0 / (norm + ROW_EPSILON as f32);
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x - mean) * share;
        }
        norm
    }

    /// The Jacobian of [`normalize`].
    fn normalize_grad(y: &[f32], norm: f32, dy: &[f32], dx: &mut [f32]) {
        if norm == 0.0 {
            return dx.fill(0.0);
        }
        let length = norm + ROW_EPSILON as f32;
        let mean = sum(dy, dy, |dy, _| dy) / dy.len() as f32;
        let along = sum(y, dy, |y, dy| y * (dy - mean)) * (length / norm);
        let share = 1.0 / length;
        for (dx, (y, dy)) in dx.iter_mut().zip(y.iter().zip(dy)) {
            *dx = (dy - mean - y * along) * share;
        }
    }

    /// `gradient = factor · (R − T)` in one row; `Σ (R − T)²` comes back.
    fn compare(similarity: &[f32], targets: Targets<'_>, factor: f32, gradient: &mut [f32]) -> f32 {
        match targets {
            Targets::Labels { labels, own, different } => {
                for (gradient, (r, &label)) in gradient.iter_mut().zip(similarity.iter().zip(labels)) {
                    *gradient = r - if label == own { 1.0 } else { different };
                }
            }
            Targets::Similarities(t) => {
                for (gradient, (r, t)) in gradient.iter_mut().zip(similarity.iter().zip(t)) {
                    *gradient = r - t;
                }
            }
        }
        let squares = sum(gradient, gradient, |d, _| d * d);
        for gradient in gradient {
            *gradient *= factor;
        }
        squares
    }
}

/// `Σ f(a, b)`.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    lane_sums(a, b, f).iter().sum()
}

/// What the similarities of one row are to be.
#[derive(Clone, Copy)]
enum Targets<'a> {
    /// 1 with examples of its own label, and another number with those of a different one.
    Labels {
        labels: &'a [u32],
        own: u32,
        different: f32,
    },
    Similarities(&'a [f32]),
}

/// Numbers of an image `[height, width, channels]`, and of its channels.
fn extents(bind: &BufferResolver<'_>, x: TensorId) -> [usize; 2] {
    let channels = bind.tensors().channels(x);
    [bind.rows_per_example(x) * channels, channels]
}

/// `1 / ((positions − 1) y)`, and 0 where y is 0.
fn slope(y: f32, [len, channels]: [usize; 2]) -> f32 {
    if y == 0.0 { 0.0 } else { 1.0 / ((len / channels - 1) as f32 * y) }
}

kernel! {
    Deviation { x: Input<f32>, mean: Output<f32>, y: Output<f32> }
    with |op, bind| { extents: [usize; 2] = extents(bind, op.x) }
}

impl Kernel for Deviation {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let [len, channels] = self.extents;
        let images = items_per_chunk(len);
        let moments = self.mean.get().par_chunks_mut(images * channels);
        let moments = moments.zip(self.y.get().par_chunks_mut(images * channels));
        moments.zip(self.x.get().par_chunks(images * len)).for_each(|((mean, y), x)| {
            let moments = mean.chunks_exact_mut(channels).zip(y.chunks_exact_mut(channels));
            for ((mean, y), x) in moments.zip(x.chunks_exact(len)) {
                deviation(x, mean, y);
            }
        });
    }
}

kernel! {
    DeviationGrad {
        x: Input<f32>,
        mean: Input<f32>,
        y: Input<f32>,
        dy: Input<f32>,
        dx: Output<f32>,
    }
    with |op, bind| { extents: [usize; 2] = extents(bind, op.x) }
}

impl Kernel for DeviationGrad {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::per_thread(self.extents[1])
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let [len, channels] = self.extents;
        let (x, mean) = (self.x.get(), self.mean.get());
        let (y, dy) = (self.y.get(), self.dy.get());
        let (images, buffers) = (items_per_chunk(len), work.buffers);
        self.dx.get().par_chunks_mut(images * len).enumerate().for_each(|(chunk, dx)| {
            buffers.with(|slot| {
                let scale = &mut slot[..channels];
                for (i, dx) in dx.chunks_exact_mut(len).enumerate() {
                    let image = chunk * images + i;
                    let of_image = image * channels..(image + 1) * channels;
                    let numbers = y[of_image.clone()].iter().zip(&dy[of_image.clone()]);
                    for (scale, (y, dy)) in scale.iter_mut().zip(numbers) {
                        *scale = dy * slope(*y, [len, channels]);
                    }
                    spread(&x[image * len..][..len], &mean[of_image], scale, dx);
                }
            });
        });
    }
}

kernel! {
    DeviationTangent {
        x: Input<f32>,
        mean: Input<f32>,
        y: Input<f32>,
        dx: Input<f32>,
        dy: Output<f32>,
    }
    with |op, bind| { extents: [usize; 2] = extents(bind, op.x) }
}

impl Kernel for DeviationTangent {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let [len, channels] = self.extents;
        let (x, mean) = (self.x.get(), self.mean.get());
        let (y, dx) = (self.y.get(), self.dx.get());
        let images = items_per_chunk(len);
        self.dy.get().par_chunks_mut(images * channels).enumerate().for_each(|(chunk, dy)| {
            for (i, dy) in dy.chunks_exact_mut(channels).enumerate() {
                let image = chunk * images + i;
                let (at, of_image) = (image * len, image * channels..(image + 1) * channels);
                gather(&x[at..][..len], &mean[of_image.clone()], &dx[at..][..len], dy);
                for (dy, y) in dy.iter_mut().zip(&y[of_image]) {
                    *dy *= slope(*y, [len, channels]);
                }
            }
        });
    }
}

kernel! {
    NormalizeRows { x: Input<f32>, norm: Output<f32>, y: Output<f32> }
    with |op, bind| { features: usize = bind.tensors().channels(op.x) }
}

impl Kernel for NormalizeRows {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let features = self.features.max(1);
        let rows = items_per_chunk(features);
        let norms = self.norm.get().par_chunks_mut(rows);
        let chunks = self.y.get().par_chunks_mut(rows * features);
        let chunks = chunks.zip(self.x.get().par_chunks(rows * features));
        norms.zip(chunks).for_each(|(norms, (y, x))| {
            let rows = y.chunks_exact_mut(features).zip(x.chunks_exact(features));
            for (norm, (y, x)) in norms.iter_mut().zip(rows) {
                *norm = normalize(x, y);
            }
        });
    }
}

kernel! {
    NormalizeRowsGrad { y: Input<f32>, norm: Input<f32>, dy: Input<f32>, dx: Output<f32> }
    with |op, bind| { features: usize = bind.tensors().channels(op.y) }
}

impl Kernel for NormalizeRowsGrad {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let features = self.features.max(1);
        let rows = items_per_chunk(features);
        let inputs = self.y.get().par_chunks(rows * features);
        let inputs = inputs.zip(self.dy.get().par_chunks(rows * features));
        let inputs = inputs.zip(self.norm.get().par_chunks(rows));
        let dx = self.dx.get().par_chunks_mut(rows * features);
        dx.zip(inputs).for_each(|(dx, ((y, dy), norms))| {
            let rows = y.chunks_exact(features).zip(dy.chunks_exact(features)).zip(norms);
            for (dx, ((y, dy), &norm)) in dx.chunks_exact_mut(features).zip(rows) {
                normalize_grad(y, norm, dy, dx);
            }
        });
    }
}

/// Labels, or similarities.
enum Target {
    Labels(Input<u32>),
    Similarities(Input<f32>),
}

kernel! {
    SimilarityLoss { similarity: Input<f32>, gradient: Output<f32>, losses: Output<f32> }
    with |op, bind| {
        target: Target = if bind.tensor(op.target).dtype == DType::Real {
            Target::Similarities(bind.read(op.target))
        } else {
            Target::Labels(bind.read(op.target))
        },
        op: program::SimilarityLoss = op.clone(),
    }
}

impl Kernel for SimilarityLoss {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (losses, similarity) = (self.losses.get(), self.similarity.get());
        let batch = losses.len().max(1);
        let factor = (4.0 * self.op.weight / (batch * batch) as f64) as f32;
        let different = self.op.different() as f32;
        let targets = |row: usize| match &self.target {
            Target::Labels(labels) => {
                let labels = labels.get();
                Targets::Labels { labels, own: labels[row], different }
            }
            Target::Similarities(t) => Targets::Similarities(&t.get()[row * batch..][..batch]),
        };
        let rows = items_per_chunk(batch);
        let chunks = self.gradient.get().par_chunks_mut(rows * batch);
        let chunks = chunks.zip(similarity.par_chunks(rows * batch));
        losses.par_chunks_mut(rows).zip(chunks).enumerate().for_each(
            |(chunk, (losses, (gradient, similarity)))| {
                let of_rows = gradient.chunks_exact_mut(batch).zip(similarity.chunks_exact(batch));
                for (i, (loss, (gradient, r))) in losses.iter_mut().zip(of_rows).enumerate() {
                    let squares = compare(r, targets(chunk * rows + i), factor, gradient);
                    *loss = squares / batch as f32;
                }
            },
        );
    }
}
