//! What this backend does at once, and the kernels for it.

use lfnn_core::program::fusion::{Capabilities, Fusion, Upstream};
use lfnn_core::program::{Op, TensorId, Tensors};
use lfnn_core::with_operation;

use crate::kernels::{conv, linear, norm, norm_grad};
use crate::memory::BufferResolver;
use crate::work::{Compile, Kernel};

/// The patterns for which there are kernels.
pub(crate) struct CpuCapabilities<'a>(pub(crate) &'a Tensors);

/// Images up to this size are gone through twice while they are in the cache.
const IMAGE_BYTES: usize = 1 << 19;

impl CpuCapabilities<'_> {
    /// Whether an image of this tensor stays in the cache.
    fn fits_cache(&self, images: TensorId) -> bool {
        let images = &self.0[images];
        images.bytes() / images.shape[0].max(1) <= IMAGE_BYTES
    }
}

impl Capabilities for CpuCapabilities<'_> {
    fn relu(&self, _: &Op) -> bool {
        true
    }

    fn pooling(&self, pooling: &Op) -> bool {
        match pooling {
            Op::MaxPool(op) => self.fits_cache(op.x),
            Op::AdaptiveAvgPool(op) => self.fits_cache(op.x),
            _ => false,
        }
    }

    fn relu_grad(&self) -> bool {
        true
    }

    fn upstream(&self, gradient: Upstream<'_>) -> bool {
        self.fits_cache(gradient.dx())
    }
}

/// The kernel of a fused operation.
pub(crate) fn kernel(fusion: &Fusion<'_>, bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
    match fusion {
        Fusion::Single(op) => with_operation!(op, op => op.kernel(bind)),
        Fusion::Conv2d(op, relu) => conv::forward(op, Some(relu.y), bind),
        Fusion::Linear(op, relu) => Box::new(linear::Linear::new(op, Some(relu.y), bind)),
        Fusion::BatchNorm { norm, epilogue, .. } => {
            Box::new(norm::BatchNorm::new(norm, epilogue.as_ref(), bind))
        }
        Fusion::BatchNormInference(op, epilogue) => {
            Box::new(norm::BatchNormInference::new(op, Some(epilogue), bind))
        }
        Fusion::BatchNormGrad(grad) => {
            Box::new(norm_grad::BatchNormGrad::new(grad.norm, Some(grad), bind))
        }
    }
}
