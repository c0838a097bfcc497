//! From the stored data set to a batch.

use bytemuck::{Pod, Zeroable};
use lfnn_core::program::{LoadImages, LoadLabels, LoadValues};

use super::Argument;
use super::launch::{THREADS, arguments};
use super::lower::Lowering;
use crate::kernels::DATA;

/// The structure of the kernel.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ImageParameters {
    extents: [u32; 4],
    augment: u32,
    padding: u32,
    flip: u32,
    cutout: u32,
    stream: u32,
}

/// Elements of an image that a thread has, as far as the image lasts.
const EACH: usize = 4;

pub(super) fn images(op: &LoadImages, to: &mut Lowering<'_>) {
    let image = to.image(op.x);
    let [batch, height, width, channels] = image;
    let augment = op.augment;
    let parameters = ImageParameters {
        extents: image.map(|extent| extent as u32),
        augment: u32::from(augment.is_some()),
        padding: augment.map_or(0, |augment| augment.padding as u32),
        flip: augment.map_or(0, |augment| u32::from(augment.flip)),
        cutout: augment.map_or(0, |augment| augment.cutout as u32),
        stream: augment.map_or(0, |augment| augment.stream.word()),
    };
    let x = to.write(op.x);
    let arguments = arguments![
        to.place(op.pixels),
        to.place(op.order),
        to.place(op.clock),
        to.place(op.scale),
        to.place(op.shift),
        x,
        Argument::of(&parameters, Vec::new()),
    ];
    let pieces = (height * width * channels).div_ceil(THREADS as usize * EACH).clamp(1, 65_535);
    let grid = [batch as u32, pieces as u32, 1];
    to.launch(DATA.launch("load_images", to.real(), grid, [THREADS, 1, 1], arguments));
}

pub(super) fn labels(op: &LoadLabels, to: &mut Lowering<'_>) {
    let batch = to.len(op.target);
    let arguments = arguments![
        to.place(op.labels),
        to.place(op.order),
        to.place(op.clock),
        to.place(op.target),
        batch,
    ];
    to.launch(DATA.over("load_labels", to.real(), batch, arguments));
}

pub(super) fn values(op: &LoadValues, to: &mut Lowering<'_>) {
    let tensors = to.tensors();
    let (batch, width) = (tensors.rows(op.target), tensors.channels(op.target));
    let arguments = arguments![
        to.place(op.values),
        to.place(op.order),
        to.place(op.clock),
        to.place(op.target),
        batch,
        width,
    ];
    to.launch(DATA.over("load_values", to.real(), batch * width, arguments));
}
