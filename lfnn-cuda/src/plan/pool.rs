//! Pooling over space.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad,
    MaxPoolTangent, TensorId, Window,
};

use super::Argument;
use super::launch::arguments;
use super::lower::{Lowering, optional};
use crate::kernels::POOL;

/// The structure of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Pool {
    image: [u32; 4],
    pooled: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
}

impl Pool {
    fn argument(to: &Lowering<'_>, image: TensorId, pooled: TensorId, window: Window) -> Argument {
        let [_, height, width, _] = to.image(pooled);
        let whole = |pair: [usize; 2]| pair.map(|extent| extent as u32);
        let pool = Self {
            image: to.image(image).map(|extent| extent as u32),
            pooled: whole([height, width]),
            kernel: whole(window.kernel),
            stride: whole(window.stride),
            padding: whole(window.padding),
        };
        Argument::of(&pool, Vec::new())
    }

    /// A grid of bins, which has no window.
    fn grid(to: &Lowering<'_>, image: TensorId, pooled: TensorId) -> Argument {
        Self::argument(to, image, pooled, Window::square(0, 0, 0))
    }
}

/// What each pixel of a window counts in its mean.
pub(super) fn share(window: Window) -> f32 {
    (1.0 / (window.kernel[0] * window.kernel[1]) as f64) as f32
}

pub(super) fn max(op: &MaxPool, to: &mut Lowering<'_>) {
    let pool = Pool::argument(to, op.x, op.y, op.window);
    let (x, y) = (to.read(op.x), to.write(op.y));
    let arguments = arguments![x, y, optional(op.position), pool];
    to.launch(POOL.over("max_pool", to.real(), to.len(op.y), arguments));
}

pub(super) fn max_grad(op: &MaxPoolGrad, to: &mut Lowering<'_>) {
    let pool = Pool::argument(to, op.dx, op.dy, op.window);
    let (dy, dx) = (to.read(op.dy), to.write(op.dx));
    let arguments = arguments![dy, to.place(op.position), dx, pool];
    to.launch(POOL.over("max_pool_grad", to.real(), to.len(op.dx), arguments));
}

pub(super) fn max_tangent(op: &MaxPoolTangent, to: &mut Lowering<'_>) {
    let pool = Pool::argument(to, op.dx, op.dy, op.window);
    let (dx, dy) = (to.read(op.dx), to.write(op.dy));
    let arguments = arguments![dx, to.place(op.position), dy, pool];
    to.launch(POOL.over("max_pool_tangent", to.real(), to.len(op.dy), arguments));
}

pub(super) fn average(op: &AvgPool, to: &mut Lowering<'_>) {
    let pool = Pool::argument(to, op.x, op.y, op.window);
    let (x, y) = (to.read(op.x), to.write(op.y));
    let arguments = arguments![x, y, pool, share(op.window)];
    to.launch(POOL.over("avg_pool", to.real(), to.len(op.y), arguments));
}

pub(super) fn average_grad(op: &AvgPoolGrad, to: &mut Lowering<'_>) {
    let pool = Pool::argument(to, op.dx, op.dy, op.window);
    let (dy, dx) = (to.read(op.dy), to.write(op.dx));
    let arguments = arguments![dy, dx, pool, share(op.window)];
    to.launch(POOL.over("avg_pool_grad", to.real(), to.len(op.dx), arguments));
}

pub(super) fn adaptive(op: &AdaptiveAvgPool, to: &mut Lowering<'_>) {
    let pool = Pool::grid(to, op.x, op.y);
    let arguments = arguments![to.read(op.x), to.write(op.y), pool];
    to.launch(POOL.over("adaptive_pool", to.real(), to.len(op.y), arguments));
}

pub(super) fn adaptive_grad(op: &AdaptiveAvgPoolGrad, to: &mut Lowering<'_>) {
    let pool = Pool::grid(to, op.dx, op.dy);
    let arguments = arguments![to.read(op.dy), to.write(op.dx), pool];
    to.launch(POOL.over("adaptive_pool_grad", to.real(), to.len(op.dx), arguments));
}
