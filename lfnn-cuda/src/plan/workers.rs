//! Softmax of every worker, and the logits of filter workers.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{FilterLogits, FilterLogitsGrad, Softmax, SoftmaxGrad, TensorId};

use super::Argument;
use super::launch::{THREADS, arguments};
use super::lower::Lowering;
use crate::kernels::WORKERS;

/// Lanes of a warp that share a run of `width` elements: a power of two.
pub(super) fn lanes(width: usize) -> usize {
    width.next_power_of_two().min(32)
}

pub(super) fn softmax(op: &Softmax, to: &mut Lowering<'_>) {
    let (runs, lanes) = (to.len(op.x) / op.width, lanes(op.width));
    let arguments = arguments![to.read(op.x), to.write(op.y), runs, op.width, lanes];
    to.launch(WORKERS.over("softmax", to.real(), runs * lanes, arguments));
}

pub(super) fn softmax_grad(op: &SoftmaxGrad, to: &mut Lowering<'_>) {
    let (runs, lanes) = (to.len(op.y) / op.width, lanes(op.width));
    let (y, dy, dx) = (to.read(op.y), to.read(op.dy), to.write(op.dx));
    let arguments = arguments![y, dy, dx, runs, op.width, lanes];
    to.launch(WORKERS.over("softmax_grad", to.real(), runs * lanes, arguments));
}

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Filters {
    batch: u32,
    pixels: u32,
    channels: u32,
    workers: u32,
    width: u32,
    factor: f32,
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

pub(super) fn filter_logits(op: &FilterLogits, to: &mut Lowering<'_>) {
    let filters = Filters::new(to, op.x, op.workers, op.width, op.scale);
    let across = filters.channels.clamp(1, THREADS);
    let block = [across, (THREADS / across).min(filters.pixels).max(1), 1];
    let arguments = arguments![to.read(op.x), to.write(op.z), Argument::of(&filters, Vec::new())];
    let grid = [filters.batch, 1, 1];
    let mut launch = WORKERS.launch("filter_logits", to.real(), grid, block, arguments);
    launch.shared = filters.channels * size_of::<f32>() as u32;
    to.launch(launch);
}

pub(super) fn filter_logits_grad(op: &FilterLogitsGrad, to: &mut Lowering<'_>) {
    let filters = Filters::new(to, op.dx, op.workers, op.width, op.scale);
    let n = to.len(op.dx);
    let arguments = arguments![to.read(op.dz), to.write(op.dx), Argument::of(&filters, Vec::new())];
    to.launch(WORKERS.over("filter_logits_grad", to.real(), n / 4, arguments));
}
