//! The losses of workers, the losses that are minimised, and their gradients (paper, Section 2; Definition 2.1).

use serde::{Deserialize, Serialize};

use super::{DType, TensorId, Tensors};

/// How a tensor of predictions `[batch, classifiers · workers · classes]` is divided. Element
/// `(classifier · workers + worker) · classes + k` is the k-th number that a worker predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predictions {
    /// Independent classifiers that share the input: one, or in one-vs-all one for each class.
    pub classifiers: usize,
    /// Workers of a unit in one classifier; 1 in an output layer.
    pub workers: usize,
    /// Numbers that one worker predicts: the classes K, 1 in binary classification, the values of a
    /// regression.
    pub classes: usize,
}

impl Predictions {
    /// Workers of all classifiers.
    pub fn predictors(&self) -> usize {
        self.classifiers * self.workers
    }

    /// Numbers that one worker of every classifier predicts, or that a real target has.
    pub fn outputs(&self) -> usize {
        self.classifiers * self.classes
    }

    /// Features of a tensor of predictions.
    pub fn features(&self) -> usize {
        self.predictors() * self.classes
    }
}

/// The loss ℓ of one prediction, and with it what a logit becomes as output. The loss of an example with a label may
/// have a factor, the weight of its class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// `−Σ_k t_k log p_k` with `p = softmax(z)` and
    /// `t = (1 − smoothing) · onehot(label) + smoothing / K`. The target is a label.
    CrossEntropy {
        /// Label smoothing, in [0, 1).
        smoothing: f64,
    },
    /// Binary cross-entropy on the logit, `log(1 + e^z) − t z`, `p = sigmoid(z)`,
    /// `t = (1 − smoothing) · [positive] + smoothing / 2`; one class. The target is a label.
    Binary {
        /// The positive label of classifier e is e (one-vs-all); otherwise it is 1.
        one_vs_all: bool,
        /// Label smoothing, in [0, 1).
        smoothing: f64,
    },
    /// `mean_k (z_k − t_k)²`, `p = z`. The target is real, `[batch, classifiers · classes]`.
    MeanSquared,
}

impl Loss {
    /// Whether a label is a hit for classifier `classifier` under binary cross-entropy.
    #[inline]
    pub fn positive(one_vs_all: bool, classifier: usize, label: u32) -> bool {
        if one_vs_all { label as usize == classifier } else { label == 1 }
    }

    /// Whether targets are labels (`U32 [batch]`) and not real numbers.
    pub fn takes_labels(&self) -> bool {
        !matches!(self, Loss::MeanSquared)
    }
}

/// What a unit minimises: `leader · L^δ + follower · L^δ̄` (paper, Definition 2.1), where
///
/// * `L^δ = Σ_{n leader} mean_b ℓ(z[b,n], y_b)`: leaders train on the targets,
/// * `L^δ̄ = Σ_{n follower} mean_b mean_c (p*[b,c] − p[b,n,c])²`: followers train to match the output p*
///   of a leader, which is a constant (see [`FollowerLoss`] for other choices),
///
/// each divided by the number of leaders or followers of a classifier under [`Reduction::Mean`];
/// classifiers add up. In Eq. 1 this is `λ₁ L^δ + λ₂ L^δ̄`, in Eq. 2 `L^δ + λ L^δ̄`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalLoss {
    /// Weight of the leader loss `L^δ`.
    pub leader: f64,
    /// Weight of the follower loss `L^δ̄`.
    pub follower: f64,
}

impl LocalLoss {
    /// Whether both weights are 0, so that there is nothing to minimise.
    pub fn is_zero(&self) -> bool {
        self.leader == 0.0 && self.follower == 0.0
    }
}

/// How the losses of several workers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their sum (the paper's choice).
    Sum,
    /// Their mean: over the leaders for the leader loss, over the followers for theirs.
    Mean,
}

/// What followers make equal to their leader's, and by which distance d.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Align {
    /// The output p: `mean_c (p*[c] − p[c])²` (the paper's choice).
    Output,
    /// The logits z: `mean_c (z*[c] − z[c])²`.
    Logits,
    /// Probabilities at a temperature (distillation, Hinton et al. 2015).
    Kl(Temperature),
}

/// The distance `T² Σ_c q*[c] log(q*[c] / q[c])` with `q = softmax(z / T)`; one logit has a sigmoid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// T: above 1 the distance sees more of the small probabilities.
    pub temperature: f64,
}

impl Align {
    /// Distillation at this temperature.
    pub fn kl(temperature: f64) -> Self {
        Align::Kl(Temperature { temperature })
    }
}

/// The loss of a follower in one example, `(1 − labels) · d(leader, own) + labels · ℓ(z, y)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FollowerLoss {
    /// The distance d, and of what.
    pub align: Align,
    /// Share of the loss on the targets, in [0, 1]; 0 is the paper's rule.
    pub labels: f64,
}

impl Default for FollowerLoss {
    /// The paper's choice: followers match the leader's output, and see no targets.
    fn default() -> Self {
        Self { align: Align::Output, labels: 0.0 }
    }
}

operation! {
    /// Every worker's output and per-sample loss.
    WorkerLoss, check: check_worker_loss
    reads {
        /// Logits, `[batch, classifiers · workers · classes]`.
        z: TensorId,
        /// Labels `U32 [batch]`, or real `[batch, classifiers · classes]`; see [`Loss`].
        target: TensorId,
        /// Factors on the losses of the classes by label, `[labels]`; with labels only. Without them they are 1.
        weights: Option<TensorId>,
    }
    writes {
        /// Outputs p, the shape of `z`.
        output: TensorId,
        /// ℓ, `[batch, classifiers · workers]`.
        losses: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// ℓ.
        loss: Loss,
    }
    activations { z, output }
}

operation! {
    /// `e_n = mean_b ℓ(z[b,n], y_b)` over all rows, and the watch for losses that are not finite.
    MeanWorkerLoss, check: check_mean_worker_loss
    reads {
        /// ℓ, `[batch, classifiers · workers]`.
        losses: TensorId,
    }
    writes {
        /// e, `[classifiers · workers]`.
        mean: TensorId,
    }
    updates {
        /// `U32 [1]`: 0, or 1 + the worker whose mean loss was the first that was not finite (of
        /// several in one batch, the one with the smallest index). It is set once and stays.
        nonfinite: TensorId,
    }
    with {}
}

operation! {
    /// Gradient of `L = Σ_n mean_b ℓ(z[b,n], y_b)` with respect to the logits: every worker trains on
    /// the targets. With one worker this is the global loss of an output layer; with several, the loss
    /// of a unit without leaders. Under [`Reduction::Mean`] it is divided by the number of workers of a
    /// classifier; classifiers add up.
    LossGradient, check: check_loss_gradient
    reads {
        /// Logits z, `[batch, classifiers · workers · classes]`.
        z: TensorId,
        /// Outputs p, the shape of `z`.
        output: TensorId,
        /// See [`WorkerLoss`].
        target: TensorId,
        /// See [`WorkerLoss`].
        weights: Option<TensorId>,
    }
    writes {
        /// The shape of `z`.
        dz: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// ℓ.
        loss: Loss,
        /// Sum or mean over workers.
        reduction: Reduction,
    }
    activations { z, output, dz }
}

operation! {
    /// Gradient of a [`LocalLoss`] with respect to the logits. Who leads and p* are constants.
    LocalLossGradient, check: check_local_loss_gradient
    reads {
        /// Logits z, `[batch, classifiers · workers · classes]`.
        z: TensorId,
        /// Outputs p, the shape of `z`.
        output: TensorId,
        /// See [`WorkerLoss`].
        target: TensorId,
        /// See [`WorkerLoss`].
        weights: Option<TensorId>,
        /// 1 for a leader and 0 for a follower, `[1 or batch, classifiers · workers]`.
        leaders: TensorId,
        /// p* (z* unless outputs are aligned), `[batch, classifiers · classes]`.
        reference: TensorId,
    }
    writes {
        /// The shape of `z`.
        dz: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// What is minimised.
        loss: LocalLoss,
        /// ℓ, the loss of one worker.
        worker_loss: Loss,
        /// Sum or mean over workers.
        reduction: Reduction,
        /// The loss of one follower.
        follower: FollowerLoss,
    }
    activations { z, output, dz, reference }
}

operation! {
    /// The leader loss `L^δ` and the follower loss `L^δ̄` of a [`LocalLoss`], for the metrics.
    LocalLosses, check: check_losses
    reads {
        /// ℓ, `[batch, classifiers · workers]`.
        worker_losses: TensorId,
        /// What is aligned: p, or z unless outputs are.
        value: TensorId,
        /// `[1 or batch, classifiers · workers]`.
        leaders: TensorId,
        /// `[batch, classifiers · classes]`.
        reference: TensorId,
    }
    writes {
        /// `[1, 2]`: `L^δ`, `L^δ̄`.
        losses: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// Sum or mean over workers.
        reduction: Reduction,
        /// The loss of one follower.
        follower: FollowerLoss,
    }
    activations { value, reference }
}

fn check_worker_loss(op: &WorkerLoss, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.z, op.predictions)?;
    t.expect_like(op.output, op.z)?;
    t.expect(op.losses, &[batch, op.predictions.predictors()])?;
    expect_target(t, (op.target, op.weights), op.loss, op.predictions, batch)
}

fn check_mean_worker_loss(op: &MeanWorkerLoss, t: &Tensors) -> Result<(), String> {
    let [_, predictors] = t.matrix(op.losses)?;
    t.expect(op.mean, &[predictors])?;
    t.expect_type(op.nonfinite, DType::U32)?;
    t.expect_shape(op.nonfinite, &[1])
}

fn check_loss_gradient(op: &LossGradient, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.z, op.predictions)?;
    t.expect_like(op.output, op.z)?;
    t.expect_like(op.dz, op.z)?;
    expect_target(t, (op.target, op.weights), op.loss, op.predictions, batch)
}

fn check_local_loss_gradient(op: &LocalLossGradient, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.z, op.predictions)?;
    t.expect_like(op.output, op.z)?;
    t.expect_like(op.dz, op.z)?;
    expect_target(t, (op.target, op.weights), op.worker_loss, op.predictions, batch)?;
    expect_leaders(t, op.leaders, op.predictions, batch)?;
    t.expect(op.reference, &[batch, op.predictions.outputs()])
}

fn check_losses(op: &LocalLosses, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.value, op.predictions)?;
    t.expect(op.worker_losses, &[batch, op.predictions.predictors()])?;
    expect_leaders(t, op.leaders, op.predictions, batch)?;
    t.expect(op.reference, &[batch, op.predictions.outputs()])?;
    t.expect(op.losses, &[1, 2])
}

/// Checks a tensor of predictions and gives its batch.
pub(super) fn expect_predictions(
    t: &Tensors,
    z: TensorId,
    predictions: Predictions,
) -> Result<usize, String> {
    let [batch, features] = t.matrix(z)?;
    if features != predictions.features() || features == 0 {
        return Err(format!("`{}` {:?} does not fit {predictions:?}", t[z].name, t[z].shape));
    }
    Ok(batch)
}

/// Checks a mask of leaders, of the batch or per sample.
pub(super) fn expect_leaders(
    t: &Tensors,
    leaders: TensorId,
    predictions: Predictions,
    batch: usize,
) -> Result<(), String> {
    let [rows, predictors] = t.matrix(leaders)?;
    if (rows != 1 && rows != batch) || predictors != predictions.predictors() {
        return Err(format!(
            "`{}` {:?} does not fit {predictions:?} and a batch of {batch}",
            t[leaders].name, t[leaders].shape
        ));
    }
    Ok(())
}

fn expect_target(
    t: &Tensors,
    (target, weights): (TensorId, Option<TensorId>),
    loss: Loss,
    predictions: Predictions,
    batch: usize,
) -> Result<(), String> {
    if matches!(loss, Loss::Binary { .. }) && predictions.classes != 1 {
        return Err(format!("binary cross-entropy of predictions {} wide", predictions.classes));
    }
    if let Some(weights) = weights {
        t.expect_type(weights, DType::Real)?;
        let fits = match (&t[weights].shape[..], loss) {
            (&[labels], Loss::CrossEntropy { .. }) => labels == predictions.classes,
            (&[labels], Loss::Binary { .. }) => labels > 0,
            _ => false,
        };
        if !fits {
            let (name, shape) = (&t[weights].name, &t[weights].shape);
            return Err(format!(
                "`{name}` {shape:?} are no weights of the labels of {predictions:?}"
            ));
        }
    }
    if loss.takes_labels() {
        t.expect_type(target, DType::U32)?;
        t.expect_shape(target, &[batch])
    } else {
        t.expect(target, &[batch, predictions.outputs()])
    }
}
