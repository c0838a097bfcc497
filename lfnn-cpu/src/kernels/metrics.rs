//! Sums over the rows of a batch that hold examples, and the clock.

use lfnn_core::program::{
    AccumulateRows, AdvanceClock, CountErrors, Decision, Loss, Predictions, clock,
};

use super::columns::sum_rows;
use crate::memory::{BufferResolver, In, Out};
use crate::work::{Kernel, ScratchSize, Workspace};

pub(crate) struct Rows {
    x: In<f32>,
    clock: In<u32>,
    total: Out<f32>,
}

impl Rows {
    pub(crate) fn new(op: &AccumulateRows, bind: &mut BufferResolver<'_>) -> Self {
        Self { x: bind.read(op.x), clock: bind.read(op.clock), total: bind.write(op.total) }
    }
}

impl Kernel for Rows {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize { shared: self.total.len(), ..ScratchSize::default() }
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (x, total) = (self.x.get(), self.total.get());
        let columns = total.len().max(1);
        let rows = x.len() / columns;
        let rows = if rows == 1 { 1 } else { clock::valid_rows(self.clock.get(), rows) };
        // The batch is summed first, so that a long epoch's total does not swallow single rows.
        let sums = &mut work.shared[..total.len()];
        sums.fill(0.0);
        sum_rows(&x[..rows * columns], sums);
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += *sum;
        }
    }
}

pub(crate) struct Count {
    output: In<f32>,
    target: In<u32>,
    clock: In<u32>,
    wrong: Out<f32>,
    predictions: Predictions,
    decision: Decision,
}

impl Count {
    pub(crate) fn new(op: &CountErrors, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            output: bind.read(op.output),
            target: bind.read(op.target),
            clock: bind.read(op.clock),
            wrong: bind.write(op.wrong),
            predictions: op.predictions,
            decision: op.decision,
        }
    }
}

/// Whether another number is the largest, or the first of equal ones. No number depends on the one before, so the
/// loop need not wait.
fn beaten(values: &[f32], label: usize) -> bool {
    let Some(&own) = values.get(label) else { return true };
    let (before, rest) = values.split_at(label);
    let earlier = before.iter().filter(|&&value| value >= own).count();
    earlier + rest.iter().filter(|&&value| value > own).count() > 0
}

impl Kernel for Count {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (output, target, wrong) = (self.output.get(), self.target.get(), self.wrong.get());
        let predictions = self.predictions;
        let rows = clock::valid_rows(self.clock.get(), target.len());
        let examples = output.chunks_exact(predictions.features()).zip(target).take(rows);
        for (output, &label) in examples {
            match self.decision {
                Decision::Largest => {
                    for (wrong, output) in
                        wrong.iter_mut().zip(output.chunks_exact(predictions.classes))
                    {
                        *wrong += f32::from(beaten(output, label as usize));
                    }
                }
                Decision::Threshold { one_vs_all } => {
                    for (i, (wrong, output)) in wrong.iter_mut().zip(output).enumerate() {
                        let positive = Loss::positive(one_vs_all, i / predictions.workers, label);
                        *wrong += f32::from((*output > 0.5) != positive);
                    }
                }
                Decision::LargestClassifier => {
                    wrong[0] += f32::from(beaten(output, label as usize));
                }
            }
        }
    }
}

pub(crate) struct Advance {
    clock: Out<u32>,
}

impl Advance {
    pub(crate) fn new(op: &AdvanceClock, bind: &mut BufferResolver<'_>) -> Self {
        Self { clock: bind.write(op.clock) }
    }
}

impl Kernel for Advance {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let now = self.clock.get();
        for position in [clock::STEP, clock::TIME] {
            now[position] = now[position].wrapping_add(1);
        }
    }
}
