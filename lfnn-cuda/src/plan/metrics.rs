//! Sums for the record, and the step counter.

use lfnn_core::program::{AccumulateRows, AdvanceStepCounter, CountErrors, Decision};

use super::launch::{THREADS, arguments};
use super::lowering::{Lower, Lowering};
use super::shared::shared_with_kernels;
use super::types::KernelFile;

const METRICS: KernelFile = KernelFile("metrics");

shared_with_kernels! {
    constants {
        const LARGEST: u32 = 0;
        const THRESHOLD: u32 = 1;
    }
}

/// Columns of a block, at most: rows of 128 bytes.
const COLUMNS: usize = 32;

/// Blocks that each have some columns and all rows.
fn extents(columns: usize) -> ([u32; 3], [u32; 3]) {
    let across = columns.clamp(1, COLUMNS) as u32;
    ([columns.div_ceil(COLUMNS).max(1) as u32, 1, 1], [across, THREADS / across, 1])
}

impl Lower for AccumulateRows {
    fn lower(&self, to: &mut Lowering<'_>) {
        let (rows, columns) = (to.tensors().rows(self.x), to.tensors().channels(self.x));
        let arguments = arguments![
            to.address(self.x),
            to.address(self.counter),
            to.address(self.total),
            rows,
            columns
        ];
        let (grid, block) = extents(columns);
        to.launch(METRICS, "accumulate_rows", grid, block, arguments);
    }
}

impl Lower for CountErrors {
    fn lower(&self, to: &mut Lowering<'_>) {
        let batch = to.len(self.target);
        let (decision, one_vs_all) = match self.decision {
            Decision::Largest | Decision::LargestClassifier => (LARGEST, false),
            Decision::Threshold { one_vs_all } => (THRESHOLD, one_vs_all),
        };
        // The classifiers together are one prediction.
        let (predictors, width) = match self.decision {
            Decision::LargestClassifier => (1, self.predictions.classifiers),
            _ => (self.predictions.predictors(), self.predictions.classes),
        };
        let output = to.read(self.output);
        let arguments = arguments![
            output,
            to.address(self.target),
            to.address(self.counter),
            to.address(self.wrong),
            batch,
            predictors,
            width,
            decision,
            one_vs_all,
            self.predictions.workers,
        ];
        let (grid, block) = extents(predictors);
        to.launch(METRICS, "count_errors", grid, block, arguments);
    }
}

impl Lower for AdvanceStepCounter {
    fn lower(&self, to: &mut Lowering<'_>) {
        let arguments = arguments![to.address(self.counter)];
        to.launch(METRICS, "advance_step_counter", [1; 3], [1; 3], arguments);
    }
}
