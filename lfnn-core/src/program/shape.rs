//! Operations that move elements and compute nothing.

use super::{DType, TensorId, Tensors};

operation! {
    /// An image as a vector in channels-first order, element `(c·height + y)·width + x`, which is
    /// the order of `Flatten` in frameworks that store images channels-first. Features of one
    /// channel group, hence of one worker, are consecutive.
    Flatten, check: check_flatten
    reads {
        /// `[batch, height, width, channels]`.
        x: TensorId,
    }
    writes {
        /// `[batch, channels · height · width]`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x, y }
}

operation! {
    /// The inverse, and the transpose, of [`Flatten`].
    Unflatten, check: check_unflatten
    reads {
        /// `[batch, channels · height · width]`.
        x: TensorId,
    }
    writes {
        /// `[batch, height, width, channels]`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x, y }
}

operation! {
    /// Tensors side by side along the last axis.
    Concat, check: check_concat
    reads {
        /// Equal but for the last axis.
        inputs: Vec<TensorId>,
    }
    writes {
        /// The last axis is the sum of theirs.
        y: TensorId,
    }
    updates {}
    with {}
    activations { inputs, y }
}

operation! {
    /// The inverse, and the transpose, of [`Concat`].
    Split, check: check_split
    reads {
        /// The last axis is the sum of the parts'.
        x: TensorId,
    }
    writes {
        /// Equal but for the last axis.
        outputs: Vec<TensorId>,
    }
    updates {}
    with {}
    activations { outputs, x }
}

fn check_flatten(op: &Flatten, t: &Tensors) -> Result<(), String> {
    let [batch, height, width, channels] = t.image(op.x)?;
    t.expect(op.y, &[batch, channels * height * width])
}

fn check_unflatten(op: &Unflatten, t: &Tensors) -> Result<(), String> {
    let [batch, height, width, channels] = t.image(op.y)?;
    t.expect(op.x, &[batch, channels * height * width])
}

fn check_concat(op: &Concat, t: &Tensors) -> Result<(), String> {
    check_parts(t, &op.inputs, op.y)
}

fn check_split(op: &Split, t: &Tensors) -> Result<(), String> {
    check_parts(t, &op.outputs, op.x)
}

fn check_parts(t: &Tensors, parts: &[TensorId], whole: TensorId) -> Result<(), String> {
    t.expect_type(whole, DType::Real)?;
    let mut shape = t[whole].shape.clone();
    let mut sum = 0;
    for &part in parts {
        let channels = t.channels(part);
        sum += channels;
        *shape.last_mut().ok_or("a tensor without axes")? = channels;
        t.expect(part, &shape)?;
    }
    if sum != t.channels(whole) {
        return Err(format!("parts with {sum} channels, a whole with {}", t.channels(whole)));
    }
    Ok(())
}
