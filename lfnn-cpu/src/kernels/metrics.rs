//! Sums over the rows of a batch that hold examples, and the step counter.

use lfnn_core::program::{Decision, Loss, Predictions, step_counter};

use super::reduce::sum_rows;
use crate::memory::{Input, Output};
use crate::work::{Kernel, ScratchSize, Workspace, kernel};

kernel! {
    AccumulateRows { x: Input<f32>, counter: Input<u32>, total: Output<f32> }
}

impl Kernel for AccumulateRows {
    fn scratch_size(&self) -> ScratchSize {
        ScratchSize::shared(self.total.len())
    }

    fn run(&mut self, work: &mut Workspace<'_>) {
        let (x, total) = (self.x.get(), self.total.get());
        let width = total.len().max(1);
        let rows = x.len() / width;
        let rows = if rows == 1 { 1 } else { step_counter::valid_rows(self.counter.get(), rows) };
        // The batch is summed first, so that a long epoch's total does not swallow single rows.
        let sums = &mut work.shared[..total.len()];
        sums.fill(0.0);
        sum_rows(&x[..rows * width], sums);
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += *sum;
        }
    }
}

kernel! {
    CountErrors { output: Input<f32>, target: Input<u32>, counter: Input<u32>, wrong: Output<f32> }
    with |op, bind| {
        predictions: Predictions = op.predictions,
        decision: Decision = op.decision,
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

impl Kernel for CountErrors {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (output, target, wrong) = (self.output.get(), self.target.get(), self.wrong.get());
        let predictions = self.predictions;
        let rows = step_counter::valid_rows(self.counter.get(), target.len());
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

kernel! {
    AdvanceStepCounter { counter: Output<u32> }
}

impl Kernel for AdvanceStepCounter {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let now = self.counter.get();
        for position in [step_counter::STEP, step_counter::TIME] {
            now[position] = now[position].wrapping_add(1);
        }
    }
}
