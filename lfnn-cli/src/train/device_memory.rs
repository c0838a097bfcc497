//! What a run will take of a GPU's memory, from its plan: no GPU is needed to know.

use lfnn_core::backend::Precision;
use lfnn_core::train::{Setup, trainer_programs};
use lfnn_cuda::device::MAX_WORKSPACE;
use lfnn_cuda::plan::{Plan, ProgramPlan, STREAMS, Work};

use crate::data::DataShape;
use crate::failure::{Failure, Usage};
use crate::format::{self, Align, table};

/// A table of the memory of a training run with its evaluation. `examples` images are trained on; the device holds
/// all images, those held out and the test images too.
///
/// # Errors
/// A configuration that cannot be, or a step without a plan.
pub(super) fn predict(
    setup: &Setup<'_>,
    shape: DataShape,
    precision: Precision,
    streams: Option<usize>,
    examples: usize,
) -> Result<String, Failure> {
    let streams = streams.unwrap_or(STREAMS);
    let images = shape.train + shape.test;
    let layout = shape.layout(images);
    let set = trainer_programs(setup, layout, examples).usage()?;
    let plan = Plan::with_streams(&set, precision, streams).map_err(anyhow::Error::from)?;
    // As the device allocates: one block of each kind, for the program that needs most.
    let largest = |of: fn(&ProgramPlan) -> usize| plan.programs.iter().map(of).max().unwrap_or(0);
    let used = largest(|program| program.streams);
    let scratch = used * largest(|program| program.scratch_bytes);
    let mut steps = plan.programs.iter().flat_map(|program| &program.steps);
    let products = steps.any(|step| matches!(step.work, Work::Product(_)));
    let workspace = if products { used * MAX_WORKSPACE } else { 0 };
    let pixels = shape.bytes(images);
    let launches = plan.programs.first().map_or(0, |program| program.steps.len());
    let rows = [
        ("parameters, optimiser, metrics, labels", plan.persistent_bytes.saturating_sub(pixels)),
        ("activations, gradients", largest(|program| program.temporary_bytes)),
        ("scratch memory of kernels", scratch),
        ("training and test images", pixels),
    ];
    let sum = rows.iter().map(|(_, bytes)| bytes).sum::<usize>();
    let mut lines = vec![vec![
        format!("GPU memory, {}, {}", precision.name(), format::number_of(streams, "stream")),
        format!("{} launches", launches),
    ]];
    lines.extend(rows.iter().map(|(name, bytes)| vec![(*name).to_owned(), format::bytes(*bytes)]));
    lines.push(vec!["sum".into(), format::bytes(sum)]);
    let mut text = table(&[Align::Left, Align::Right], &lines);
    if workspace > 0 {
        text += &format!("matrix products, in addition: at most {}\n", format::bytes(workspace));
    }
    Ok(text)
}
