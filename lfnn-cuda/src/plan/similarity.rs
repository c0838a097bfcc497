//! Similarity matching.

use lfnn_core::program::{
    DType, Deviation, DeviationGrad, DeviationTangent, NormalizeRows, NormalizeRowsGrad,
    ROW_EPSILON, SimilarityLoss, TensorId,
};

use super::divide::Divide;
use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::rows::by_row;
use super::shared::shared_with_kernels;
use super::types::{Argument, KernelFile};

const SIMILARITY: KernelFile = KernelFile("similarity");

/// Channels of a block, at most: rows of 64 or 128 bytes.
const CHANNELS: usize = 32;

shared_with_kernels! {
    structures {
        /// The extents of images whose positions are one axis.
        struct Images {
            batch: u32,
            positions: u32,
            channels: u32,
            by_image: Divide,
            by_channel: Divide,
        }
    }
}

impl Images {
    fn new(x: TensorId, to: &Lowering<'_>) -> Self {
        let [batch, height, width, channels] = to.image(x);
        Self {
            batch: batch as u32,
            positions: (height * width) as u32,
            channels: channels as u32,
            by_image: Divide::by(height * width * channels),
            by_channel: Divide::by(channels),
        }
    }

    /// Appends a launch whose blocks each have some channels of an image; the last argument of the kernel is the
    /// extents.
    fn launch(&self, kernel: &'static str, mut arguments: Vec<Argument>, to: &mut Lowering<'_>) {
        arguments.push(self.into());
        let channels = self.channels as usize;
        let tiles = channels.div_ceil(CHANNELS).max(1);
        let across = channels.div_ceil(tiles).max(1) as u32;
        let grid = [tiles as u32, self.batch.clamp(1, 65_535), 1];
        to.launch(SIMILARITY, kernel, grid, [across, THREADS / across, 1], arguments);
    }
}

impl Lower for Deviation {
    fn lower(&self, to: &mut Lowering<'_>) {
        let arguments = arguments![to.read(self.x), to.address(self.mean), to.address(self.y)];
        Images::new(self.x, to).launch("deviation", arguments, to);
    }
}

impl Lower for DeviationGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (x, dx) = (to.read(self.x), to.write(self.dx));
        let [mean, y, dy] = [self.mean, self.y, self.dy].map(|id| to.address(id));
        let arguments = arguments![x, mean, y, dy, dx, &Images::new(self.x, to)];
        to.launch_1d(SIMILARITY, "deviation_grad", to.len(self.x) / 4, arguments);
    }
}

impl Lower for DeviationTangent {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (x, dx) = (to.read(self.x), to.read(self.dx));
        let [mean, y, dy] = [self.mean, self.y, self.dy].map(|id| to.address(id));
        Images::new(self.x, to).launch("deviation_tangent", arguments![x, mean, y, dx, dy], to);
    }
}

/// The extents of a matrix.
fn matrix(x: TensorId, to: &Lowering<'_>) -> [usize; 2] {
    [to.tensors().rows(x), to.tensors().channels(x)]
}

impl Lower for NormalizeRows {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (x, norm, y) = (to.read(self.x), to.address(self.norm), to.address(self.y));
        by_row(
            SIMILARITY,
            "normalize_rows",
            matrix(self.x, to),
            arguments![x, norm, y, ROW_EPSILON as f32],
            to,
        );
    }
}

impl Lower for NormalizeRowsGrad {
    fn lower(&self, to: &mut Lowering<'_>) {
        let [y, norm, dy, dx] = [self.y, self.norm, self.dy, self.dx].map(|id| to.address(id));
        by_row(
            SIMILARITY,
            "normalize_rows_grad",
            matrix(self.y, to),
            arguments![y, norm, dy, dx, ROW_EPSILON as f32],
            to,
        );
    }
}

impl Lower for SimilarityLoss {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.len(self.losses);
        let target = Some(to.address(self.target));
        let is_real = to.tensors()[self.target].dtype == DType::Real;
        let [labels, similarities] = if is_real { [None, target] } else { [target, None] };
        let arguments = arguments![
            to.address(self.similarity),
            labels,
            similarities,
            to.address(self.gradient),
            to.address(self.losses),
            &to.loss_scale(self.gradient),
            self.different() as f32,
            (4.0 * self.weight / (batch * batch) as f64) as f32,
        ];
        by_row(SIMILARITY, "similarity_loss", matrix(self.similarity, to), arguments, to);
    }
}
