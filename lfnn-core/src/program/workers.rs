//! From a unit's features to its workers' logits and outputs (paper, Section 2).

use super::{DType, TensorId, Tensors};

operation! {
    /// Softmax over each run of `width` elements of the last axis: the output of every worker.
    Softmax, check: check_softmax
    reads {
        /// `[batch, n · width]`.
        x: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {
        /// Elements of one softmax.
        width: usize,
    }
    activations { x, y }
}

operation! {
    /// `dx = y ∘ (dy − Σ y dy)` per run. The Jacobian is symmetric, so this is the forward-mode rule
    /// too.
    SoftmaxGrad, check: check_softmax_grad
    reads {
        /// The output.
        y: TensorId,
        /// Gradient of the output, or tangent of the input.
        dy: TensorId,
    }
    writes {
        /// Gradient of the input, or tangent of the output.
        dx: TensorId,
    }
    updates {}
    with {
        /// Elements of one softmax.
        width: usize,
    }
    activations { y, dy, dx }
}

operation! {
    /// Logits of filter workers: worker n owns `r · width` consecutive channels, of which channel j
    /// speaks for class `j mod width`; the logit is `scale` times the mean over space and over the r
    /// channels of the class. Linear, so it is its own forward-mode rule.
    FilterLogits, check: check_filter
    reads {
        /// `[batch, height, width, workers · r · width]`.
        x: TensorId,
    }
    writes {
        /// `[batch, workers · width]`.
        z: TensorId,
    }
    updates {}
    with {
        /// Number of workers.
        workers: usize,
        /// Width of one worker's prediction.
        width: usize,
        /// Factor on the mean.
        scale: f64,
    }
    activations { x, z }
}

operation! {
    /// The transpose of [`FilterLogits`].
    FilterLogitsGrad, check: check_filter_grad
    reads {
        /// `[batch, workers · width]`.
        dz: TensorId,
    }
    writes {
        /// `[batch, height, width, workers · r · width]`.
        dx: TensorId,
    }
    updates {}
    with {
        /// Number of workers.
        workers: usize,
        /// Width of one worker's prediction.
        width: usize,
        /// Factor on the mean.
        scale: f64,
    }
    activations { dz, dx }
}

fn check_softmax(op: &Softmax, t: &Tensors) -> Result<(), String> {
    check_width(t, op.x, op.width)?;
    t.expect_like(op.y, op.x)
}

fn check_softmax_grad(op: &SoftmaxGrad, t: &Tensors) -> Result<(), String> {
    check_width(t, op.y, op.width)?;
    t.expect_like(op.dy, op.y)?;
    t.expect_like(op.dx, op.y)
}

fn check_width(t: &Tensors, x: TensorId, width: usize) -> Result<(), String> {
    t.expect_type(x, DType::Real)?;
    if width == 0 || !t.channels(x).is_multiple_of(width) {
        return Err(format!("{} features are not runs of {width}", t.channels(x)));
    }
    Ok(())
}

fn check_filter(op: &FilterLogits, t: &Tensors) -> Result<(), String> {
    check(t, op.x, op.z, op.workers, op.width)
}

fn check_filter_grad(op: &FilterLogitsGrad, t: &Tensors) -> Result<(), String> {
    check(t, op.dx, op.dz, op.workers, op.width)
}

fn check(
    t: &Tensors,
    x: TensorId,
    z: TensorId,
    workers: usize,
    width: usize,
) -> Result<(), String> {
    let [batch, _, _, channels] = t.image(x)?;
    let logits = workers * width;
    if logits == 0 || !channels.is_multiple_of(logits) || t[x].is_empty() {
        return Err(format!("{channels} channels are not {workers} workers of r · {width}"));
    }
    t.expect(z, &[batch, logits])
}
