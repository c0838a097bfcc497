//! `export`: the predictor of a trained network, for use without this program.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use lfnn_core::model::tensors::to_bytes;
use lfnn_core::model::{Model, ModelTarget};
use lfnn_core::onnx::OnnxOptions;
use lfnn_core::program::TensorId;
use lfnn_core::train::{PredictionProgram, StateData, StateTensor};
use lfnn_data::pixel_permutation;
use serde_json::{Map, Value, json};

use crate::checkpoint::{self, SavedModel};
use crate::cli::{ExportArgs, ExportFormat};
use crate::data::Preprocessing;
use crate::failure::{Failure, Result};
use crate::files::write_whole;
use crate::format;
use crate::memory;
use crate::output::Output;

/// The key of the metadata in a safetensors file: not that of a checkpoint, which this is not.
const KEY: &str = "predictor";

/// Runs the command.
///
/// # Errors
/// A checkpoint that is missing or broken, or an output that cannot be written.
pub(crate) fn command(args: &ExportArgs, output: &Output) -> Result {
    if args.workers && args.format != ExportFormat::Onnx {
        let message = "is for --format onnx; a checkpoint has the weights of the workers' heads";
        return Err(Failure::Usage(anyhow!("--workers: {message}")));
    }
    let path = checkpoint::locate(&args.run)?;
    let mut saved = checkpoint::load_model(&path)?;
    let description = &mut saved.model.description;
    args.ensemble.apply(&mut description.network, &description.method)?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.run, args.format));
    if is_same_file(&path, &out) {
        let message = "is the checkpoint itself; expected another file";
        return Err(Failure::Usage(anyhow!("--out {}: {message}", out.display())));
    }
    let (bytes, count) = encode(&saved, args).with_context(|| path.display().to_string())?;
    write_whole(&out, &bytes)?;
    let model = &saved.model.description;
    output.info(&format!(
        "{}: {}, {} parameters, {} to {}",
        out.display(),
        format::bytes(bytes.len()),
        format::count(count),
        match model.input {
            [1, 1, features] => format::number_of(features, "feature"),
            shape => format!("images {}", format::shape(&shape)),
        },
        match &model.target {
            ModelTarget::Classes { names } => format!("{} classes", format::count(names.len())),
            ModelTarget::Values { names, .. } => format::number_of(names.len(), "value"),
        }
    ))
}

/// The file's bytes, and how many parameters are in it, running statistics not counted.
fn encode(saved: &SavedModel, args: &ExportArgs) -> anyhow::Result<(Vec<u8>, usize)> {
    let SavedModel { model, metadata } = saved;
    let description = &model.description;
    let (predictor, parameters) = predictor(model)?;
    let (count, _) = predictor.network.parameter_counts();

    let mut about = Map::new();
    let names = json!(description.names());
    match &description.target {
        ModelTarget::Classes { .. } => about.insert("classes".into(), names),
        ModelTarget::Values { .. } => about.insert("values".into(), names),
    };
    if let Some(table) = Preprocessing::of(description)?.table {
        about.insert("features".into(), json!(table.feature_names()));
        about.insert("table".into(), serde_json::to_value(table)?);
    }
    match metadata {
        Some(metadata) => {
            about.insert("config".into(), serde_json::to_value(&metadata.config)?);
            about.insert("epoch".into(), json!(metadata.epoch));
        }
        None => {
            about.insert("network".into(), serde_json::to_value(&description.network)?);
            about.insert("method".into(), json!(description.method));
        }
    }
    let bytes = match args.format {
        ExportFormat::Onnx => {
            about.values_mut().for_each(Value::sort_all_objects);
            let [height, width, _] = description.input;
            let permutation = |seed: u64| -> anyhow::Result<_> {
                let positions = height * width;
                let bytes = positions * size_of::<[u64; 2]>();
                memory::check(bytes, "the permuted pixels of an image")?;
                let positions = u32::try_from(positions).context("an image of 2³² pixels")?;
                Ok(pixel_permutation(positions, seed))
            };
            let config = metadata.as_ref().map(|metadata| &metadata.config);
            let permuted = config.filter(|config| config.dataset.permute_pixels);
            let permutation = permuted.map(|config| permutation(config.seed)).transpose()?;
            let options = OnnxOptions {
                workers: args.workers,
                permutation: permutation.as_deref(),
                metadata: about,
            };
            model.to_onnx(&options)?
        }
        ExportFormat::Safetensors => {
            about.insert("image".into(), json!(description.input));
            about.insert("normalization".into(), normalization(&parameters)?);
            if let ModelTarget::Values { mean, std, .. } = &description.target {
                about.insert("value_normalization".into(), json!({ "mean": mean, "std": std }));
            }
            let mut about = Value::Object(about);
            about.sort_all_objects();
            let role = |id: TensorId| predictor.set.tensors()[id].role;
            let weights = parameters.iter().filter(|(id, _)| role(*id).is_of_network());
            let weights: Vec<StateTensor> = weights.map(|&(_, tensor)| tensor.clone()).collect();
            to_bytes(&weights, Some((KEY, about.to_string())))?
        }
    };
    Ok((bytes, count))
}

/// The predictor of a model, with the saved tensors that it reads.
///
/// # Errors
/// A network that cannot be, or tensors that are missing or have other shapes.
fn predictor(
    Model { description, state }: &Model,
) -> anyhow::Result<(PredictionProgram, Vec<(TensorId, &StateTensor)>)> {
    let predictor = PredictionProgram::new(&description.network, description.layout(1), false)?;
    let parameters = predictor
        .parameters(state)
        .map_err(|message| anyhow!("the saved state does not fit: {message}"))?;
    Ok((predictor, parameters))
}

/// Mean and standard deviation per channel, from the factor and summand that a state holds.
fn normalization(parameters: &[(TensorId, &StateTensor)]) -> anyhow::Result<Value> {
    let reals = |name: &str| {
        let found = parameters.iter().find(|(_, tensor)| tensor.name == name);
        match found.map(|(_, tensor)| &tensor.data) {
            Some(StateData::Real(data)) => Ok(data),
            _ => Err(anyhow!("`{name}` is missing")),
        }
    };
    let (scale, shift) = (reals("input.scale")?, reals("input.shift")?);
    let mean = shift.iter().zip(scale).map(|(&b, &a)| -f64::from(b) / f64::from(a));
    let std = scale.iter().map(|&a| 1.0 / f64::from(a));
    Ok(json!({ "mean": mean.collect::<Value>(), "std": std.collect::<Value>() }))
}

/// In the run's folder, or beside the checkpoint.
fn default_out(run: &Path, format: ExportFormat) -> PathBuf {
    let name = match format {
        ExportFormat::Onnx => "predictor.onnx",
        ExportFormat::Safetensors => "predictor.safetensors",
    };
    if run.is_dir() { run.join(name) } else { run.with_file_name(name) }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let canonical = one.canonicalize().ok();
    canonical.is_some() && canonical == other.canonicalize().ok()
}
