//! `predict`: classes or numbers of images, rows of tables, and arrays.

mod answers;
mod read;

use std::path::Path;

use anyhow::Context;
use lfnn_core::backend::Precision;
use lfnn_core::model::Model;
use lfnn_core::train::EvaluationPlan;
use lfnn_data::Examples;

use super::of_checkpoint;
use crate::backend::BackendArgs;
use crate::checkpoint;
use crate::cli::PredictArgs;
use crate::failure::Result;
use crate::memory;
use crate::output::Output;

use answers::{Answer, Answers};
use read::Reader;

/// Runs the command.
///
/// # Errors
/// A checkpoint that is missing or broken; after all other files were answered, a file that is.
pub(crate) fn command(args: &PredictArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let mut saved = checkpoint::load_model(&path)?;
    let description = &mut saved.model.description;
    args.ensemble.apply(&mut description.network, &description.method)?;
    let reader = Reader::new(&saved, output).with_context(|| path.display().to_string())?;
    check(&path, &saved.model, args.inputs.len())?;
    let (inputs, read) = reader.read_all(&args.inputs);
    let predicted = match &inputs {
        Some(inputs) => predict(&path, &saved.model, inputs, backend, output)?,
        None => Vec::new(),
    };
    let mut rows = predicted.into_iter();
    let answers: Vec<Answer> = read
        .into_iter()
        .map(|(file, count)| {
            let rows = count.map(|count| rows.by_ref().take(count).collect());
            Answer { file, rows }
        })
        .collect();
    let (kind, class) = (reader.kind(), reader.class());
    Answers { kind, class, target: &saved.model.description.target, answers: &answers }
        .print(args.json, output)?;
    // The last error is the command's own.
    let mut errors = answers.into_iter().filter_map(|answer| answer.rows.err());
    let last = errors.next_back();
    errors.for_each(|error| output.note(&format!("error: {error}")));
    last.map_or(Ok(()), Err)
}

/// Checks a model before an image is resized to what a damaged checkpoint may ask for.
fn check(path: &Path, Model { description, state }: &Model, files: usize) -> Result {
    let layout = description.layout(1);
    EvaluationPlan::new(&description.network, layout, state, 1, false)
        .map_err(|error| of_checkpoint(path, error))?;
    let image = description.input.into_iter().fold(1, usize::saturating_mul);
    memory::check(image.saturating_mul(files), "images of its size")
        .with_context(|| path.display().to_string())?;
    Ok(())
}

/// The prediction for each of the inputs.
fn predict(
    path: &Path,
    model: &Model,
    inputs: &Examples,
    backend: BackendArgs,
    output: &Output,
) -> Result<Vec<Vec<f32>>> {
    // Images are large, rows of a table are not.
    let most = if inputs.shape.positions() > 1 { 64 } else { 1024 };
    let device = backend.open(Precision::F32, output)?;
    let predicted = model
        .on(&*device.backend, inputs.len().min(most))
        .and_then(|mut predictor| predictor.predict(inputs.network_inputs()?))
        .map_err(|error| of_checkpoint(path, error))?;
    Ok(predicted.rows().into_iter().map(|row| row.to_vec()).collect())
}
