//! Softmax of every worker, and the logits of filter workers.

use lfnn_core::program::{FilterLogits, FilterLogitsGrad, Softmax, SoftmaxGrad, TensorId};

use super::launch::{THREADS, arguments, lanes};
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::KernelFile;

const WORKERS: KernelFile = KernelFile("workers");

impl Lower for Softmax {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (runs, lanes) = (to.len(self.x) / self.width, lanes(self.width));
        let arguments = arguments![to.read(self.x), to.write(self.y), runs, self.width, lanes];
        to.launch_1d(WORKERS, "softmax", runs * lanes, arguments);
    }
}

impl Lower for SoftmaxGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (runs, lanes) = (to.len(self.y) / self.width, lanes(self.width));
        let (y, dy, dx) = (to.read(self.y), to.read(self.dy), to.write(self.dx));
        let arguments = arguments![y, dy, dx, runs, self.width, lanes];
        to.launch_1d(WORKERS, "softmax_grad", runs * lanes, arguments);
    }
}

shared_with_kernels! {
    structures {
        /// How the channels of an image vote for logits.
        struct Filters {
            batch: u32,
            pixels: u32,
            channels: u32,
            workers: u32,
            width: u32,
            /// What the sum over space and channels is multiplied by.
            factor: f32,
        }
    }
}

impl Filters {
    fn new(to: &Lowering<'_>, x: TensorId, workers: usize, width: usize, scale: f64) -> Self {
        let [batch, height, columns, channels] = to.image(x);
        let pixels = height * columns;
        let averaged = pixels * (channels / (workers * width));
        Self {
            batch: batch as u32,
            pixels: pixels as u32,
            channels: channels as u32,
            workers: workers as u32,
            width: width as u32,
            factor: (scale / averaged as f64) as f32,
        }
    }
}

impl Lower for FilterLogits {
    fn lower(&self, to: &mut Lowering<'_>) {
        let filters = Filters::new(to, self.x, self.workers, self.width, self.scale);
        let across = filters.channels.clamp(1, THREADS);
        let block = [across, (THREADS / across).min(filters.pixels).max(1), 1];
        let arguments = arguments![to.read(self.x), to.write(self.z), &filters];
        let grid = [filters.batch, 1, 1];
        let shared = filters.channels * size_of::<f32>() as u32;
        to.launch_shared(WORKERS, "filter_logits", grid, block, shared, arguments);
    }
}

impl Lower for FilterLogitsGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let filters = Filters::new(to, self.dx, self.workers, self.width, self.scale);
        let n = to.len(self.dx);
        let arguments = arguments![to.read(self.dz), to.write(self.dx), &filters];
        to.launch_1d(WORKERS, "filter_logits_grad", n / 4, arguments);
    }
}
