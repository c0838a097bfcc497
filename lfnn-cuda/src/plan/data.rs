//! From the stored data set to a batch.

use lfnn_core::program::{DType, LoadImages, LoadLabels, LoadValues};

use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::KernelFile;

const DATA: KernelFile = KernelFile("data");

shared_with_kernels! {
    structures {
        /// The images of a batch, whether they are augmented at all, and how.
        struct ImageParameters {
            batch: u32,
            height: u32,
            width: u32,
            channels: u32,
            augment: u32,
            padding: u32,
            flip: u32,
            cutout: u32,
            stream: u32,
        }
    }
}

/// Elements of an image that a thread has, as far as the image lasts.
const EACH: u32 = 4;

impl Lower for LoadImages {
    fn lower(&self, to: &mut Lowering<'_>) {
        let [batch, height, width, channels] = to.image(self.x).map(|extent| extent as u32);
        let augment = self.augment;
        let parameters = ImageParameters {
            batch,
            height,
            width,
            channels,
            augment: u32::from(augment.is_some()),
            padding: augment.map_or(0, |augment| augment.padding as u32),
            flip: augment.map_or(0, |augment| u32::from(augment.flip)),
            cutout: augment.map_or(0, |augment| augment.cutout as u32),
            stream: augment.map_or(0, |augment| augment.stream.word()),
        };
        let x = to.write(self.x);
        let arguments = arguments![
            to.address(self.pixels),
            to.address(self.order),
            to.address(self.counter),
            to.address(self.scale),
            to.address(self.shift),
            x,
            &parameters,
        ];
        let blocks = (height * width * channels).div_ceil(THREADS * EACH).clamp(1, 65_535);
        let grid = [batch, blocks, 1];
        let kernel = match to.tensors()[self.pixels].dtype {
            DType::U8 => "load_images",
            _ => "load_real_images",
        };
        to.launch(DATA, kernel, grid, [THREADS, 1, 1], arguments);
    }
}

impl Lower for LoadLabels {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.len(self.target);
        let arguments = arguments![
            to.address(self.labels),
            to.address(self.order),
            to.address(self.counter),
            to.address(self.target),
            batch,
        ];
        to.launch_1d(DATA, "load_labels", batch, arguments);
    }
}

impl Lower for LoadValues {
    fn lower(&self, to: &mut Lowering<'_>) {
        let tensors = to.tensors();
        let (batch, width) = (tensors.rows(self.target), tensors.channels(self.target));
        let arguments = arguments![
            to.address(self.values),
            to.address(self.order),
            to.address(self.counter),
            to.address(self.target),
            batch,
            width,
        ];
        to.launch_1d(DATA, "load_values", batch * width, arguments);
    }
}
