//! Errors of workers and the gradient of the local losses (paper, Section 2; Definition 2.1).

use super::{DType, TensorId, Tensors};

/// How a tensor of predictions `[batch, nets · workers · width]` is divided: `nets` independent
/// networks (one, but for one-vs-all), in each `workers` workers, each predicting `width` numbers.
/// Element `(net · workers + worker) · width + k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Independent networks that share the input.
    pub nets: usize,
    /// Workers in the unit of one network; 1 in an output layer.
    pub workers: usize,
    /// Width of a prediction: K.
    pub width: usize,
}

impl Heads {
    /// Workers of all nets.
    pub fn predictors(&self) -> usize {
        self.nets * self.workers
    }

    /// Features of a tensor of predictions.
    pub fn features(&self) -> usize {
        self.predictors() * self.width
    }
}

/// The error ℓ of one prediction, and with it what a logit becomes as output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// `−Σ_k t_k log p_k` with `p = softmax(z)` and
    /// `t = (1 − smoothing) · onehot(label) + smoothing / K`. The target is a label.
    CrossEntropy {
        /// Label smoothing, in [0, 1).
        smoothing: f64,
    },
    /// Binary cross-entropy on the logit, `log(1 + e^z) − t z`, `p = sigmoid(z)`,
    /// `t = (1 − smoothing) · [positive] + smoothing / 2`; width 1. The target is a label.
    Binary {
        /// The positive label of net e is e (one-vs-all); otherwise it is 1.
        one_vs_all: bool,
        /// Label smoothing, in [0, 1).
        smoothing: f64,
    },
    /// `mean_k (z_k − t_k)²`, `p = z`. The target is real, `[batch, nets · width]`.
    MeanSquared,
}

impl Loss {
    /// Whether a label is a hit for net `net` under binary cross-entropy.
    #[inline]
    pub fn positive(one_vs_all: bool, net: usize, label: u32) -> bool {
        if one_vs_all { label as usize == net } else { label == 1 }
    }

    /// Whether targets are labels (`U32 [batch]`) and not real numbers.
    pub fn takes_labels(&self) -> bool {
        !matches!(self, Loss::MeanSquared)
    }
}

/// How the losses of several workers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum (the paper's choice).
    Sum,
    /// Their mean: over the leaders for the leader loss, over the followers for theirs.
    Mean,
}

/// What followers make equal to their leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// The output p (the paper's choice).
    Output,
    /// The logits z.
    Logits,
}

operation! {
    /// Every worker's output and per-sample error.
    WorkerErrors, check: check_errors
    reads {
        /// Logits, `[batch, nets · workers · width]`.
        z: TensorId,
        /// Labels `U32 [batch]`, or real `[batch, nets · width]`; see [`Loss`].
        target: TensorId,
    }
    writes {
        /// Outputs p, the shape of `z`.
        output: TensorId,
        /// ℓ, `[batch, nets · workers]`.
        errors: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        heads: Heads,
        /// ℓ.
        loss: Loss,
    }
}

operation! {
    /// `e_n = mean_b ℓ(z[b,n], y_b)` over all rows, and the watch for errors that are not finite.
    MeanErrors, check: check_mean
    reads {
        /// ℓ, `[batch, nets · workers]`.
        errors: TensorId,
    }
    writes {
        /// e, `[nets · workers]`.
        mean: TensorId,
    }
    updates {
        /// `U32 [1]`: 0, or 1 + the worker whose mean error was the first that was not finite (of
        /// several in one batch, the one with the smallest index). It is set once and stays.
        fault: TensorId,
    }
    with {}
}

operation! {
    /// Gradient of `leader_weight · L^δ + follower_weight · L^δ̄` with respect to the logits, where
    ///
    /// * `L^δ = Σ_{n leader} mean_b ℓ(z[b,n], y_b)`,
    /// * `L^δ̄ = Σ_{n follower} mean_b mean_c (p*[b,c] − p[b,n,c])²`, p* a constant
    ///
    /// (z in place of p with [`Align::Logits`]), each divided by the number of leaders or followers
    /// in its net under [`Reduction::Mean`]; nets add up. Without `leaders` all workers lead: this is
    /// an output layer, or δ = 100 %.
    LocalGradient, check: check_gradient
    reads {
        /// Logits z, `[batch, nets · workers · width]`.
        z: TensorId,
        /// Outputs p, the shape of `z`.
        output: TensorId,
        /// See [`WorkerErrors`].
        target: TensorId,
        /// 1 for a leader and 0 for a follower, `[1 or batch, nets · workers]`.
        leaders: Option<TensorId>,
        /// p* (z* with [`Align::Logits`]), `[batch, nets · width]`; given together with `leaders`.
        reference: Option<TensorId>,
    }
    writes {
        /// The shape of `z`.
        dz: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        heads: Heads,
        /// ℓ.
        loss: Loss,
        /// Factor on the leader loss.
        leader_weight: f64,
        /// Factor on the follower loss.
        follower_weight: f64,
        /// Sum or mean over workers.
        reduction: Reduction,
        /// What followers align.
        align: Align,
    }
}

operation! {
    /// The two local losses themselves, for the record; see [`LocalGradient`].
    LocalLosses, check: check_losses
    reads {
        /// ℓ, `[batch, nets · workers]`.
        errors: TensorId,
        /// What is aligned: p, or z with [`Align::Logits`].
        value: TensorId,
        /// `[1 or batch, nets · workers]`.
        leaders: TensorId,
        /// `[batch, nets · width]`.
        reference: TensorId,
    }
    writes {
        /// `[1, 2]`: `L^δ`, `L^δ̄`.
        losses: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        heads: Heads,
        /// Sum or mean over workers.
        reduction: Reduction,
    }
}

fn check_errors(op: &WorkerErrors, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.z, op.heads)?;
    t.expect_like(op.output, op.z)?;
    t.expect(op.errors, &[batch, op.heads.predictors()])?;
    expect_target(t, op.target, op.loss, op.heads, batch)
}

fn check_mean(op: &MeanErrors, t: &Tensors) -> Result<(), String> {
    let [_, predictors] = t.matrix(op.errors)?;
    t.expect(op.mean, &[predictors])?;
    t.expect_type(op.fault, DType::U32)?;
    t.expect_shape(op.fault, &[1])
}

fn check_gradient(op: &LocalGradient, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.z, op.heads)?;
    t.expect_like(op.output, op.z)?;
    t.expect_like(op.dz, op.z)?;
    expect_target(t, op.target, op.loss, op.heads, batch)?;
    match (op.leaders, op.reference) {
        (None, None) => Ok(()),
        (Some(leaders), Some(reference)) => {
            expect_leaders(t, leaders, op.heads, batch)?;
            t.expect(reference, &[batch, op.heads.nets * op.heads.width])
        }
        _ => Err("`leaders` and `reference` are given together or not at all".into()),
    }
}

fn check_losses(op: &LocalLosses, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.value, op.heads)?;
    t.expect(op.errors, &[batch, op.heads.predictors()])?;
    expect_leaders(t, op.leaders, op.heads, batch)?;
    t.expect(op.reference, &[batch, op.heads.nets * op.heads.width])?;
    t.expect(op.losses, &[1, 2])
}

/// Checks a tensor of predictions and gives its batch.
pub(super) fn expect_predictions(t: &Tensors, z: TensorId, heads: Heads) -> Result<usize, String> {
    let [batch, features] = t.matrix(z)?;
    if features != heads.features() || features == 0 {
        return Err(format!("`{}` {:?} does not fit {heads:?}", t[z].name, t[z].shape));
    }
    Ok(batch)
}

/// Checks a mask of leaders, of the batch or per sample.
pub(super) fn expect_leaders(
    t: &Tensors,
    leaders: TensorId,
    heads: Heads,
    batch: usize,
) -> Result<(), String> {
    let [rows, predictors] = t.matrix(leaders)?;
    if (rows != 1 && rows != batch) || predictors != heads.predictors() {
        return Err(format!(
            "`{}` {:?} does not fit {heads:?} and a batch of {batch}",
            t[leaders].name, t[leaders].shape
        ));
    }
    Ok(())
}

pub(super) fn expect_target(
    t: &Tensors,
    target: TensorId,
    loss: Loss,
    heads: Heads,
    batch: usize,
) -> Result<(), String> {
    if matches!(loss, Loss::Binary { .. }) && heads.width != 1 {
        return Err(format!("binary cross-entropy of predictions {} wide", heads.width));
    }
    if loss.takes_labels() {
        t.expect_type(target, DType::U32)?;
        t.expect_shape(target, &[batch])
    } else {
        t.expect(target, &[batch, heads.nets * heads.width])
    }
}
