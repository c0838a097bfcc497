//! `predict`: classes or numbers of images, rows of tables, and arrays.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use lfnn_core::backend::Precision;
use lfnn_core::data::Inputs as CoreInputs;
use lfnn_core::model::{Model, ModelTarget};
use lfnn_core::train::EvaluationPlan;
use lfnn_data::{
    DataKind, ExampleFormat, Examples, ImageShape, Inputs, Table, Targets, image_files, load_image,
    permute_pixels,
};
use ndarray::ArrayView4;
use serde_json::{Value, json};

use super::of_checkpoint;
use crate::backend::BackendArgs;
use crate::checkpoint::{self, SavedModel};
use crate::cli::PredictArgs;
use crate::data::example_format;
use crate::failure::{Failure, Result, chain};
use crate::format::{Align, table};
use crate::memory;
use crate::output::{Level, Output};

/// How many classes are named with `-v`.
const TOP: usize = 5;
/// The name of the standard input.
const STANDARD_INPUT: &str = "-";

/// Runs the command.
///
/// # Errors
/// A checkpoint that is missing or broken; after all other files were answered, a file that is.
pub(crate) fn command(args: &PredictArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let saved = checkpoint::load_model(&path)?;
    let reader = Reader::new(&saved, output).with_context(|| path.display().to_string())?;
    check(&path, &saved.model, args.inputs.len())?;
    let (inputs, read) = reader.read_all(&args.inputs)?;
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
    print(args, &reader, &saved.model.description.target, &answers, output)?;
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
    let ImageShape { height, width, channels } = inputs.shape;
    let shape = (inputs.len(), height, width, channels);
    let views: CoreInputs<'_> = match &inputs.inputs {
        Inputs::Bytes(bytes) => {
            ArrayView4::from_shape(shape, bytes).map_err(anyhow::Error::from)?.into()
        }
        Inputs::Reals(reals) => {
            ArrayView4::from_shape(shape, reals).map_err(anyhow::Error::from)?.into()
        }
    };
    // Images are large, rows of a table are not.
    let most = if height * width > 1 { 64 } else { 1024 };
    let device = backend.open(Precision::F32, output)?;
    let predicted = model
        .on(&*device.backend, inputs.len().min(most))
        .and_then(|mut predictor| predictor.predict(views))
        .map_err(|error| of_checkpoint(path, error))?;
    Ok(predicted.rows().into_iter().map(|row| row.to_vec()).collect())
}

/// A file, and the predictions for its examples or why there are none.
struct Answer {
    file: PathBuf,
    rows: Result<Vec<Vec<f32>>>,
}

/// Reads what a model takes.
struct Reader<'a> {
    format: ExampleFormat,
    /// The seed of a permutation of pixels.
    permutation: Option<u64>,
    /// The name of the class, in a table.
    class: String,
    output: &'a Output,
}

/// The examples of the files that can be read, one after the other, if there are any; and how many each file has.
type ReadFiles = (Option<Examples>, Vec<(PathBuf, Result<usize>)>);

impl<'a> Reader<'a> {
    fn new(saved: &SavedModel, output: &'a Output) -> anyhow::Result<Self> {
        let format = example_format(saved)?;
        let config = saved.metadata.as_ref().map(|metadata| &metadata.config);
        let permuted = config.filter(|config| config.dataset.permute_pixels);
        let column = format.encoding.as_ref().and_then(|table| table.target.columns().first());
        let class = column.cloned().unwrap_or_else(|| "class".to_owned());
        Ok(Self { permutation: permuted.map(|config| config.seed), class, format, output })
    }

    fn read_all(&self, paths: &[PathBuf]) -> Result<ReadFiles> {
        let (mut all, mut read): ReadFiles = (None, Vec::new());
        for (path, found) in self.files(paths) {
            let examples = found.and_then(|()| self.read(&path));
            let count = examples.and_then(|examples| {
                let count = examples.len();
                match &mut all {
                    Some(all) => all.append(examples)?,
                    none => *none = Some(examples),
                }
                Ok(count)
            });
            read.push((path, count));
        }
        if let (Some(seed), Some(images)) = (self.permutation, &mut all) {
            permute_pixels(images, seed);
        }
        Ok((all, read))
    }

    /// The files that are meant: a folder of images stands for those in it.
    fn files(&self, paths: &[PathBuf]) -> Vec<(PathBuf, Result<()>)> {
        let mut files = Vec::new();
        for path in paths {
            if self.format.kind != DataKind::Images || !path.is_dir() {
                files.push((path.clone(), Ok(())));
                continue;
            }
            match image_files(path) {
                Ok(inside) => files.extend(inside.into_iter().map(|file| (file, Ok(())))),
                Err(error) => files.push((path.clone(), Err(error.into()))),
            }
        }
        files
    }

    /// The examples of a file, whose targets mean nothing.
    fn read(&self, path: &Path) -> Result<Examples> {
        let is_standard_input = path.as_os_str() == STANDARD_INPUT;
        let inputs = match self.format.kind {
            DataKind::Table if is_standard_input => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
                self.format.table_inputs(&Table::parse(Path::new("standard input"), &bytes)?)?
            }
            DataKind::Table => self.format.table_inputs(&Table::read(path)?)?,
            _ if is_standard_input => {
                let message =
                    "standard input is read as a table, but this network was not trained on one";
                return Err(Failure::Usage(anyhow!("{STANDARD_INPUT}: {message}")));
            }
            DataKind::Arrays => self.format.array_inputs(path)?,
            DataKind::Images => {
                let image = load_image(path, self.format.shape)?;
                if image.sixteen_bits && self.output.level() >= Level::Normal {
                    let text = "has 16 bits per channel; 8 of them are used";
                    self.output.note(&format!("note: {} {text}", path.display()));
                }
                Inputs::Bytes(image.pixels)
            }
        };
        let count = inputs.len() / self.format.shape.values().max(1);
        Ok(Examples::new(self.format.shape, inputs, Targets::Classes(vec![0; count]))?)
    }
}

/// Prints the answers: those of images as lines or a list of JSON, others as CSV or lines of JSON.
fn print(
    args: &PredictArgs,
    reader: &Reader<'_>,
    target: &ModelTarget,
    answers: &[Answer],
    output: &Output,
) -> Result {
    let images = reader.format.kind == DataKind::Images;
    let key = if images { "image" } else { "file" };
    let any = answers.iter().any(|answer| answer.rows.is_ok());
    if args.json {
        let mut values = answers.iter().flat_map(|answer| to_json(answer, target, key));
        let text = if images {
            serde_json::to_string_pretty(&values.collect::<Vec<_>>())?
        } else {
            values.try_fold(String::new(), |text, value| {
                serde_json::to_string(&value).map(|line| text + &line + "\n")
            })?
        };
        return output.result(&text);
    }
    match target {
        _ if !any => Ok(()),
        ModelTarget::Classes { names } if images => {
            let top = if output.level() > Level::Normal { TOP } else { 1 };
            output.result(&to_text(answers, names, top))
        }
        _ => output.result(&to_csv(answers, target, &reader.class)),
    }
}

/// Indices of the classes, the most probable first.
fn ranked(probabilities: &[f32]) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..probabilities.len()).collect();
    ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    ranked
}

/// An object for each example; `key` names its file.
fn to_json(Answer { file, rows }: &Answer, target: &ModelTarget, key: &str) -> Vec<Value> {
    let file = file.display().to_string();
    let rows = match rows {
        Ok(rows) => rows,
        Err(Failure::Usage(error) | Failure::Runtime(error)) => {
            return vec![json!({ key: file, "error": chain(error.as_ref()) })];
        }
        Err(Failure::Interrupted) => return Vec::new(),
    };
    let object = |(number, row): (usize, &Vec<f32>)| {
        let mut value = match target {
            ModelTarget::Classes { names } => {
                // Names of classes need not differ, so the index tells which class is meant.
                let class = |index: usize| {
                    json!({
                        "index": index,
                        "class": names.get(index),
                        "probability": row.get(index),
                    })
                };
                let mut value = class(ranked(row).first().copied().unwrap_or_default());
                value["probabilities"] = (0..row.len()).map(class).collect();
                value
            }
            ModelTarget::Values { names, .. } => {
                let values = names.iter().cloned().zip(row.iter().map(|&value| json!(value)));
                json!({ "values": values.collect::<serde_json::Map<_, _>>() })
            }
        };
        value[key] = file.clone().into();
        if key == "file" {
            value["row"] = number.into();
        }
        value
    };
    (1..).zip(rows).map(object).collect()
}

fn to_text(answers: &[Answer], classes: &[String], top: usize) -> String {
    let name = |index: usize| {
        let name = classes.get(index).map_or("", String::as_str);
        let ambiguous = classes.iter().filter(|other| *other == name).count() > 1;
        if ambiguous { format!("{name} ({index})") } else { name.to_owned() }
    };
    let mut lines = Vec::new();
    for Answer { file, rows } in answers {
        for probabilities in rows.iter().flatten() {
            for &index in ranked(probabilities).iter().take(top) {
                let percent = format!("{:.1} %", 100.0 * probabilities[index]);
                lines.push(vec![file.display().to_string(), name(index), percent]);
            }
        }
    }
    table(&[Align::Left, Align::Left, Align::Right], &lines)
}

/// A line for each example, in the order of the files; with several files, the first column names it.
fn to_csv(answers: &[Answer], target: &ModelTarget, class: &str) -> String {
    let several = answers.len() > 1;
    let mut head: Vec<String> = if several { vec!["file".into()] } else { Vec::new() };
    match target {
        ModelTarget::Classes { names } => {
            head.extend([class.to_owned(), "probability".to_owned()]);
            head.extend(names.iter().map(|name| format!("p_{name}")));
        }
        ModelTarget::Values { names, .. } => head.extend(names.iter().cloned()),
    }
    let mut text = csv_line(&head);
    for Answer { file, rows } in answers {
        for row in rows.iter().flatten() {
            let mut cells = if several { vec![file.display().to_string()] } else { Vec::new() };
            if let ModelTarget::Classes { names } = target {
                let best = ranked(row).first().copied().unwrap_or_default();
                cells.extend([names[best].clone(), row[best].to_string()]);
            }
            cells.extend(row.iter().map(f32::to_string));
            text += &csv_line(&cells);
        }
    }
    text
}

/// Cells as a line of CSV, in quotes where they hold a separator.
fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}
