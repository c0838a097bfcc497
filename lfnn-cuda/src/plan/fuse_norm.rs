//! Batch normalisation with the operations around it that are done with it, forwards and backwards.

use lfnn_core::program::rewrite::{Uses, reads_once};
use lfnn_core::program::{
    Activate, ActivateGrad, AdaptiveAvgPoolGrad, BatchNorm, BatchNormGrad, BatchNormInference,
    Conv2d, MaxPool, MaxPoolGrad, Op, TensorId, Tensors, Window,
};

/// Batch normalisation in training.
pub(super) struct Norm<'p> {
    pub(super) norm: &'p BatchNorm,
    /// The convolution that makes its input. The blocks that have a tile of that take the moments of its channels.
    pub(super) conv: Option<&'p Conv2d>,
    pub(super) behind: Option<Epilogue<'p>>,
}

/// Batch normalisation in prediction.
pub(super) struct Inference<'p> {
    pub(super) norm: &'p BatchNormInference,
    pub(super) behind: Epilogue<'p>,
}

/// The ReLU behind a normalisation, which alone reads the result, and a maximum pooling of its output.
pub(super) struct Epilogue<'p> {
    pub(super) relu: &'p Activate,
    /// Windows lie side by side.
    pub(super) pool: Option<&'p MaxPool>,
    /// Whether the ReLU's output is stored: not where the pooling alone looks at it.
    pub(super) stored: bool,
}

/// The backward rules of the three, the normalisation's last.
pub(super) struct NormGrad<'p> {
    pub(super) norm: &'p BatchNormGrad,
    pub(super) relu: &'p ActivateGrad,
    pub(super) pool: Option<PoolGrad<'p>>,
    /// The normalisation's β, where the sign of the ReLU's output is found by normalising again: the
    /// output need not be read, and often need not be kept.
    pub(super) beta: Option<TensorId>,
}

/// The rule of a pooling whose windows lie side by side.
#[derive(Clone, Copy)]
pub(super) enum PoolGrad<'p> {
    Max(&'p MaxPoolGrad),
    /// Every pixel is in one bin, and all bins have as many.
    Average(&'p AdaptiveAvgPoolGrad),
}

impl<'p> PoolGrad<'p> {
    fn of(op: &'p Op, tensors: &Tensors) -> Option<Self> {
        match op {
            Op::MaxPoolGrad(op) => side_by_side(op.window).then_some(Self::Max(op)),
            Op::AdaptiveAvgPoolGrad(op) => {
                let [pixels, bins] = [op.dx, op.dy].map(|id| &tensors[id].shape);
                let even = (1..=2).all(|axis| pixels[axis].is_multiple_of(bins[axis].max(1)));
                even.then_some(Self::Average(op))
            }
            _ => None,
        }
    }

    fn operation(self) -> Op {
        match self {
            Self::Max(op) => op.clone().into(),
            Self::Average(op) => op.clone().into(),
        }
    }

    /// The gradient of the pooled image.
    pub(super) fn dy(self) -> TensorId {
        match self {
            Self::Max(op) => op.dy,
            Self::Average(op) => op.dy,
        }
    }

    /// The gradient of the image.
    fn dx(self) -> TensorId {
        match self {
            Self::Max(op) => op.dx,
            Self::Average(op) => op.dx,
        }
    }

    /// The positions of maxima.
    pub(super) fn position(self) -> Option<TensorId> {
        match self {
            Self::Max(op) => Some(op.position),
            Self::Average(_) => None,
        }
    }
}

/// A match: what it is, and the positions of the operations beside the normalisation that it takes.
type Found<T> = Option<(T, Vec<usize>)>;

impl<'p> Norm<'p> {
    /// The normalisation at `i` with what comes before and behind it, if there is any such thing.
    pub(super) fn at(uses: &Uses<'p>, i: usize, norm: &'p BatchNorm) -> Found<Self> {
        let (conv, behind) = (conv_before(uses, i, norm.x), behind(uses, i, norm.y));
        let mut taken: Vec<usize> = conv.iter().map(|(k, _)| *k).collect();
        taken.extend(behind.iter().flat_map(|(_, taken)| taken));
        let found =
            Self { norm, conv: conv.map(|(_, op)| op), behind: behind.map(|(behind, _)| behind) };
        (!taken.is_empty()).then_some((found, taken))
    }

    /// Tensors that only pass from one of its operations to the next.
    pub(super) fn passed(&self) -> Vec<TensorId> {
        self.behind.as_ref().map_or_else(Vec::new, |behind| behind.passed(self.norm.y))
    }

    pub(super) fn name(&self) -> &'static str {
        let pools = self.behind.as_ref().is_some_and(|behind| behind.pool.is_some());
        match (self.conv.is_some(), self.behind.is_some(), pools) {
            (true, _, true) => "Conv2d + BatchNorm + Relu + MaxPool",
            (true, true, false) => "Conv2d + BatchNorm + Relu",
            (true, false, false) => "Conv2d + BatchNorm",
            (false, _, true) => "BatchNorm + Relu + MaxPool",
            (false, _, false) => "BatchNorm + Relu",
        }
    }

    pub(super) fn operations(&self) -> Vec<Op> {
        let conv = self.conv.map(|op| op.clone().into());
        let behind = self.behind.iter().flat_map(Epilogue::operations);
        conv.into_iter().chain([self.norm.clone().into()]).chain(behind).collect()
    }
}

impl<'p> Inference<'p> {
    /// As [`Norm::at`].
    pub(super) fn at(uses: &Uses<'p>, i: usize, norm: &'p BatchNormInference) -> Found<Self> {
        let (behind, taken) = behind(uses, i, norm.y)?;
        Some((Self { norm, behind }, taken))
    }

    pub(super) fn passed(&self) -> Vec<TensorId> {
        self.behind.passed(self.norm.y)
    }

    pub(super) fn name(&self) -> &'static str {
        match self.behind.pool {
            None => "BatchNormInference + Relu",
            Some(_) => "BatchNormInference + Relu + MaxPool",
        }
    }

    pub(super) fn operations(&self) -> Vec<Op> {
        [self.norm.clone().into()].into_iter().chain(self.behind.operations()).collect()
    }
}

impl Epilogue<'_> {
    fn passed(&self, normal: TensorId) -> Vec<TensorId> {
        [normal].into_iter().chain((!self.stored).then_some(self.relu.y)).collect()
    }

    /// Does without the ReLU's output in memory if the pooling alone looks at it; `seen` says whether any other step does.
    pub(super) fn store_if(&mut self, tensors: &Tensors, seen: impl FnOnce(TensorId) -> bool) {
        let y = self.relu.y;
        self.stored = self.pool.is_none() || tensors[y].is_persistent() || seen(y);
    }

    fn operations(&self) -> Vec<Op> {
        let pool = self.pool.map(|op| op.clone().into());
        [self.relu.clone().into()].into_iter().chain(pool).collect()
    }
}

impl<'p> NormGrad<'p> {
    /// What the normalisation's backward rule does with that of the ReLU at `i`, and where it stands.
    pub(super) fn behind(
        uses: &Uses<'p>,
        i: usize,
        relu: &'p ActivateGrad,
    ) -> Option<(usize, Self, Vec<usize>)> {
        let (j, Op::BatchNormGrad(norm)) = uses.only_other(i, relu.dx)? else {
            return None;
        };
        let waits = j > i && !uses.changes(i + 1..j + 1, &[relu.y, relu.dy]);
        if !waits || norm.dy != relu.dx || !reads_once(norm, relu.dx) {
            return None;
        }
        let pool = pool_before(uses, i, j, relu);
        let beta = uses.beta_of(j, norm, relu);
        let taken = [i].into_iter().chain(pool.map(|(k, _)| k)).collect();
        Some((j, Self { norm, relu, pool: pool.map(|(_, pool)| pool), beta }, taken))
    }

    /// Tensors that it does not touch, though its operations do.
    pub(super) fn passed(&self) -> Vec<TensorId> {
        let spread = self.pool.map(|_| self.relu.dy);
        let sign = self.beta.map(|_| self.relu.y);
        [self.norm.dy].into_iter().chain(spread).chain(sign).collect()
    }

    pub(super) fn name(&self) -> &'static str {
        match self.pool {
            None => "ReluGrad + BatchNormGrad",
            Some(PoolGrad::Max(_)) => "MaxPoolGrad + ReluGrad + BatchNormGrad",
            Some(PoolGrad::Average(_)) => "AdaptiveAvgPoolGrad + ReluGrad + BatchNormGrad",
        }
    }

    pub(super) fn operations(&self) -> Vec<Op> {
        let pool = self.pool.map(PoolGrad::operation);
        let rules = [self.relu.clone().into(), self.norm.clone().into()];
        pool.into_iter().chain(rules).collect()
    }
}

/// The convolution that makes `x` for operation `i`, where it can wait for that.
fn conv_before<'p>(uses: &Uses<'p>, i: usize, x: TensorId) -> Option<(usize, &'p Conv2d)> {
    let (k, op) = uses.of(x).rev().find(|(k, _)| *k < i)?;
    let Op::Conv2d(conv) = op else { return None };
    let given: Vec<TensorId> = [conv.x, conv.weight].into_iter().chain(conv.bias).collect();
    (conv.y == x && conv.x != x && !uses.changes(k + 1..i, &given)).then_some((k, conv))
}

/// What can be done at once with the normalisation at `i` to `y`, and where it stood.
fn behind<'p>(uses: &Uses<'p>, i: usize, y: TensorId) -> Option<(Epilogue<'p>, Vec<usize>)> {
    let (j, relu) = uses.fusable_relu(i, y)?;
    let pool = pool_behind(uses, i, j, relu.y);
    let taken = [j].into_iter().chain(pool.map(|(k, _)| k)).collect();
    Some((Epilogue { relu, pool: pool.map(|(_, op)| op), stored: true }, taken))
}

/// The first pooling of what the ReLU at `j` writes, if its results are free from operation `i` on.
fn pool_behind<'p>(
    uses: &Uses<'p>,
    i: usize,
    j: usize,
    y: TensorId,
) -> Option<(usize, &'p MaxPool)> {
    for (k, op) in uses.of(y).filter(|(k, _)| *k > j) {
        if let Op::MaxPool(pool) = op
            && pool.x == y
            && side_by_side(pool.window)
        {
            let results: Vec<TensorId> = [pool.y].into_iter().chain(pool.position).collect();
            let free = !uses.uses(i..k, &results);
            return (free && pool.y != y).then_some((k, pool));
        }
        if uses.changes(k..k + 1, &[y]) {
            return None;
        }
    }
    None
}

/// The pooling's rule that spreads the gradient of the ReLU at `i` over an image, where it can wait for operation `j`.
fn pool_before<'p>(
    uses: &Uses<'p>,
    i: usize,
    j: usize,
    relu: &ActivateGrad,
) -> Option<(usize, PoolGrad<'p>)> {
    let (k, op) = uses.only_other(i, relu.dy)?;
    let pool = PoolGrad::of(op, uses.tensors())?;
    let passed_on = k < i && pool.dx() == relu.dy && reads_once(relu, relu.dy);
    let given: Vec<TensorId> = [pool.dy()].into_iter().chain(pool.position()).collect();
    (passed_on && !uses.changes(k + 1..j + 1, &given)).then_some((k, pool))
}

/// Whether no two windows overlap and none is padded: each pixel has one window at most.
fn side_by_side(window: Window) -> bool {
    window.kernel == window.stride && window.padding == [0, 0]
}
