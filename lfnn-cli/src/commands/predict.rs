//! `predict`: classes of image files, with probabilities.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lfnn_core::backend::Precision;
use lfnn_core::model::Model;
use lfnn_core::train::{EvaluationPlan, Images, Labels};
use lfnn_data::{DataError, ImageShape, load_image, permute_pixels};
use serde_json::{Value, json};

use super::of_checkpoint;
use crate::backend::BackendArgs;
use crate::checkpoint::{self, SavedModel};
use crate::cli::PredictArgs;
use crate::failure::{Result, chain};
use crate::format::{Align, table};
use crate::memory;
use crate::output::{Level, Output};

/// How many classes are named with `-v`.
const TOP: usize = 5;

/// Runs the command.
///
/// # Errors
/// A checkpoint that is missing or broken; after all other images were answered, an image that is.
pub(crate) fn command(args: &PredictArgs, backend: BackendArgs, output: &Output) -> Result {
    let path = checkpoint::locate(&args.run)?;
    let saved = checkpoint::load_model(&path)?;
    // Before an image is resized to what a damaged checkpoint may ask for.
    let Model { description, state } = &saved.model;
    let count = args.images.len();
    let layout = description.layout(count);
    let plan = EvaluationPlan::new(&description.network, layout, state, count.min(64), false)
        .map_err(|error| of_checkpoint(&path, error))?;
    let image = description.input.into_iter().fold(1, usize::saturating_mul);
    memory::check(image.saturating_mul(count), "images of its size")
        .with_context(|| path.display().to_string())?;
    let (images, loaded) = load(&args.images, &saved, output)?;
    let good = loaded.iter().filter(|loaded| loaded.is_ok()).count();
    let mut outputs = Vec::new();
    if good > 0 {
        let images = Images {
            pixels: (&images.pixels).into(),
            labels: Labels::Classes(&images.labels),
            shape: description.input,
            classes: description.names().len(),
        };
        let indices: Vec<u32> = (0..good as u32).collect();
        let device = backend.open(Precision::F32, output)?;
        outputs = plan
            .compile(&*device.backend, images)
            .and_then(|mut evaluator| evaluator.predict(&indices))
            .map_err(|error| of_checkpoint(&path, error))?;
    }
    let classes = description.names();
    let mut outputs = outputs.iter().map(|row| description.target.prediction(row));
    let answers = loaded.into_iter().map(|good| good.map(|()| outputs.next().unwrap_or_default()));
    let answers: Vec<Answer<'_>> = args.images.iter().map(PathBuf::as_path).zip(answers).collect();
    if args.json {
        let values: Vec<_> = answers.iter().map(|answer| to_json(answer, classes)).collect();
        output.result(&serde_json::to_string_pretty(&values)?)?;
    } else if good > 0 {
        let top = if output.level() > Level::Normal { TOP } else { 1 };
        output.result(&to_text(&answers, classes, top))?;
    }
    // The last error is the command's own.
    let mut errors = answers.into_iter().filter_map(|(_, answer)| answer.err());
    let last = errors.next_back();
    errors.for_each(|error| output.note(&format!("error: {}", chain(&error))));
    last.map_or(Ok(()), |error| Err(error.into()))
}

/// An image file, and the probability of each class or why there are none.
type Answer<'a> = (&'a Path, Result<Vec<f32>, DataError>);

/// The images that can be read, then black ones in place of the others; and for each file whether it could be read.
fn load(
    files: &[PathBuf],
    SavedModel { model, metadata }: &SavedModel,
    output: &Output,
) -> Result<(lfnn_data::Images, Vec<Result<(), DataError>>)> {
    let [height, width, channels] = model.description.input;
    let shape = ImageShape { height, width, channels };
    let mut pixels = Vec::new();
    let mut load = |file: &PathBuf| {
        let image = load_image(file, shape)?;
        if image.sixteen_bits && output.level() >= Level::Normal {
            let file = file.display();
            output.note(&format!("note: {file} has 16 bits per channel; 8 of them are used"));
        }
        pixels.extend(image.pixels);
        Ok(())
    };
    let loaded = files.iter().map(&mut load).collect();
    pixels.resize(files.len() * height * width * channels, 0);
    let mut images = lfnn_data::Images::new(shape, pixels, vec![0; files.len()])?;
    let config = metadata.as_ref().map(|metadata| &metadata.config);
    if let Some(config) = config.filter(|config| config.dataset.permute_pixels) {
        permute_pixels(&mut images, config.seed);
    }
    Ok((images, loaded))
}

/// Indices of the classes, the most probable first.
fn ranked(probabilities: &[f32]) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..probabilities.len()).collect();
    ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    ranked
}

fn to_json((image, answer): &Answer<'_>, classes: &[String]) -> Value {
    let image = image.display().to_string();
    let probabilities = match answer {
        Ok(probabilities) => probabilities,
        Err(error) => return json!({ "image": image, "error": chain(error) }),
    };
    // Names of classes need not differ, so the index tells which class is meant.
    let class = |index: usize| {
        json!({
            "index": index,
            "class": classes.get(index),
            "probability": probabilities.get(index),
        })
    };
    let mut value = class(ranked(probabilities).first().copied().unwrap_or_default());
    value["image"] = image.into();
    value["probabilities"] = (0..probabilities.len()).map(class).collect();
    value
}

fn to_text(answers: &[Answer<'_>], classes: &[String], top: usize) -> String {
    let name = |index: usize| {
        let name = classes.get(index).map_or("", String::as_str);
        let ambiguous = classes.iter().filter(|other| *other == name).count() > 1;
        if ambiguous { format!("{name} ({index})") } else { name.to_owned() }
    };
    let mut lines = Vec::new();
    for (image, answer) in answers {
        let Ok(probabilities) = answer else { continue };
        for &index in ranked(probabilities).iter().take(top) {
            let percent = format!("{:.1} %", 100.0 * probabilities[index]);
            lines.push(vec![image.display().to_string(), name(index), percent]);
        }
    }
    table(&[Align::Left, Align::Left, Align::Right], &lines)
}
