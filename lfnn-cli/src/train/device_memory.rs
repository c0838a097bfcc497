//! What a run will take of a GPU's memory, from its plan: no GPU is needed to know.

use lfnn_core::train::{Setup, StepProgram};
use lfnn_cuda::Precision;
use lfnn_cuda::device::MAX_WORKSPACE;
use lfnn_cuda::plan::{Plan, Work};

use crate::data::Shape;
use crate::failure::{Failure, Usage};
use crate::format::{self, Align, table};

/// A table of the memory of a training step. `pixels` are the bytes of the training images.
///
/// # Errors
/// A configuration that cannot be, or a step without a plan.
pub(super) fn predict(
    setup: &Setup<'_>,
    shape: Shape,
    precision: Precision,
    lanes: usize,
    pixels: usize,
) -> Result<String, Failure> {
    let step = StepProgram::new(setup, shape.image, shape.classes).usage()?;
    let plan = Plan::with_lanes(&step.module, precision, lanes).map_err(anyhow::Error::from)?;
    let program = &plan.programs[step.program.0];
    let products = program.steps.iter().any(|step| matches!(step.work, Work::Product(_)));
    let scratch = program.lanes * program.scratch_bytes;
    let workspace = if products { program.lanes * MAX_WORKSPACE } else { 0 };
    let rows = [
        ("parameters, optimiser, metrics", plan.persistent_bytes),
        ("activations, gradients", program.temporary_bytes),
        ("scratch memory of kernels", scratch),
        ("training images", pixels),
    ];
    let sum = rows.iter().map(|(_, bytes)| bytes).sum::<usize>();
    let mut lines = vec![vec![
        format!(
            "GPU memory, {}, {} lane{}",
            precision.name(),
            lanes,
            if lanes == 1 { "" } else { "s" }
        ),
        format!("{} launches", program.steps.len()),
    ]];
    lines.extend(rows.iter().map(|(name, bytes)| vec![(*name).to_owned(), format::bytes(*bytes)]));
    lines.push(vec!["sum".into(), format::bytes(sum)]);
    let mut text = table(&[Align::Left, Align::Right], &lines);
    if workspace > 0 {
        text += &format!("matrix products beside it: at most {}\n", format::bytes(workspace));
    }
    Ok(text)
}
