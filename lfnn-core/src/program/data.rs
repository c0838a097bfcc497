//! From the stored data set to a batch: gathering, augmentation, normalisation.
//!
//! The data set is on the device, as bytes or as real numbers, so that a step copies nothing from the host.

use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};
use crate::random::Stream;

/// Random changes of a training image. Each is drawn from the words of
/// `stream` at (seed, epoch, 0 or 1, image), so it depends on the image and the epoch alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augment {
    /// The image is moved by up to this many pixels in each direction; what comes in are zeros,
    /// normalised like any other value. The offsets are `below(word, 2 · padding + 1) − padding` with words 0 (rows) and 1 (columns) of
    /// block `image` at step 0: output pixel (y, x) is input pixel (y + dy, x + dx).
    pub padding: usize,
    /// Mirror left and right where the top bit of word 2 of that block is set. The flip is applied
    /// to the moved image: output column x is moved column `width − 1 − x`.
    pub flip: bool,
    /// Side of a square set to the normalised value 0; 0 for none. Its centre is
    /// `below(word, height)`, `below(word, width)` with words 0 and 1 of block `image` at step 1; it
    /// covers `centre − side / 2 .. centre − side / 2 + side`, cut at the border. It comes
    /// last, in coordinates of the output.
    pub cutout: usize,
    /// Where the random words come from.
    pub stream: Stream,
}

operation! {
    /// Row b of the batch is example `order[step · batch + b]`, or the last one where that position is
    /// beyond the step counter's count (at least 1), as `value · scale[c] + shift[c]`. The value is
    /// the number itself where the data set is real, and a byte divided by 255 otherwise.
    LoadImages, check: check_images
    reads {
        /// `U8` or real, `[images, height, width, channels]`.
        pixels: TensorId,
        /// `U32 [n]`: the examples in the order of the epoch; n is at least the step counter's count.
        order: TensorId,
        /// The step counter.
        counter: TensorId,
        /// `[channels]`: 1 / standard deviation.
        scale: TensorId,
        /// `[channels]`: −mean / standard deviation.
        shift: TensorId,
    }
    writes {
        /// `[batch, height, width, channels]`.
        x: TensorId,
    }
    updates {}
    with {
        /// Random changes, in training.
        augment: Option<Augment>,
    }
    activations { x }
    gathers { x from pixels }
}

operation! {
    /// Row b of the batch is the label of image `order[step · batch + b]`; see [`LoadImages`].
    LoadLabels, check: check_labels
    reads {
        /// `U32 [images]`.
        labels: TensorId,
        /// `U32 [n]`: the examples in the order of the epoch.
        order: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {
        /// `U32 [batch]`.
        target: TensorId,
    }
    updates {}
    with {}
    gathers { target from labels }
}

operation! {
    /// Row b of the batch is row `order[step · batch + b]` of a table: the targets of a regression.
    /// See [`LoadImages`].
    LoadValues, check: check_values
    reads {
        /// `[images, width]`.
        values: TensorId,
        /// `U32 [n]`: the examples in the order of the epoch.
        order: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {
        /// `[batch, width]`.
        target: TensorId,
    }
    updates {}
    with {}
    gathers { target from values }
}

fn check_images(op: &LoadImages, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    t.expect_type(op.order, DType::U32)?;
    if t[op.pixels].dtype == DType::U32 {
        return Err(format!("`{}` is U32, expected U8 or Real", t[op.pixels].name));
    }
    let [batch, height, width, channels] = t.image(op.x)?;
    let images = t[op.pixels].shape.first().copied().unwrap_or(0);
    t.expect_shape(op.pixels, &[images, height, width, channels])?;
    t.expect(op.scale, &[channels])?;
    t.expect(op.shift, &[channels])?;
    expect_order(t, op.order, batch)
}

fn check_labels(op: &LoadLabels, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    t.expect_type(op.labels, DType::U32)?;
    t.expect_type(op.order, DType::U32)?;
    t.expect_type(op.target, DType::U32)?;
    let batch = t[op.target].len();
    t.expect_shape(op.target, &[batch])?;
    expect_order(t, op.order, batch)
}

fn check_values(op: &LoadValues, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    t.expect_type(op.order, DType::U32)?;
    let [batch, n] = t.matrix(op.target)?;
    let [images, _] = t.matrix(op.values)?;
    t.expect(op.values, &[images, n])?;
    expect_order(t, op.order, batch)
}

fn expect_order(t: &Tensors, order: TensorId, batch: usize) -> Result<(), String> {
    if t[order].is_empty() || batch == 0 {
        return Err(format!("`{}` or the batch is empty", t[order].name));
    }
    Ok(())
}
