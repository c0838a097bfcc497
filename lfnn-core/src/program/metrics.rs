//! Sums that stay on the device until somebody asks for them.

use super::losses::{Predictions, expect_predictions};
use super::step_counter::expect_counter;
use super::{DType, TensorId, Tensors};

/// How a prediction becomes right or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The largest of a worker's outputs is its class; the first of equal ones.
    Largest,
    /// A worker with one output says yes where it is above 1/2; right is
    /// [`Loss::positive`](super::Loss::positive).
    Threshold {
        /// See [`Loss::Binary`](super::Loss::Binary).
        one_vs_all: bool,
    },
    /// The classifier with the largest output is the class (one-vs-all, one worker with one output
    /// per classifier); the first of equal ones.
    LargestClassifier,
}

operation! {
    /// `total += Σ_rows x`, over the rows that hold examples (see [`step_counter`](super::step_counter)); a tensor
    /// of one row is always counted.
    AccumulateRows, check: check_rows
    reads {
        /// `[rows, n]`.
        x: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {}
    updates {
        /// `[n]`.
        total: TensorId,
    }
    with {}
}

operation! {
    /// Adds the number of wrong predictions among the rows that hold examples.
    CountErrors, check: check_count
    reads {
        /// Outputs p, `[batch, classifiers · workers · classes]`.
        output: TensorId,
        /// `U32 [batch]`.
        target: TensorId,
        /// The step counter.
        counter: TensorId,
    }
    writes {}
    updates {
        /// `[classifiers · workers]`, or `[1]` with [`Decision::LargestClassifier`].
        wrong: TensorId,
    }
    with {
        /// Division of the predictions.
        predictions: Predictions,
        /// What counts as wrong.
        decision: Decision,
    }
    activations { output }
}

fn check_rows(op: &AccumulateRows, t: &Tensors) -> Result<(), String> {
    expect_counter(t, op.counter)?;
    let [_, n] = t.matrix(op.x)?;
    t.expect(op.total, &[n])
}

fn check_count(op: &CountErrors, t: &Tensors) -> Result<(), String> {
    let batch = expect_predictions(t, op.output, op.predictions)?;
    expect_counter(t, op.counter)?;
    t.expect_type(op.target, DType::U32)?;
    t.expect_shape(op.target, &[batch])?;
    let fits = match op.decision {
        Decision::Largest => true,
        Decision::Threshold { .. } => op.predictions.classes == 1,
        Decision::LargestClassifier => op.predictions.classes == 1 && op.predictions.workers == 1,
    };
    if !fits {
        return Err(format!("{:?} does not fit {:?}", op.decision, op.predictions));
    }
    let counts =
        if op.decision == Decision::LargestClassifier { 1 } else { op.predictions.predictors() };
    t.expect(op.wrong, &[counts])
}
