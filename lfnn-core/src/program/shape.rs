//! Operations that move elements and compute nothing.

use super::{DType, TensorId, Tensors};

operation! {
    /// Two axes exchanged: with `x` seen as `[stack, rows, columns, run]`, `y` is `[stack, columns, rows, run]`. Its
    /// inverse and its transpose are the same with rows and columns exchanged.
    ///
    /// Positions and channels of an image, `rows = height · width` and `columns = channels`, give channels-first order;
    /// rows of a patch and patches of a row, `rows = height of a patch` and `columns = width / width of a patch`, make
    /// every patch one run.
    SwapAxes, check: check_swap
    reads {
        /// Any shape.
        x: TensorId,
    }
    writes {
        /// As many elements as `x`.
        y: TensorId,
    }
    updates {}
    with {
        /// Extent of the first of the two axes, in `x`.
        rows: usize,
        /// Extent of the second.
        columns: usize,
        /// Consecutive elements that stay together.
        run: usize,
    }
    activations { x, y }
}

impl SwapAxes {
    /// An image of shape `[…, height, width, channels]` as vectors in channels-first order, element
    /// `(c·height + y)·width + x`, which is the order of `Flatten` in frameworks that store images channels-first.
    /// Features of one channel group, hence of one worker, are consecutive.
    pub fn channels_first(x: TensorId, y: TensorId, image: &[usize]) -> Self {
        let [.., height, width, columns] = *image else {
            return Self { x, y, rows: 1, columns: 1, run: 1 };
        };
        Self { x, y, rows: height * width, columns, run: 1 }
    }

    /// The inverse: vectors in channels-first order as images of shape `[…, height, width, channels]`.
    pub fn channels_last(x: TensorId, y: TensorId, image: &[usize]) -> Self {
        Self::channels_first(y, x, image).inverse(x, y)
    }

    /// The inverse, and the transpose, from `x` to `y`.
    pub fn inverse(&self, x: TensorId, y: TensorId) -> Self {
        Self { x, y, rows: self.columns, columns: self.rows, run: self.run }
    }

    /// Elements of one of the matrices.
    pub fn matrix(&self) -> usize {
        self.rows * self.columns * self.run
    }
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

fn check_swap(op: &SwapAxes, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.x, DType::Real)?;
    t.expect_type(op.y, DType::Real)?;
    let (x, y) = (&t[op.x], &t[op.y]);
    if x.len() != y.len() || !x.len().is_multiple_of(op.matrix()) {
        let SwapAxes { rows, columns, run, .. } = op;
        return Err(format!(
            "`{}` {:?} and `{}` {:?} are not both made of {rows} × {columns} runs of {run}",
            x.name, x.shape, y.name, y.shape
        ));
    }
    Ok(())
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
