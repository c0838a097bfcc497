//! Sums for the record, and the clock.

use lfnn_core::program::{AccumulateRows, AdvanceClock, CountErrors, Decision};

use super::launch::{THREADS, arguments};
use super::lower::Lowering;
use crate::kernels::METRICS;

/// Columns of a block, at most: rows of 128 bytes.
const COLUMNS: usize = 32;

/// Blocks that each have some columns and all rows.
fn extents(columns: usize) -> ([u32; 3], [u32; 3]) {
    let across = columns.clamp(1, COLUMNS) as u32;
    ([columns.div_ceil(COLUMNS).max(1) as u32, 1, 1], [across, THREADS / across, 1])
}

pub(super) fn accumulate(op: &AccumulateRows, to: &mut Lowering<'_>) {
    let (rows, columns) = (to.tensors().rows(op.x), to.tensors().channels(op.x));
    let arguments =
        arguments![to.place(op.x), to.place(op.clock), to.place(op.total), rows, columns];
    let (grid, block) = extents(columns);
    to.launch(METRICS.launch("accumulate_rows", to.real(), grid, block, arguments));
}

pub(super) fn count(op: &CountErrors, to: &mut Lowering<'_>) {
    let batch = to.len(op.target);
    let (decision, one_vs_all) = match op.decision {
        Decision::Largest | Decision::LargestClassifier => (0, false),
        Decision::Threshold { one_vs_all } => (1, one_vs_all),
    };
    // The classifiers together are one prediction.
    let (predictors, width) = match op.decision {
        Decision::LargestClassifier => (1, op.predictions.classifiers),
        _ => (op.predictions.predictors(), op.predictions.classes),
    };
    let output = to.read(op.output);
    let arguments = arguments![
        output,
        to.place(op.target),
        to.place(op.clock),
        to.place(op.wrong),
        batch,
        predictors,
        width,
        u32::from(decision == 1),
        one_vs_all,
        op.predictions.workers,
    ];
    let (grid, block) = extents(predictors);
    to.launch(METRICS.launch("count_errors", to.real(), grid, block, arguments));
}

pub(super) fn advance(op: &AdvanceClock, to: &mut Lowering<'_>) {
    let arguments = arguments![to.place(op.clock)];
    to.launch(METRICS.launch("advance_clock", to.real(), [1; 3], [1; 3], arguments));
}
