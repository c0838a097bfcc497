//! Pooling over space.

use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad,
    MaxPoolTangent, TensorId, Window,
};

use super::launch::arguments;
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::KernelFile;

const POOL: KernelFile = KernelFile("pool");

shared_with_kernels! {
    structures {
        /// The extents of a pooling.
        struct Pool {
            batch: u32,
            height: u32,
            width: u32,
            channels: u32,
            out_height: u32,
            out_width: u32,
            kernel: [u32; 2],
            stride: [u32; 2],
            padding: [u32; 2],
        }
    }
}

impl Pool {
    fn new(image: TensorId, pooled: TensorId, window: Window, to: &Lowering<'_>) -> Self {
        let [batch, height, width, channels] = to.image(image).map(|extent| extent as u32);
        let [_, out_height, out_width, _] = to.image(pooled).map(|extent| extent as u32);
        let [kernel, stride, padding] =
            [window.kernel, window.stride, window.padding].map(|pair| pair.map(|n| n as u32));
        Self { batch, height, width, channels, out_height, out_width, kernel, stride, padding }
    }

    /// A grid of bins, which has no window.
    fn bins(image: TensorId, pooled: TensorId, to: &Lowering<'_>) -> Self {
        Self::new(image, pooled, Window::square(0, 0, 0), to)
    }
}

/// What each pixel of a window counts in its mean.
pub(super) fn share(window: Window) -> f32 {
    (1.0 / (window.kernel[0] * window.kernel[1]) as f64) as f32
}

impl Lower for MaxPool {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::new(self.x, self.y, self.window, to);
        let (x, y) = (to.read(self.x), to.write(self.y));
        let arguments = arguments![x, y, to.optional(self.position), &pool];
        to.launch_1d(POOL, "max_pool", to.len(self.y), arguments);
    }
}

impl Lower for MaxPoolGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::new(self.dx, self.dy, self.window, to);
        let (dy, dx) = (to.read(self.dy), to.write(self.dx));
        let arguments = arguments![dy, to.address(self.position), dx, &pool];
        to.launch_1d(POOL, "max_pool_grad", to.len(self.dx), arguments);
    }
}

impl Lower for MaxPoolTangent {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::new(self.dx, self.dy, self.window, to);
        let (dx, dy) = (to.read(self.dx), to.write(self.dy));
        let arguments = arguments![dx, to.address(self.position), dy, &pool];
        to.launch_1d(POOL, "max_pool_tangent", to.len(self.dy), arguments);
    }
}

impl Lower for AvgPool {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::new(self.x, self.y, self.window, to);
        let (x, y) = (to.read(self.x), to.write(self.y));
        let arguments = arguments![x, y, &pool, share(self.window)];
        to.launch_1d(POOL, "avg_pool", to.len(self.y), arguments);
    }
}

impl Lower for AvgPoolGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::new(self.dx, self.dy, self.window, to);
        let (dy, dx) = (to.read(self.dy), to.write(self.dx));
        let arguments = arguments![dy, dx, &pool, share(self.window)];
        to.launch_1d(POOL, "avg_pool_grad", to.len(self.dx), arguments);
    }
}

impl Lower for AdaptiveAvgPool {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::bins(self.x, self.y, to);
        let arguments = arguments![to.read(self.x), to.write(self.y), &pool];
        to.launch_1d(POOL, "adaptive_pool", to.len(self.y), arguments);
    }
}

impl Lower for AdaptiveAvgPoolGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let pool = Pool::bins(self.dx, self.dy, to);
        let arguments = arguments![to.read(self.dy), to.write(self.dx), &pool];
        to.launch_1d(POOL, "adaptive_pool_grad", to.len(self.dx), arguments);
    }
}
