//! Who leads, whom the followers follow, and the mask that keeps the global gradient from followers.

use super::losses::{Predictions, expect_leaders, expect_predictions};
use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};
use crate::random::Stream;

/// Which leader's output the followers align with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The best leader's (the paper's choice).
    Best,
    /// That of a leader drawn at random: the `below(word, leaders)`-th by index, where the word is
    /// word `row · classifiers + classifier` of the stream at (seed, epoch, step) and `row` is 0 unless
    /// leaders are selected per sample.
    Random(
        /// Where the random words come from.
        Stream,
    ),
    /// The mean over the leaders.
    Mean,
}

operation! {
    /// In each row and classifier, the `count` workers with the lowest loss become leaders; ties go to
    /// the smaller index, and a loss that is NaN counts as infinite (Definition 2.1). One row of mean
    /// losses selects for the batch; a row per sample selects per sample.
    SelectLeaders, check: check_select
    reads {
        /// `[classifiers · workers]`, or `[batch, classifiers · workers]`.
        losses: TensorId,
    }
    writes {
        /// 1 for a leader and 0 for a follower, `[1 or batch, classifiers · workers]`.
        leaders: TensorId,
        /// `U32 [1 or batch, classifiers]`: the worker with the lowest loss, within its classifier.
        best: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// Leaders per classifier: k, from 1 to the number of workers.
        count: usize,
    }
}

operation! {
    /// Leadership held for an epoch. At step 0 of an epoch leaders are selected as by
    /// [`SelectLeaders`], from `epoch_losses` where the step counter's epoch is above 0 and from `losses` in
    /// the first epoch, and `epoch_losses` is then set to 0. At every step `losses` is added to
    /// `epoch_losses`.
    EpochLeaders, check: check_epoch
    reads {
        /// This batch's mean losses, `[classifiers · workers]`.
        losses: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {}
    updates {
        /// Sum of the epoch's mean losses, `[classifiers · workers]`.
        epoch_losses: TensorId,
        /// `[1, classifiers · workers]`.
        leaders: TensorId,
        /// `U32 [1, classifiers]`.
        best: TensorId,
    }
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// Leaders per classifier.
        count: usize,
    }
}

operation! {
    /// p* (or z*): for each sample and classifier, the prediction that followers align with.
    AlignmentTarget, check: check_alignment
    reads {
        /// p or z, `[batch, classifiers · workers · classes]`.
        value: TensorId,
        /// `[1 or batch, classifiers · workers]`.
        leaders: TensorId,
        /// `U32 [1 or batch, classifiers]`.
        best: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {
        /// `[batch, classifiers · classes]`.
        reference: TensorId,
    }
    updates {}
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// Which leader.
        rule: Reference,
    }
    activations { value, reference }
}

operation! {
    /// A gradient with the followers' share set to zero: the last axis falls into equal runs, one
    /// per worker.
    MaskFollowers, check: check_mask
    reads {
        /// `[batch, …, channels]`; the number of workers divides the channels.
        x: TensorId,
        /// `[1 or batch, workers]`.
        leaders: TensorId,
    }
    writes {
        /// The shape of `x`.
        y: TensorId,
    }
    updates {}
    with {}
    activations { x, y }
}

fn check_select(op: &SelectLeaders, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.losses, DType::Real)?;
    let rows = t[op.leaders].shape.first().copied().unwrap_or(0);
    if t[op.losses].len() != rows * op.predictions.predictors() {
        return Err(format!("`{}` {:?} does not fit", t[op.losses].name, t[op.losses].shape));
    }
    check_leadership(t, op.leaders, op.best, op.predictions, op.count, rows)
}

fn check_epoch(op: &EpochLeaders, t: &Tensors) -> Result<(), String> {
    t.expect(op.losses, &[op.predictions.predictors()])?;
    t.expect(op.epoch_losses, &[op.predictions.predictors()])?;
    expect_counter(t, op.counter)?;
    check_leadership(t, op.leaders, op.best, op.predictions, op.count, 1)
}

fn check_alignment(op: &AlignmentTarget, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.value, op.predictions)?;
    expect_leaders(t, op.leaders, op.predictions, batch)?;
    let rows = t[op.leaders].shape[0];
    t.expect_type(op.best, DType::U32)?;
    t.expect_shape(op.best, &[rows, op.predictions.classifiers])?;
    expect_counter(t, op.counter)?;
    t.expect(op.reference, &[batch, op.predictions.outputs()])
}

fn check_mask(op: &MaskFollowers, t: &Tensors) -> Result<(), String> {
    t.expect_type(op.x, DType::Real)?;
    t.expect_like(op.y, op.x)?;
    let [rows, workers] = t.matrix(op.leaders)?;
    let batch = t[op.x].shape.first().copied().unwrap_or(0);
    let divides = workers > 0 && t.channels(op.x).is_multiple_of(workers);
    if !divides || (rows != 1 && rows != batch) {
        return Err(format!(
            "`{}` {:?} does not fit `{}` {:?}",
            t[op.leaders].name, t[op.leaders].shape, t[op.x].name, t[op.x].shape
        ));
    }
    Ok(())
}

fn check_leadership(
    t: &Tensors,
    leaders: TensorId,
    best: TensorId,
    predictions: Predictions,
    count: usize,
    rows: usize,
) -> Result<(), String> {
    if !(1..=predictions.workers).contains(&count) {
        return Err(format!("{count} leaders of {} workers", predictions.workers));
    }
    t.expect(leaders, &[rows, predictions.predictors()])?;
    t.expect_type(best, DType::U32)?;
    t.expect_shape(best, &[rows, predictions.classifiers])
}
